"""95 % intervals by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13), over clusters of dependent values.

The five captions of one picture are not five independent queries, so they are resampled together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
MIN_CLUSTERS = 5  # with fewer, resampling is meaningless, and there is no interval


@dataclass(frozen=True)
class Measure:
    """A figure. `low` and `high` are its 95 % interval, if one was computed."""

    value: float
    low: float | None = None
    high: float | None = None


def mean_interval(values: NDArray[np.float64], *, clusters: NDArray[np.int64] | None = None, resamples: int = RESAMPLES) -> Measure:
    """The mean of `values` (N,) times 100, with its interval. `clusters` int64 (N,) is the cluster of each value."""
    groups = _groups(values, clusters)
    sums, counts = np.bincount(groups, values), np.bincount(groups).astype(np.float64)
    return _interval(values.mean(), lambda weights: float(weights @ sums / (weights @ counts)), groups, resamples, scale=100)


def median_interval(values: NDArray[np.float64], *, clusters: NDArray[np.int64] | None = None, resamples: int = RESAMPLES) -> Measure:
    """The median of `values` (N,) with its interval."""
    groups = _groups(values, clusters)
    order = values.argsort(kind="stable")

    def median(weights: NDArray[np.float64]) -> float:
        below = weights[groups[order]].cumsum()
        middle = np.searchsorted(below, below[-1] / 2, side="left"), np.searchsorted(below, below[-1] / 2, side="right")
        return float(values[order[list(middle)]].mean())  # they differ if the middle is between two values

    return _interval(np.median(values), median, groups, resamples)


def _groups(values: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The index of the cluster of each value, from 0."""
    if not len(values):
        raise ValueError("There are no values (0). At least one is needed.")
    return np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]


def _interval(
    value: np.floating, statistic: Callable[[NDArray[np.float64]], float], groups: NDArray[np.int64], resamples: int, *, scale: int = 1
) -> Measure:
    """`statistic` takes how often each cluster is drawn, float64 (clusters,)."""
    clusters = int(groups.max()) + 1
    if clusters < MIN_CLUSTERS:
        return Measure(scale * float(value))
    random = np.random.default_rng(0)
    draws = (np.bincount(random.integers(0, clusters, clusters), minlength=clusters).astype(np.float64) for _ in range(resamples))
    low, high = np.percentile([statistic(draw) for draw in draws], (2.5, 97.5))
    return Measure(scale * float(value), scale * float(low), scale * float(high))
