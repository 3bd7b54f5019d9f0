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
        self._index, self._vectors = index, vectors
        self._measured = [(math.log(rank), math.log(count)) for rank, count in sorted(probes.items())]
        self._margin = standard_errors(_share_of_a_cause(recall)) * error
        self._num_lists = int(faiss.extract_index_ivf(index).nlist)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found | None:
        """See `Finder`. More lists are scanned if they hold too few candidates, or if the candidates are less similar than expected."""
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if not num_allowed:
            return none_found()
        count = min(num_allowed, max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k))
        faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
        wanted = self._probes_of(k) if allowed is None else self._probes_among(vector, k, allowed, num_allowed)
        probes, lowest = 0, -math.inf
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
                wanted = probes if allowed is None else self._probes_of(self._rank_of(lowest, vector))
            else:
                wanted = min(_MORE_PROBES * probes, self._num_lists)
        needed = lowest - self._margin  # as in `FlatCodes.find`
        if not is_full or count == num_allowed or estimates[-1] <= needed:
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

    def _probes_of(self, rank: float) -> int:
        """How many lists to scan for the nearest `rank` vectors. Between and beyond measured ranks, it grows as a power of the rank."""
        (*_, (before, probes_before), (last, probes_last)) = self._measured
        slope = max(0.0, (probes_last - probes_before) / (last - before))
        wanted = math.log(max(rank, 1))
        grown = float(np.interp(wanted, *np.transpose(self._measured))) + slope * max(0.0, wanted - last)
        return min(self._num_lists, math.ceil(math.exp(min(grown, 30.0)) - 1e-6))  # exp(log(23)) may be above 23

    def _probes_among(self, vector: Vectors, k: int, allowed: Mask, num_allowed: int) -> int:
        """How many lists to scan if a filter keeps a part of them.

        If it keeps a tenth of the vectors near the query, the best 10 of these are about as far away as the best 100 of all. What it keeps
        may also lie far from the query, so the share is counted in the lists, from the nearest one on, until they are enough for it.
        """
        lists = faiss.extract_index_ivf(self._index)
        rotated = self._index.chain.at(0).apply(vector[None])
        least, num_counted, num_scanned, num_kept = self._probes_of(k), 0, 0, 0
        num_ordered = self._probes_of(k * len(self) / num_allowed)
        while True:
            for number in lists.quantizer.search(rotated, num_ordered)[1][0, num_counted:].tolist():
                if number < 0:  # a damaged file has centres that are no numbers
                    return self._num_lists
                ids = ids_of_list(lists, number, len(self))
                num_counted, num_scanned, num_kept = num_counted + 1, num_scanned + len(ids), num_kept + int(np.count_nonzero(allowed[ids]))
                are_enough = num_counted >= least and num_kept and num_counted >= self._probes_of(k * num_scanned / num_kept)
                if are_enough or num_scanned > _CODES_PER_COSINE * num_allowed:
                    return num_counted
            if num_ordered == self._num_lists:
                return self._num_lists
            num_ordered = min(2 * num_ordered, self._num_lists)


def ids_of_list(lists: Any, number: int, num_vectors: int) -> Slots:
    """The vectors of a list, int64 (n,). A damaged file may name others, which are left out."""
    ids: Slots = faiss.rev_swig_ptr(lists.invlists.get_ids(number), lists.invlists.list_size(number))
    return ids[(ids >= 0) & (ids < num_vectors)]


def _share_of_a_cause(recall: float) -> float:
    """Of the hits that may be missed, half may be in other lists, and half may be estimated too low."""
    return (1 + recall) / 2


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
    float32 (Q, E), on average.
    """
    index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    lists: Any = faiss.extract_index_ivf(index)
    list_of = np.zeros(index.ntotal, np.int64)
    for number in range(lists.nlist):
        list_of[ids_of_list(lists, number, len(list_of))] = number
    order = lists.quantizer.search(index.chain.at(0).apply(queries), lists.nlist)[1]
    turn_of = np.argsort(order, axis=1)  # when the query scans each list, int64 (Q, nlist)
    best = nearest_of_many(vectors, queries, min(RANKS[-1], len(vectors)))
    probes = {}
    for rank in RANKS:
        turns = np.sort(np.concatenate([turn_of[query, list_of[slots[:rank]]] for query, (slots, _) in enumerate(best)]))
        probes[rank] = int(turns[max(0, math.ceil(_share_of_a_cause(recall) * len(turns)) - 1)]) + 1
    return probes, error_of_estimates(index, vectors, queries, partial(_parameters, lists.nlist))


def _parameters(probes: int, allowed: Mask | None) -> Any:
    """The settings of one call."""
    selector = None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # type: ignore[arg-type, call-arg]
    scan = faiss.IVFRaBitQSearchParameters(nprobe=probes, qb=QUERY_BITS, sel=selector)  # type: ignore[call-arg]
    return faiss.SearchParametersPreTransform(index_params=scan)  # type: ignore[call-arg]
