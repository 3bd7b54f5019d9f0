"""FAISS: the only file of the search engine that imports faiss. Codes of one bit a number find candidates quickly.

A code is RaBitQ's (Gao and Long 2024, arXiv 2405.12497): the signs of a randomly rotated vector, and two factors. It takes E/8 + 8 bytes,
and a scan of all codes takes a tenth of the time of a scan of all vectors. Its estimates of cosines are unbiased but not exact, so the
caller computes the exact cosines of the candidates. A flat scan needs no training beyond the mean, and takes a selector, so a filter is
applied before the search. The fast-scan variant is 1.7 times as fast, but takes no selector and cannot be mapped into memory.
"""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from search.vectors.in_parts import in_parts

_QUERY_BITS = 4  # of the quantised query; with 8, recall is the same and the scan 1.3 times as long
_ROTATION_SEED = 1
_ROWS_AT_ONCE = 1 << 16
_CODES_PER_THREAD = 150_000  # more no longer fit the cache of a processor, and two threads take half the time
_MOST_FOR_THE_MEAN = 1 << 16  # vectors


class Codes:
    """The codes of all vectors, by slot. Several threads may search at once."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(
        self, vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The slots whose vectors have the largest estimated cosines, best first.

        Args:
            vector: float32 (E,), L2 norm 1.
            allowed: bool (M,), the slots that may be returned; None for all.

        Returns:
            slots int64 (n,) and estimates float32 (n,), n = min(count, number of allowed slots).
        """
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        parts = in_parts(lambda start, stop: self._scan(vector, count, bits, (start, stop)), len(self), _CODES_PER_THREAD)
        if len(parts) == 1:
            return parts[0]
        slots, estimates = (np.concatenate(each) for each in zip(*parts, strict=True))
        best = np.argsort(-estimates)[:count]
        return slots[best], estimates[best]

    def _scan(
        self, vector: NDArray[np.float32], count: int, bits: NDArray[np.uint8] | None, part: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """`candidates` among the slots `[start, stop)` of a part, by this thread."""
        faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
        selectors: list[Any] = [] if bits is None else [faiss.IDSelectorBitmap(bits)]  # type: ignore[arg-type, call-arg]
        selectors += [] if part == (0, len(self)) else [faiss.IDSelectorRange(*part)]
        selector = faiss.IDSelectorAnd(*selectors) if len(selectors) == 2 else (selectors or [None])[0]
        scan = faiss.RaBitQSearchParameters(qb=_QUERY_BITS, sel=selector)  # type: ignore[call-arg]
        params = faiss.SearchParametersPreTransform(index_params=scan)  # type: ignore[call-arg]
        estimates, slots = self._index.search(vector[None], min(count, len(self)), params=params)
        found = slots[0] >= 0
        return slots[0][found], estimates[0][found]

    def with_vectors(self, vectors: NDArray[np.float32]) -> "Codes":
        """The codes of other vectors, float32 (n, E), made in the same way."""
        trained: Any = self._index
        mine: Any = faiss.downcast_index(trained.index)
        codes = faiss.IndexRaBitQ(trained.d, faiss.METRIC_INNER_PRODUCT)
        codes.center, codes.is_trained = mine.center, True
        index = faiss.IndexPreTransform(faiss.downcast_VectorTransform(trained.chain.at(0)), codes)
        index.is_trained = True
        _add(index, vectors)
        return Codes(index)

    def write(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))


def build_codes(vectors: NDArray[np.float32]) -> Codes:
    """The codes of vectors, float32 (M, E), M > 0. Deterministic."""
    num_vectors, width = vectors.shape
    rotation = faiss.RandomRotationMatrix(width, width)
    rotation.init(_ROTATION_SEED)
    index = faiss.IndexPreTransform(rotation, faiss.IndexRaBitQ(width, faiss.METRIC_INNER_PRODUCT))
    index.train(np.ascontiguousarray(vectors[:: -(-num_vectors // _MOST_FOR_THE_MEAN)]))
    _add(index, vectors)
    return Codes(index)


def extend_codes(file: Path, num_kept: int, vectors: NDArray[np.float32]) -> Codes:
    """The first `num_kept` codes of a file, followed by those of further vectors. Raises RuntimeError if the file is damaged."""
    index = faiss.read_index(str(file))
    if index.ntotal < num_kept:
        raise RuntimeError(f"{file}: {index.ntotal} codes instead of {num_kept}")
    index.remove_ids(faiss.IDSelectorRange(num_kept, index.ntotal))
    _add(index, vectors)
    return Codes(index)


def read_codes(file: Path) -> Codes:
    """Maps the codes into memory. Raises RuntimeError if the file is missing or damaged."""
    return Codes(faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC))


def _add(index: faiss.Index, vectors: NDArray[np.float32]) -> None:
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
