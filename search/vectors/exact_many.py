"""The exact nearest neighbours of many queries at once, by products of matrices."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from media.blas_threads import one_blas_thread
from search.vectors.exact import Found, Mask, Vectors, largest
from search.vectors.finder import none_found
from search.vectors.in_parts import in_parts

_QUERIES_AT_ONCE, _ROWS_AT_ONCE = 128, 1 << 13  # 4 MB of cosines
_LEAST_ROWS = 1 << 14  # of a part, which has its own best `k` of each query


def nearest_of_many(vectors: Vectors, queries: Vectors, k: int, allowed: Mask | None = None) -> list[Found]:
    """For each query, the slots and cosines of the `k` most similar vectors, best first; fewer if there are fewer.

    Args:
        vectors: float32 (M, E).
        queries: float32 (Q, E), each row of L2 norm 1.
        allowed: bool (M,), the slots that may be returned; None for all.
    """
    found: list[Found] = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = np.ascontiguousarray(queries[start : start + _QUERIES_AT_ONCE])
        with one_blas_thread:
            parts = in_parts(partial(_of_rows, vectors, block, k, allowed), len(vectors), _LEAST_ROWS, parts_per_cpu=1)
        found += [_best_of(each, k) for each in zip(*parts, strict=True)]
    return found


def _of_rows(vectors: Vectors, queries: Vectors, k: int, allowed: Mask | None, first: int, last: int) -> list[Found]:
    """The best `k` for each query among the slots `[first, last)`."""
    found: list[Found] = [none_found()] * len(queries)
    lowest = np.full((len(queries), 1), -np.inf, np.float32)  # of the best `k` so far
    for start in range(first, last, _ROWS_AT_ONCE):
        slots = np.arange(start, min(start + _ROWS_AT_ONCE, last))
        if allowed is None:
            block = vectors[start : start + len(slots)]
        else:
            slots = slots[allowed[slots]]
            block = vectors[slots]
        if not len(slots):
            continue
        cosines = queries @ block.T
        is_better = cosines > lowest
        for number in np.flatnonzero(is_better.any(axis=1)):
            better = np.flatnonzero(is_better[number])
            found[number] = _best_of([found[number], (slots[better], cosines[number, better])], k)
            if len(found[number][0]) == k:
                lowest[number] = found[number][1][-1]
    return found


def _best_of(lists: Iterable[Found], k: int) -> Found:
    """The best `k` of several lists, best first."""
    slots, cosines = (np.concatenate(each) for each in zip(*lists, strict=True))
    best = largest(cosines, k)
    return slots[best], cosines[best]
