"""The linear probe compared with the same objective minimised by torch, on random points and on handwritten digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from evaluation.tasks.probe import STRENGTHS, fit, fit_best, hold_out


def blobs(num_classes):
    """240 random points in overlapping classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, 240)
    return (random.normal(size=(num_classes, 8))[labels] + random.normal(size=(240, 8))).astype(np.float32), labels


def minimised_by_torch(vectors, labels, num_classes, l2):
    """Minimise the objective with torch. Returns its minimum, and a function from vectors to log-probabilities."""
    x, y = torch.from_numpy(vectors).double(), torch.from_numpy(labels)
    weights, bias = torch.zeros(x.shape[1], num_classes).double(), torch.zeros(num_classes).double()
    optimiser = torch.optim.LBFGS([weights.requires_grad_(), bias.requires_grad_()], max_iter=1000, line_search_fn="strong_wolfe")

    def objective():
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ weights + bias, y) + l2 / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    return objective().item(), lambda some: (torch.from_numpy(some).double() @ weights + bias).log_softmax(1).detach().numpy()


def objective_of(probe, vectors, labels):
    """The value of the objective for a fitted probe."""
    weights = probe.model.coef_
    weights = np.concatenate([weights, -weights]) / 2 if len(weights) == 1 else weights  # with two classes, scikit-learn stores one vector
    likelihood = np.take_along_axis(probe.scores(vectors), labels[:, None], axis=1)
    return -float(likelihood.mean(dtype=np.float64)) + probe.l2 / 2 * np.square(weights).sum()


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_loss_and_probabilities_agree_with_torch(num_classes, l2):
    vectors, labels = blobs(num_classes)
    probe = fit(vectors, labels, num_classes, l2=l2)
    loss, log_probabilities = minimised_by_torch(vectors, labels, num_classes, l2)
    assert objective_of(probe, vectors, labels) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(np.exp(probe.scores(vectors)), np.exp(log_probabilities(vectors)), atol=1e-3)


def test_accuracy_on_handwritten_digits_agrees_with_torch():
    digits = load_digits()
    vectors, labels = (digits.data / 16).astype(np.float32), digits.target
    strengths = (1e-2, 1e-3, 1e-4)  # weaker ones take a minute to converge
    probe = fit_best(vectors[:1000], labels[:1000], 10, strengths=strengths)
    _, log_probabilities = minimised_by_torch(vectors[:1000], labels[:1000], 10, probe.l2)
    ours, theirs = (
        (scores.argmax(1) == labels[1000:]).mean() for scores in (probe.scores(vectors[1000:]), log_probabilities(vectors[1000:]))
    )
    assert set(strengths) < set(STRENGTHS)
    assert probe.l2 in strengths
    assert ours >= theirs - 0.002
    assert ours > 0.9


def test_the_fit_does_not_depend_on_the_start():
    vectors, labels = blobs(4)
    fresh = fit(vectors, labels, 4, l2=1e-2).scores(vectors)
    again = fit(vectors, labels, 4, l2=1e-2, start=fit(vectors, labels, 4, l2=1.0)).scores(vectors)
    np.testing.assert_allclose(again, fresh, atol=1e-3, rtol=1e-3)


def test_the_chosen_strength_is_the_best_on_the_held_out_tenth():
    vectors, labels = blobs(4)
    held, kept = hold_out(labels, seed=0)
    found = []
    for l2 in (1e1, 1e-1, 1e-2, 1e-5):
        scores = minimised_by_torch(vectors[kept], labels[kept], 4, l2)[1](vectors[held])
        found.append(((scores.argmax(1) == labels[held]).mean(), np.take_along_axis(scores, labels[held, None], axis=1).mean(), l2))
    best = fit_best(vectors, labels, 4, strengths=(1e-5, 1e-2, 1e-1, 1e1))
    assert best.l2 == max(found)[-1]
    assert objective_of(best, vectors, labels) == pytest.approx(minimised_by_torch(vectors, labels, 4, best.l2)[0], rel=1e-6)


@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [1, 3, 1, 3]])
def test_a_class_without_training_media_is_never_predicted(labels):
    vectors = np.array([[1, 0], [0, 1], [2, 0], [0, 2]], np.float32)
    scores = fit_best(vectors, np.array(labels), 5).scores(vectors)
    assert scores.shape == (4, 5)
    assert scores.argmax(1).tolist() == labels
    assert np.isneginf(np.delete(scores, np.unique(labels), axis=1)).all()


def test_a_tenth_is_held_out_of_each_class():
    labels = np.repeat([2, 0, 1], (50, 20, 30))
    held, kept = hold_out(labels, seed=3)
    assert np.bincount(labels[held]).tolist() == [2, 3, 5]
    assert sorted([*held, *kept]) == list(range(100))
    assert not np.array_equal(held, hold_out(labels, seed=4)[0])
