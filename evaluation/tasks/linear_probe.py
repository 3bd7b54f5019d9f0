"""Multinomial logistic regression on frozen vectors, the usual linear probe (Radford et al. 2021, section 3.2), by scikit-learn.

It minimises the mean cross-entropy plus l2/2 times the squared norm of the weights, without the intercepts.

Axes: N media, E embedding, C classes.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # l2 from strong to weak, so that each fit starts from the weights of the last one
_HELD_OUT = 10  # one of so many


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier of scikit-learn for C classes. A class without training media is never the answer."""

    model: Any
    num_classes: int
    l2: float

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (N, E) -> log-probabilities float32 (N, C)."""
        scores = np.full((len(vectors), self.num_classes), -np.inf, np.float32)
        with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
            scores[:, self.model.classes_] = self.model.predict_log_proba(vectors.astype(np.float64))
        return scores


def fit(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], num_classes: int, *, l2: float, start: LinearProbe | None = None
) -> LinearProbe:
    """Fit to vectors (N, E) and labels (N,), from zero or from another fit, which this changes."""
    num_present = len(np.unique(labels))
    if num_present == 1:
        return LinearProbe(DummyClassifier().fit(vectors, labels), num_classes, l2)
    model = start.model if start and isinstance(start.model, LogisticRegression) else LogisticRegression(warm_start=True)
    # For two classes scikit-learn has one weight vector, which is the difference of our two: half the squared norm.
    model.set_params(C=(2 if num_present == 2 else 1) / (l2 * len(labels)), tol=1e-7, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties on separable data: the scores are good before that
        model.fit(vectors.astype(np.float64), labels)
    return LinearProbe(model, num_classes, l2)


def fit_best(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    on_fit: Callable[[int, int], None] = lambda done, total: None,
) -> LinearProbe:
    """Choose `l2` by accuracy, then cross-entropy, on a held-out tenth. Then fit to all data with it."""
    held, kept = hold_out(labels, seed=seed)
    probe, found = None, []
    for done, l2 in enumerate(sorted(strengths, reverse=True), 1):
        probe = fit(vectors[kept], labels[kept], num_classes, l2=l2, start=probe)
        scores = probe.scores(vectors[held])
        likelihood = np.take_along_axis(scores, labels[held, None], axis=1)
        found.append((float((scores.argmax(1) == labels[held]).mean()), float(likelihood.mean()), l2))
        on_fit(done, len(strengths) + 1)
    best = fit(vectors, labels, num_classes, l2=max(found)[-1])
    on_fit(len(strengths) + 1, len(strengths) + 1)
    return best


def hold_out(labels: NDArray[np.int64], *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A tenth of the indices, about the same share of each class, and the others."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    return np.sort(by_class[::_HELD_OUT]), np.delete(by_class, np.s_[::_HELD_OUT])
