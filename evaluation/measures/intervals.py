"""95 % intervals by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13), over clusters where values hang together.

Five captions of one picture are not five independent questions: their queries are drawn together, by picture.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.reports.report import Measure

RESAMPLES = 1000
LEAST = 5  # clusters below which drawing again tells nothing, and no interval is given
_LOW, _HIGH = 2.5, 97.5
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


def mean_interval(
    values: NDArray[np.float64], *, clusters: NDArray[np.int64] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Measure:
    """The mean of `values` (N,) times 100, with its interval; `clusters` int64 (N,) names the cluster of each value.

    With fewer than `LEAST` clusters there is none.
    """
    values = np.asarray(values, np.float64)
    groups = _groups(clusters, len(values))
    sums, counts = np.bincount(groups, values), np.bincount(groups).astype(np.float64)
    if len(sums) < LEAST:
        return Measure(100 * float(values.mean()))
    means = [weights @ sums / (weights @ counts) for weights in _draws(len(sums), resamples, seed)]
    low, high = np.percentile(means, (_LOW, _HIGH))
    return Measure(100 * float(values.mean()), 100 * float(low), 100 * float(high))


def median_interval(
    values: NDArray[np.float64], *, clusters: NDArray[np.int64] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Measure:
    """The median of `values` (N,) with its interval."""
    values = np.asarray(values, np.float64)
    groups = _groups(clusters, len(values))
    if int(groups.max()) + 1 < LEAST:
        return Measure(float(np.median(values)))
    order = values.argsort(kind="stable")
    medians = []
    for weights in _draws(int(groups.max()) + 1, resamples, seed):
        below = weights[groups[order]].cumsum()
        middle = [np.searchsorted(below, below[-1] / 2, side=side) for side in _SIDES]  # two where it lies between values
        medians.append(values[order[middle]].mean())
    low, high = np.percentile(medians, (_LOW, _HIGH))
    return Measure(float(np.median(values)), float(low), float(high))


def _groups(clusters: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    if count == 0:
        raise ValueError("There are no values (0). At least one is needed.")
    return np.arange(count) if clusters is None else np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def _draws(clusters: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each cluster is drawn, float64 (clusters,), in each resample; one at a time, because 50,000 of them are nothing unusual."""
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(random.integers(0, clusters, clusters), minlength=clusters).astype(np.float64)
