"""How sure a hit is: cosine to probability of being right, and how well such a promise is kept.

Platt 1999, "Probabilistic outputs for support vector machines": a logistic curve over the score, with his softened targets,
so that few examples do not make it certain. What is reported is always of questions that the curve was not fitted on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 100
_FOLDS = 5
_SAME = 1e-9  # scores that differ by less are equal but for rounding


@dataclass(frozen=True)
class Platt:
    """p(right) = 1 / (1 + exp(-(slope * score + offset)))."""

    slope: float
    offset: float

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of scores, float64 (N,)."""
        return 1 / (1 + np.exp(-np.clip(self.slope * scores + self.offset, -50, 50)))


def fit_platt(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Platt:
    """The curve of greatest likelihood for scores (N,) and whether each was right (N,), by Newton's method."""
    good, bad = int(right.sum()), int((~right).sum())
    target = np.where(right, (good + 1) / (good + 2), 1 / (bad + 2))
    middle, spread = float(scores.mean()), float(scores.std())
    spread = spread if spread > _SAME else 1.0
    design = np.stack([(scores - middle) / spread, np.ones(len(scores))], axis=1)  # (N, 2)
    weights = np.zeros(2)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -50, 50)))
        gradient = design.T @ (p - target) + 1e-6 * weights
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2), gradient)
        weights -= step / max(1.0, float(np.abs(step).max()))  # a longer step than this is taken on trust of a parabola too far away
        if np.abs(step).max() < 1e-9:
            break
    slope = float(weights[0]) / spread
    return Platt(slope, float(weights[1]) - slope * middle)


def promised(scores: NDArray[np.float64], right: NDArray[np.bool_], questions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities (N,) by curves that were fitted on other questions; `questions` int64 (N,) names the question of each score."""
    names = np.unique(questions)
    fold_of = dict(zip(names.tolist(), np.random.default_rng(0).permutation(len(names)) % _FOLDS, strict=True))
    fold = np.array([fold_of[question] for question in questions.tolist()])
    result = np.empty(len(scores))
    for number in range(_FOLDS):
        held = fold == number
        result[held] = fit_platt(scores[~held], right[~held])(scores[held])
    return result


@dataclass(frozen=True)
class Reliability:
    """Groups of about equal size by promised probability: what was promised and what came true in each, and two summaries."""

    promised: tuple[float, ...]
    came_true: tuple[float, ...]
    expected_calibration_error: float
    brier: float


def reliability(probabilities: NDArray[np.float64], right: NDArray[np.bool_], *, bins: int = 10) -> Reliability:
    """Guo et al. 2017 (arXiv 1706.04599, equation 3) with groups of equal size, and Brier's mean squared error; all in 0..1."""
    _, tied = np.unique(probabilities, return_inverse=True)
    true_of = (np.bincount(tied, right) / np.bincount(tied))[tied]  # of equals each counts as their mean, whatever their order
    order = probabilities.argsort(kind="stable")
    groups = [group for group in np.array_split(order, min(bins, len(order))) if len(group)]
    said = [float(probabilities[group].mean()) for group in groups]
    true = [float(true_of[group].mean()) for group in groups]
    error = sum(len(group) * abs(a - b) for group, a, b in zip(groups, said, true, strict=True)) / len(order)
    return Reliability(tuple(said), tuple(true), error, float(np.mean((probabilities - right) ** 2)))
