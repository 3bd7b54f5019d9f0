"""Exact ranks of what is right for each query, and what papers make of them. Ties count against us.

Products are summed in float64 and rounded to float32, so that equal vectors are equal in similarity wherever they stand
in a matrix: the edges of a blocked product would otherwise break some ties in our favour.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.intervals import mean_interval, median_interval
from evaluation.reports.report import Measure

KS = (1, 5, 10)
MEASURES = ("R@1", "R@5", "R@10", "median rank", "MRR", "mAP")
_BLOCK = 32_000_000  # similarities held at once: 256 MB


def similarities(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products: float32 (Q, E) and (G, E) -> float32 (Q, G)."""
    product: NDArray[np.float64] = queries.astype(np.float64) @ gallery.astype(np.float64).T
    return product.astype(np.float32)


def ranks_of_right(queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """For each query the ranks, from 1 and rising, of the gallery's items that are right for it.

    Args:
        queries, gallery: float32 (Q, E) and (G, E).
        right: for each query the indices of the right items, at least one.
    """
    ranks: list[NDArray[np.int64]] = []
    block = max(1, _BLOCK // max(1, len(gallery)))
    for first, stop in pairwise([*range(0, len(queries), block), len(queries)]):
        rows = similarities(queries[first:stop], gallery)
        ranks += [_ranks(row, np.asarray(right[first + number])) for number, row in enumerate(rows)]
    return ranks


def best_first(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best items of the gallery for each query and their similarities, int64 and float32 (Q, k); of equals the wrong one first."""
    rows = similarities(queries, gallery)
    is_right = np.zeros(rows.shape, bool)
    for row, own in zip(is_right, right, strict=True):
        row[list(own)] = True
    order = np.lexsort((is_right, -rows), axis=1)[:, :k]
    return order, np.take_along_axis(rows, order, axis=1)


def measures(ranks: Sequence[NDArray[np.int64]], *, clusters: NDArray[np.int64] | None = None) -> Mapping[str, Measure]:
    """Recall@1, 5, 10 (any right item counts), median rank, mean reciprocal rank and mean average precision, with intervals.

    All but the median rank in percent. `clusters` int64 (Q,): queries that hang together, for the intervals.
    """
    first = np.array([rank[0] for rank in ranks], np.float64)
    found = {f"R@{k}": mean_interval((first <= k).astype(np.float64), clusters=clusters) for k in KS}
    precision = np.array([(np.arange(1, len(rank) + 1) / rank).mean() for rank in ranks])
    return found | {
        "median rank": median_interval(first, clusters=clusters),
        "MRR": mean_interval(1 / first, clusters=clusters),
        "mAP": mean_interval(precision, clusters=clusters),
    }


def recall_curve(ranks: Sequence[NDArray[np.int64]], ks: Sequence[int]) -> tuple[float, ...]:
    """Recall@k in percent at each k."""
    first = np.array([rank[0] for rank in ranks])
    return tuple(100 * float((first <= k).mean()) for k in ks)


def _ranks(row: NDArray[np.float32], right: NDArray[np.int64]) -> NDArray[np.int64]:
    own = row[right][(-row[right]).argsort(kind="stable")]  # best first, NaN last
    # "not below" instead of "at least": NaN, of a model that diverged, counts against us too
    not_below = np.array([np.count_nonzero(~(row < value)) for value in own])
    right_not_below = (~(own[None, :] < own[:, None])).sum(1)
    return not_below - right_not_below + np.arange(1, len(own) + 1)
