"""The answers of a classifier: ranks of the right classes, and the best classes. Ties count against us."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.measures.ranking import marked

BEST = 5


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
    # the NaN of a diverged model counts against us
    scores = np.where(np.isnan(scores), np.where(is_right, -np.inf, np.inf), scores)
    order = np.lexsort((is_right, -scores), axis=1)
    ranks = np.take_along_axis(is_right, order, axis=1).argmax(1)
    return Answers(ranks.astype(np.int64), order[:, :BEST].astype(np.int64))


def rank_in_blocks(scores_of: Callable[[range], NDArray[np.float32]], right: Sequence[Sequence[int]], *, block: int) -> Answers:
    """The same for scores that do not fit into memory. `scores_of` gives those of a range of media."""
    rows = range(len(right))
    parts = [rank_classes(scores_of(rows[n : n + block]), right[n : n + block]) for n in rows[::block]]
    return Answers(np.concatenate([part.ranks for part in parts]), np.concatenate([part.best for part in parts]))
