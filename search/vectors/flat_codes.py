"""The index of large collections: codes of one bit a number, all of which are compared with a query.

A code is RaBitQ's (Gao and Long 2024, arXiv 2405.12497): the signs of a randomly rotated vector, and two factors. It takes E/8 + 8 bytes,
and a scan of all codes takes a tenth of the time of a scan of all vectors. Its estimates of cosines are unbiased but not exact, so the
exact cosines of the candidates are computed. It needs no training beyond the mean.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from search.vectors.exact import Found, Mask, Slots, Vectors, dot, dot_of, largest, some_of
from search.vectors.fast_codes import FastCodes, FastCodesBuilder, open_fast_codes
from search.vectors.finder import none_found
from search.vectors.in_parts import in_parts

QUERY_BITS = 4  # of the quantised query; with 8, recall is the same and the scan 1.3 times as long
_ROTATION_SEED = 1
_ROWS_AT_ONCE = 1 << 16
_CODES_PER_THREAD = 20_000  # with fewer, a second thread saves nothing
_MOST_FOR_THE_MEAN = 1 << 16  # vectors
_WIDE = 0.5  # the share of the vectors that a filter must leave for the fast codes

_LEAST_CANDIDATES = 400
_CANDIDATES_PER_HIT = 2
_MOST_AT_FIRST, _MOST_CANDIDATES = 1 / 16, 1 / 3  # of the vectors; with more, computing every cosine is faster
_SAMPLE = 256  # vectors that show how many are similar to a query, and how far estimates are off
_QUERIES_OF_SAMPLE = 16
_NOISE = np.random.default_rng(0).standard_normal(_SAMPLE).astype(np.float32)


class FlatCodes:
    """Codes of all vectors of a file. Implements `search.vectors.finder.Finder`.

    Args:
        index: an `IndexPreTransform` of a random rotation and an `IndexRaBitQ`.
        vectors: float32 (M, E), the vectors of the codes.
        fast: the same codes for searches without a filter, or with one that keeps most; None to save their memory.
        error: the standard error of estimated cosines.
        recall: the least probability that a hit is not missed because its estimate is too low.
    """

    beats_products = False

    def __init__(self, index: Any, vectors: Vectors, fast: FastCodes | None, error: float, recall: float) -> None:
        self._index, self._vectors, self._fast, self._error = index, vectors, fast, error
        self._margin = standard_errors(recall) * error
        self._rotation = faiss.downcast_VectorTransform(index.chain.at(0))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found | None:
        """See `Finder`. The k-th best cosine so far, minus the error of estimates, says how low an estimate may be that could still
        belong to a hit. All candidates above it are taken. For a query that is similar to nothing, these would be too many.
        """
        count = max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k)
        reaches_far = k * _SAMPLE >= 2 * len(self)  # so far down that the sample shows it
        if count > len(self) * _MOST_AT_FIRST or (reaches_far and self._share_of_candidates(vector, k) > _MOST_AT_FIRST):
            return None
        slots, estimates = self._best(vector, count, allowed)
        if not len(slots):
            return none_found()
        cosines = self._cosines(slots, vector)
        needed = float(cosines[largest(cosines, k)[-1]]) - self._margin
        if estimates[-1] <= needed or len(slots) < count:
            return slots, cosines
        if self._share_above(vector, needed) > _MOST_CANDIDATES:
            return None
        slots = self._above(vector, needed, allowed)
        return slots, self._cosines(slots, vector)

    def _cosines(self, slots: Slots, vector: Vectors) -> Vectors:
        slots.sort()  # so that memory is read in order
        return dot_of(self._vectors, slots, vector)

    def _best(self, vector: Vectors, count: int, allowed: Mask | None) -> tuple[Slots, Vectors]:
        """The slots with the `count` largest estimates, best first, and these."""
        found = None
        if self._fast is not None and (allowed is None or np.count_nonzero(allowed) >= _WIDE * len(allowed)):
            found = self._fast.candidates(self._rotation.apply(vector[None])[0], count, allowed)
        if found is None:
            found = self._join(lambda params: self._index.search(vector[None], count, params=params), allowed)
        slots, estimates = found
        best = largest(estimates, count)
        return slots[best], estimates[best]

    def _above(self, vector: Vectors, least: float, allowed: Mask | None) -> Slots:
        """The slots whose estimate is at least `least`."""
        return self._join(lambda params: self._index.range_search(vector[None], least, params=params)[1:], allowed)[0]

    def _join(self, scan: Any, allowed: Mask | None) -> tuple[Slots, Vectors]:
        """Estimates and slots, as `scan(params)` returns them for parts of the codes, by several threads if there are many codes."""
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")

        def of_part(start: int, stop: int) -> tuple[Slots, Vectors]:
            faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
            estimates, slots = scan(_parameters(bits, None if stop - start == len(self) else (start, stop)))
            found = slots.ravel() >= 0
            return slots.ravel()[found], estimates.ravel()[found]

        parts = in_parts(of_part, len(self), _CODES_PER_THREAD, parts_per_cpu=1)  # each tests all codes, so more parts cost more
        slots, estimates = zip(*parts, strict=True)
        return np.concatenate(slots), np.concatenate(estimates)

    def _share_of_candidates(self, vector: Vectors, k: int) -> float:
        """The share of the vectors whose estimate could belong to one of the `k` best, as a sample shows."""
        estimates = self._estimates_of_sample(vector)
        return float(np.mean(estimates >= np.quantile(estimates, 1 - k / len(self)) - self._margin))

    def _share_above(self, vector: Vectors, least: float) -> float:
        """The share of the vectors whose estimate is at least `least`, as a sample shows."""
        return float(np.mean(self._estimates_of_sample(vector) >= least))

    def _estimates_of_sample(self, vector: Vectors) -> Vectors:
        return dot(self._sample, vector) + self._error * _NOISE[: len(self._sample)]

    @cached_property
    def _sample(self) -> Vectors:
        return self._vectors[sample_of(len(self))]


def write_flat_codes(vectors: Vectors, file: Path, fast_file: Path | None) -> None:
    """Make the codes of vectors, float32 (M, E), M > 0, and write them. Deterministic.

    Args:
        fast_file: where to write them as `FastCodes` too; None for not at all.
    """
    width = vectors.shape[1]
    rotation = faiss.RandomRotationMatrix(width, width)
    rotation.init(_ROTATION_SEED)
    codes = faiss.IndexRaBitQ(width, faiss.METRIC_INNER_PRODUCT)
    codes.train(rotation.apply(some_of(vectors, _MOST_FOR_THE_MEAN)))
    fast = None if fast_file is None else FastCodesBuilder(codes.center, width, QUERY_BITS)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rotated = rotation.apply(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
        codes.add(rotated)
        if fast is not None:
            fast.add(rotated)
    faiss.write_index(faiss.IndexPreTransform(rotation, codes), str(file))
    if fast is not None and fast_file is not None:
        fast.finish().write(fast_file)


def sample_of(count: int) -> Slots:
    """The slots of a few vectors, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))


def error_of_estimates(index: Any, vectors: Vectors, queries: Vectors, parameters: Callable[[Mask], Any]) -> float:
    """The standard error of estimated cosines, over a sample of vectors and queries, float32 (Q, E).

    Args:
        parameters: makes the settings of a search among some slots.
    """
    sample, queries = np.zeros(len(vectors), np.bool_), np.ascontiguousarray(queries[:_QUERIES_OF_SAMPLE])
    sample[sample_of(len(vectors))] = True
    estimates, slots = index.search(queries, int(np.count_nonzero(sample)), params=parameters(sample))
    exact = np.einsum("qne,qe->qn", vectors[np.maximum(slots, 0)], queries)
    return float(np.sqrt(np.mean((exact - estimates)[slots >= 0] ** 2)))


def measure_flat_codes(file: Path, vectors: Vectors, queries: Vectors) -> float:
    """The error of `FlatCodes`."""
    index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    return error_of_estimates(index, vectors, queries, lambda sample: _parameters(np.packbits(sample, bitorder="little"), None))


def standard_errors(recall: float) -> float:
    """How many standard errors a cosine is above its estimate at most, with a probability of `recall`, in [0, 1)."""
    return max(0.0, NormalDist().inv_cdf(max(recall, 0.5)))


def read_flat_codes(file: Path, vectors: Vectors, fast_file: Path | None, error: float, recall: float) -> FlatCodes:
    """Maps the codes into memory. Raises an error of any type if a file is missing or damaged."""
    index = open_codes(file, faiss.IO_FLAG_MMAP_IFC, faiss.IndexRaBitQ, vectors)
    return FlatCodes(index, vectors, None if fast_file is None else open_fast_codes(fast_file, vectors), error, recall)


def open_codes(file: Path, flags: int, kind: type, vectors: Vectors) -> Any:
    """An index of FAISS behind a rotation. Raises ValueError if it is of another kind, or of other vectors; else what FAISS raises."""
    index: Any = faiss.read_index(str(file), flags)
    is_rotated = type(index) is faiss.IndexPreTransform and index.chain.size() == 1  # type: ignore[attr-defined]
    if not is_rotated or type(faiss.downcast_index(index.index)) is not kind or (index.ntotal, index.d) != vectors.shape:
        raise ValueError(f"{file}: not the codes of these vectors")
    return index


def _parameters(bits: NDArray[np.uint8] | None, part: tuple[int, int] | None) -> Any:
    """The settings of one call: the slots to look at, as a bitmap and as a range."""
    selectors: list[Any] = [] if bits is None else [faiss.IDSelectorBitmap(bits)]  # type: ignore[arg-type, call-arg]
    selectors += [] if part is None else [faiss.IDSelectorRange(*part)]
    selector = faiss.IDSelectorAnd(*selectors) if len(selectors) == 2 else (selectors or [None])[0]
    scan = faiss.RaBitQSearchParameters(qb=QUERY_BITS, sel=selector)  # type: ignore[call-arg]
    return faiss.SearchParametersPreTransform(index_params=scan)  # type: ignore[call-arg]
