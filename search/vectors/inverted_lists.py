"""The index of tens of millions of vectors: lists of neighbouring vectors, of which a query scans the nearest few (IVF, Jégou et al. 2011).

The vectors of a list are kept as RaBitQ codes of their difference to its centre, see `search.vectors.flat_codes`. How many lists a query
must scan ("probes") follows from how far its neighbours are spread over lists, which is measured when the index is built.
"""

import math
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from search.vectors.exact import Found, Mask, Slots, Vectors, dot, dot_of, largest, some_of
from search.vectors.exact_many import nearest_of_many
from search.vectors.finder import none_found
from search.vectors.flat_codes import QUERY_BITS, error_of_estimates, open_codes, sample_of, standard_errors
from search.vectors.kinds import K

RANKS = (K, 100, 1000)  # for which the probes are measured
_LISTS_PER_ROOT = 4  # lists for each square root of the number of vectors
_LEAST_PER_LIST = 39  # vectors, the least for which FAISS finds its centre without a warning
MOST_PER_LIST = 64  # vectors that are looked at to find a centre
_ITERATIONS = 10  # of k-means
_SEED = 1
_ROWS_AT_ONCE = 1 << 16
_LEAST_CANDIDATES = 400
_CANDIDATES_PER_HIT = 2
_CODES_PER_COSINE = 2  # so many are compared in the time in which one exact cosine is computed
_MORE_PROBES = 4  # times as many, if too few candidates are found

Probes = Mapping[int, int]


class InvertedLists:
    """Lists of all vectors of a file. Implements `search.vectors.finder.Finder`.

    Args:
        index: an `IndexPreTransform` of a random rotation and an `IndexIVFRaBitQ`.
        vectors: float32 (M, E), the vectors of the codes.
        probes: how many lists contain enough of the nearest 10, 100, 1000.
        error: the standard error of estimated cosines.
        recall: as that of `FlatCodes`.
    """

    beats_products = True

    def __init__(self, index: Any, vectors: Vectors, probes: Probes, error: float, recall: float) -> None:
        self._index, self._vectors, self._probes = index, vectors, probes
        self._margin = standard_errors(recall) * error
        self._num_lists = int(faiss.extract_index_ivf(index).nlist)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found | None:
        """See `Finder`. More lists are scanned if they hold too few candidates, or if the candidates are less similar than expected."""
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if not num_allowed:
            return none_found()
        count = min(num_allowed, max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k))
        wanted, probes, lowest = int(self.probes(k)) if allowed is None else self._probes_among(vector, k, allowed), 0, 0.0
        faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
        while probes < wanted:
            probes = min(wanted, self._num_lists)
            if _CODES_PER_COSINE * num_allowed * self._num_lists < probes * len(self):
                return None
            params = _parameters(probes, allowed)
            estimates, slots = (each[0] for each in self._index.search(vector[None], count, params=params))
            found = self._with_cosines(slots, vector)
            is_full = len(found[0]) == count
            if is_full:
                lowest = float(found[1][largest(found[1], k)[-1]])
                wanted = 0 if allowed is None else int(self.probes(self._rank_of(lowest, vector)))
            else:
                wanted = min(_MORE_PROBES * probes, self._num_lists)
        needed = lowest - self._margin  # as in `FlatCodes.find`
        if not is_full or estimates[-1] <= needed:
            return found
        return self._with_cosines(self._index.range_search(vector[None], needed, params=params)[2], vector)

    def _rank_of(self, cosine: float, vector: Vectors) -> float:
        """How many vectors are more similar to `vector` than `cosine`, as a sample shows; 0 if fewer than it can show."""
        return float(np.mean(dot(self._sample, vector) > cosine)) * len(self)

    @cached_property
    def _sample(self) -> Vectors:
        return self._vectors[sample_of(len(self))]

    def _with_cosines(self, slots: Slots, vector: Vectors) -> Found:
        slots = np.sort(slots[(slots >= 0) & (slots < len(self))])  # so that memory is read in order; a damaged file may name others
        return slots, dot_of(self._vectors, slots, vector)

    def probes(self, ranks: NDArray[np.float64] | float) -> NDArray[np.int64]:
        """How many lists to scan for the nearest `ranks` vectors. Between and beyond measured ranks, it grows as a power of the rank."""
        known = np.log(sorted(self._probes))
        measured = np.log([self._probes[each] for each in sorted(self._probes)])
        wanted = np.log(np.maximum(ranks, 1))
        slope = max(0.0, (measured[-1] - measured[-2]) / (known[-1] - known[-2]))
        grown = np.interp(wanted, known, measured) + slope * np.maximum(0, wanted - known[-1])
        return np.minimum(self._num_lists, np.ceil(np.exp(np.minimum(grown, 30)))).astype(np.int64)

    def _probes_among(self, vector: Vectors, k: int, allowed: Mask) -> int:
        """How many lists to scan if a filter keeps a part of them.

        If it keeps a tenth of the vectors near the query, the best 10 of these are about as far away as the best 100 of all. What it keeps
        may also lie far from the query, so the share is counted in the lists, from the nearest one on, until they are enough for it.
        """
        lists = faiss.extract_index_ivf(self._index)
        order = lists.quantizer.search(self._index.chain.at(0).apply(vector[None]), self._num_lists)[1][0]
        order = order[order >= 0]
        num_allowed = np.bincount(self._list_of[np.flatnonzero(allowed)], minlength=self._num_lists)[order].cumsum()
        share = num_allowed / np.maximum(1, self._list_sizes[order].cumsum())
        wanted = self.probes(k / np.maximum(share, 1e-12))
        are_enough = wanted <= np.arange(1, len(order) + 1)
        return int(np.argmax(are_enough)) + 1 if are_enough.any() else self._num_lists

    @cached_property
    def _list_of(self) -> NDArray[np.int32]:
        """The list of each vector, int32 (M,)."""
        return list_of_vectors(self._index)

    @cached_property
    def _list_sizes(self) -> NDArray[np.int64]:
        return np.bincount(self._list_of, minlength=self._num_lists)


def list_of_vectors(index: Any) -> NDArray[np.int32]:
    """The list of each vector of an index, int32 (M,)."""
    lists: Any = faiss.extract_index_ivf(index).invlists
    list_of = np.zeros(index.ntotal, np.int32)
    for number in range(lists.nlist):
        ids = faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number))
        list_of[ids[(ids >= 0) & (ids < len(list_of))]] = number  # a damaged file may name others
    return list_of


def num_lists_of(num_vectors: int) -> int:
    """How many lists are made of so many vectors."""
    return max(1, min(int(_LISTS_PER_ROOT * math.sqrt(num_vectors)), num_vectors // _LEAST_PER_LIST))


def write_inverted_lists(vectors: Vectors, file: Path) -> int:
    """Make the lists of vectors, float32 (M, E), M > 0, and write them. Returns the number of lists."""
    num_vectors, width = vectors.shape
    num_lists = num_lists_of(num_vectors)
    rotation = faiss.RandomRotationMatrix(width, width)
    rotation.init(_SEED)
    centres = faiss.IndexFlatIP(width)  # the lists only refer to it
    lists = faiss.IndexIVFRaBitQ(centres, width, num_lists, faiss.METRIC_INNER_PRODUCT)
    lists.cp.spherical, lists.cp.niter, lists.cp.seed = True, _ITERATIONS, _SEED
    lists.cp.max_points_per_centroid = MOST_PER_LIST
    index = faiss.IndexPreTransform(rotation, lists)
    index.train(some_of(vectors, num_lists * MOST_PER_LIST))
    for start in range(0, num_vectors, _ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
    faiss.write_index(index, str(file))
    return num_lists


def read_inverted_lists(file: Path, vectors: Vectors, probes: Probes, error: float, recall: float) -> InvertedLists:
    """Maps the lists into memory. Raises an error of any type if the file is missing or damaged."""
    return InvertedLists(open_codes(file, faiss.IO_FLAG_MMAP, faiss.IndexIVFRaBitQ, vectors), vectors, probes, error, recall)


def measure_lists(file: Path, vectors: Vectors, queries: Vectors, recall: float) -> tuple[dict[int, int], float]:
    """The probes and the error of `InvertedLists`: the fewest lists that contain enough of the nearest 10, 100 and 1000 vectors of queries,
    float32 (Q, E), on average. Of the hits that may be missed, half may be in other lists, and half may be estimated too low.
    """
    index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    lists: Any = faiss.extract_index_ivf(index)
    list_of = list_of_vectors(index)
    order = lists.quantizer.search(index.chain.at(0).apply(queries), lists.nlist)[1]
    turn_of = np.argsort(order, axis=1)  # when the query scans each list, int64 (Q, nlist)
    best = nearest_of_many(vectors, queries, min(RANKS[-1], len(vectors)))
    probes = {}
    for rank in RANKS:
        turns = np.sort(np.concatenate([turn_of[query, list_of[slots[:rank]]] for query, (slots, _) in enumerate(best)]))
        probes[rank] = int(turns[max(0, math.ceil((1 + recall) / 2 * len(turns)) - 1)]) + 1
    return probes, error_of_estimates(index, vectors, queries, partial(_parameters, lists.nlist))


def _parameters(probes: int, allowed: Mask | None) -> Any:
    """The settings of one call."""
    selector = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[arg-type, call-arg]
    scan = faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=QUERY_BITS, sel=selector)  # type: ignore[call-arg]
    return faiss.SearchParametersPreTransform(index_params=scan)  # type: ignore[call-arg]
