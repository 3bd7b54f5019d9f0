"""Converts the cosine of a hit to the probability that it is right, and measures the error of such probabilities.

Platt 1999, "Probabilistic outputs for support vector machines": a logistic curve over the score, with smoothed targets against
overconfidence on few examples. All reported probabilities are for queries that the curve was not fitted on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

Scores = NDArray[np.float64]  # (N,)
_FOLDS = 5
_SAME = 1e-9  # smaller differences between scores are rounding errors


def fit_platt(scores: Scores, right: NDArray[np.bool_]) -> Callable[[Scores], Scores]:
    """The maximum-likelihood curve for scores (N,) and whether each was right (N,): from scores to probabilities."""
    good, bad = int(right.sum()), int((~right).sum())
    target = np.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    middle, spread = float(scores.mean()), float(scores.std())
    spread = spread if spread > _SAME else 1.0
    # For targets between 0 and 1, use each score twice: as right with weight `target`, and as wrong with the rest.
    twice = np.tile((scores - middle) / spread, 2)[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000)
    model.fit(twice, np.repeat([True, False], len(scores)), sample_weight=np.concatenate([target, 1 - target]))
    slope = float(model.coef_[0, 0]) / spread
    offset = float(model.intercept_[0]) - slope * middle
    return lambda some: 1 / (1 + np.exp(-np.clip(slope * some + offset, -50, 50)))


def cross_fitted(scores: Scores, right: NDArray[np.bool_], queries: NDArray[np.int64]) -> Scores:
    """Probabilities (N,) from curves fitted on other queries. `queries` int64 (N,) is the query of each score."""
    probabilities = np.empty(len(scores))
    for fitted, held_out in GroupKFold(_FOLDS, shuffle=True, random_state=0).split(scores, groups=queries):
        probabilities[held_out] = fit_platt(scores[fitted], right[fitted])(scores[held_out])
    return probabilities


@dataclass(frozen=True)
class Reliability:
    """Groups of about equal size by probability: the mean probability and the share that was right in each, and two summaries."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    expected_calibration_error: float
    brier: float


def reliability(probabilities: Scores, right: NDArray[np.bool_], *, bins: int = 10) -> Reliability:
    """Guo et al. 2017 (arXiv 1706.04599, equation 3) with groups of equal size, and Brier's mean squared error, all in 0..1."""
    _, tied = np.unique(probabilities, return_inverse=True)
    share_right = (np.bincount(tied, right) / np.bincount(tied))[tied]  # the mean over equal probabilities: their order must not matter
    order = probabilities.argsort(kind="stable")
    groups = [group for group in np.array_split(order, min(bins, len(order))) if len(group)]
    predicted, observed = (tuple(float(values[group].mean()) for group in groups) for values in (probabilities, share_right))
    error = sum(len(group) * abs(a - b) for group, a, b in zip(groups, predicted, observed, strict=True)) / len(order)
    return Reliability(predicted, observed, error, float(np.mean((probabilities - right) ** 2)))
