"""Exact ranks of the right items for each query, the measures of retrieval papers, and answers of classifiers. Ties count against us.

Products are summed in float64 and rounded to float32, so equal vectors have equal similarities anywhere in a matrix.
Otherwise the edges of a blocked product would break some ties in our favour.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.intervals import Measure, mean_interval, median_interval

KS = (1, 5, 10)
MEASURES = ("R@1", "R@5", "R@10", "median rank", "MRR", "mAP")
BEST = 5  # classes of an answer
_BLOCK = 32_000_000  # similarities in memory: 256 MB


def similarities(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inner products: float32 (Q, E) and (G, E) -> float32 (Q, G)."""
    product: NDArray[np.float64] = queries.astype(np.float64) @ gallery.astype(np.float64).T
    return product.astype(np.float32)


def ranks_of_right(queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """For queries (Q, E), the ranks, from 1 and rising, of their right items of the gallery (G, E); `right`: the indices of these."""
    block = max(1, _BLOCK // max(1, len(gallery)))
    ranks: list[NDArray[np.int64]] = []
    for start in range(0, len(queries), block):
        rows = similarities(queries[start : start + block], gallery)
        ranks += [_ranks(row, np.asarray(own)) for row, own in zip(rows, right[start : start + block], strict=True)]
    return ranks


def best_first(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], right: Sequence[Sequence[int]], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k best items of the gallery for each query and their similarities, int64 and float32 (Q, k). In a tie, wrong items come first."""
    rows = similarities(queries, gallery)
    order = np.lexsort((marked(right, rows.shape), -rows), axis=1)[:, :k]
    return order, np.take_along_axis(rows, order, axis=1)


def measures(ranks: Sequence[NDArray[np.int64]], *, clusters: NDArray[np.int64] | None = None) -> Mapping[str, Measure]:
    """`MEASURES` with intervals, in percent but for the median rank. For recall any right item counts. `clusters` as in `mean_interval`."""
    first = np.array([rank[0] for rank in ranks], np.float64)
    precision = np.array([(np.arange(1, len(rank) + 1) / rank).mean() for rank in ranks])
    means = {name: mean_interval(values, clusters=clusters) for name, values in (by_query(first) | {"mAP": precision}).items()}
    return means | {"median rank": median_interval(first, clusters=clusters)}


def by_query(first: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """R@1, R@5, R@10 and the reciprocal rank of each query, in 0..1, from the ranks of first right items: infinity if there is none."""
    return {f"R@{k}": (first <= k).astype(np.float64) for k in KS} | {"MRR": 1 / first}


def recall_curve(ranks: Sequence[NDArray[np.int64]], ks: Sequence[int]) -> tuple[float, ...]:
    """Recall@k in percent at each k."""
    first = np.array([rank[0] for rank in ranks])
    return tuple(100 * float((first <= k).mean()) for k in ks)


@dataclass(frozen=True)
class Answers:
    """For N media: `ranks` int64 (N,), 0 if a right class came first; `best` int64 (N, K), the first classes, K = 5 or all."""

    ranks: NDArray[np.int64]
    best: NDArray[np.int64]

    def top(self, k: int) -> NDArray[np.float64]:
        """1 if a right class is among the first k, else 0: float64 (N,)."""
        return (self.ranks < k).astype(np.float64)


def rank_classes(scores: NDArray[np.float32], right: Sequence[Sequence[int]]) -> Answers:
    """Order the classes of each medium by scores, float32 (N, C)."""
    is_right = marked(right, scores.shape)
    scores = np.where(np.isnan(scores), np.where(is_right, -np.inf, np.inf), scores)  # NaN of a diverged model counts as wrong
    order = np.lexsort((is_right, -scores), axis=1)
    ranks = np.take_along_axis(is_right, order, axis=1).argmax(1)
    return Answers(ranks.astype(np.int64), order[:, :BEST].astype(np.int64))


def rank_in_blocks(scores_of: Callable[[range], NDArray[np.float32]], right: Sequence[Sequence[int]], *, block: int) -> Answers:
    """Like `rank_classes`, for scores that do not fit into memory. `scores_of` returns the scores of a range of media."""
    rows = range(len(right))
    parts = [rank_classes(scores_of(rows[n : n + block]), right[n : n + block]) for n in rows[::block]]
    return Answers(np.concatenate([part.ranks for part in parts]), np.concatenate([part.best for part in parts]))


def _ranks(row: NDArray[np.float32], right: NDArray[np.int64]) -> NDArray[np.int64]:
    own = row[right][(-row[right]).argsort(kind="stable")]  # best first, NaN last
    # "not below" instead of "at least", so that the NaN of a diverged model counts against us too
    not_below = np.array([np.count_nonzero(~(row < value)) for value in own])
    right_not_below = (~(own[None, :] < own[:, None])).sum(1)
    return not_below - right_not_below + np.arange(1, len(own) + 1)


def marked(right: Sequence[Sequence[int]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True at the right items of each row: bool `shape`."""
    is_right = np.zeros(shape, bool)
    for row, own in zip(is_right, right, strict=True):
        row[list(own)] = True
    return is_right
