"""Multinomial logistic regression on frozen vectors, the usual linear probe (Radford et al. 2021, section 3.2).

It minimises the mean cross-entropy plus l2/2 times the squared norm of the weights, the intercepts left out: scikit-learn's
objective with C = 1 / (l2 * N). Deterministic: LBFGS over the whole set, in float64, in blocks so that memory stays bounded.

Axes: N media, E embedding, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

# Mean-loss scale, strong to weak, so that each fit starts from the last one's weights.
STRENGTHS = tuple(10.0**exponent for exponent in (-2, -3, -4, -5, -6, -7))
_BLOCK = 8192
_HELD_OUT = 10  # one of so many


@dataclass(frozen=True)
class LinearProbe:
    """Logits are vectors times `weights` float64 (E, C) plus `bias` float64 (C,); `loss` is the objective that they reach."""

    weights: Tensor
    bias: Tensor
    l2: float
    loss: float

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (N, E) -> logits float32 (N, C)."""
        rows = torch.from_numpy(vectors).to(self.weights)
        return (rows @ self.weights + self.bias).float().cpu().numpy()


def fit(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    l2: float,
    device: torch.device | None = None,
    start: LinearProbe | None = None,
) -> LinearProbe:
    """Fit to vectors (N, E) and labels (N,), from zero or from another fit."""
    x, y = torch.from_numpy(vectors).to(device), torch.from_numpy(labels).to(device)
    weights = torch.zeros(x.shape[1], num_classes, dtype=torch.float64, device=device) if start is None else start.weights.clone()
    bias = torch.zeros(num_classes, dtype=torch.float64, device=device) if start is None else start.bias.clone()
    optimiser = torch.optim.LBFGS(
        [weights.requires_grad_(), bias.requires_grad_()],
        max_iter=1000,
        history_size=20,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        optimiser.zero_grad()
        total = l2 / 2 * weights.square().sum()
        total.backward()
        value = float(total.detach())
        for rows, own in zip(x.split(_BLOCK), y.split(_BLOCK), strict=True):
            loss = F.cross_entropy(rows.double() @ weights + bias, own, reduction="sum") / len(x)
            loss.backward()
            value += float(loss.detach())
        return value

    optimiser.step(objective)
    loss = objective()
    return LinearProbe(weights.detach(), bias.detach(), l2, loss)


def fit_best(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    num_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    device: torch.device | None = None,
    on_fit: Callable[[int, int], None] = lambda done, total: None,
) -> LinearProbe:
    """Choose `l2` by the accuracy, then the cross-entropy, on a held-out tenth; fit to all with the chosen one."""
    held, kept = hold_out(labels, seed=seed)
    probe, found = None, []
    for done, l2 in enumerate(sorted(strengths, reverse=True), 1):
        probe = fit(vectors[kept], labels[kept], num_classes, l2=l2, device=device, start=probe)
        found.append((*_quality(probe, vectors[held], labels[held]), l2))
        on_fit(done, len(strengths) + 1)
    best = fit(vectors, labels, num_classes, l2=max(found)[-1], device=device)
    on_fit(len(strengths) + 1, len(strengths) + 1)
    return best


def hold_out(labels: NDArray[np.int64], *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A tenth of the indices, from each class about as much, and the others."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    return np.sort(by_class[::_HELD_OUT]), np.delete(by_class, np.s_[::_HELD_OUT])


def _quality(probe: LinearProbe, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Accuracy, and the cross-entropy with its sign turned: more is better."""
    right, loss = 0, 0.0
    for start, stop in pairwise([*range(0, len(labels), _BLOCK), len(labels)]):
        scores, own = torch.from_numpy(probe.scores(vectors[start:stop])), torch.from_numpy(labels[start:stop])
        right += int((scores.argmax(1) == own).sum())
        loss += float(F.cross_entropy(scores, own, reduction="sum"))
    return right / len(labels), -loss / len(labels)
