"""Exact ranks of the right items for each query, and the measures of retrieval papers. Ties count against us.

Products are summed in float64 and rounded to float32, so equal vectors have equal similarities anywhere in a matrix.
Otherwise the edges of a blocked product would break some ties in our favour.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.intervals import Measure, mean_interval, median_interval

KS = (1, 5, 10)
MEASURES = ("R@1", "R@5", "R@10", "median rank", "MRR", "mAP")
_BLOCK = 32_000_000  # similarities in memory: 256 MB


def similarities(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products: float32 (Q, E) and (G, E) -> float32 (Q, G)."""
    product: NDArray[np.float64] = queries.astype(np.float64) @ gallery.astype(np.float64).T
    return product.astype(np.float32)


def ranks_of_right(queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """For each query the ranks of the right items of the gallery, from 1 and rising.

    Args:
        queries, gallery: float32 (Q, E) and (G, E).
        right: for each query the indices of the right items, at least one.
    """
    block = max(1, _BLOCK // max(1, len(gallery)))
    ranks: list[NDArray[np.int64]] = []
    for start in range(0, len(queries), block):
        rows = similarities(queries[start : start + block], gallery)
        ranks += [_ranks(row, np.asarray(own)) for row, own in zip(rows, right[start : start + block], strict=True)]
    return ranks


def best_first(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best items of the gallery for each query and their similarities, int64 and float32 (Q, k). In a tie, wrong items go first."""
    rows = similarities(queries, gallery)
    order = np.lexsort((marked(right, rows.shape), -rows), axis=1)[:, :k]
    return order, np.take_along_axis(rows, order, axis=1)


def marked(right: Sequence[Sequence[int]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True at the right items of each row: bool `shape`."""
    is_right = np.zeros(shape, bool)
    for row, own in zip(is_right, right, strict=True):
        row[list(own)] = True
    return is_right


def measures(ranks: Sequence[NDArray[np.int64]], *, clusters: NDArray[np.int64] | None = None) -> Mapping[str, Measure]:
    """Recall@1, 5, 10 (any right item counts), median rank, mean reciprocal rank and mean average precision, with intervals.

    All but the median rank are in percent. `clusters` int64 (Q,): queries of one cluster are resampled together.
    """
    first = np.array([rank[0] for rank in ranks], np.float64)
    recalls = {f"R@{k}": mean_interval((first <= k).astype(np.float64), clusters=clusters) for k in KS}
    precision = np.array([(np.arange(1, len(rank) + 1) / rank).mean() for rank in ranks])
    return recalls | {
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
    # "not below" instead of "at least", so that the NaN of a diverged model counts against us too
    not_below = np.array([np.count_nonzero(~(row < value)) for value in own])
    right_not_below = (~(own[None, :] < own[:, None])).sum(1)
    return not_below - right_not_below + np.arange(1, len(own) + 1)
