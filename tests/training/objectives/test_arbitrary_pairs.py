import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from tests.written_out import dot, unit
from training.objectives.arbitrary_pairs import LabelGate, arbitrary_pairs_loss, share_a_label

SCALE = torch.tensor(7.0, dtype=torch.float64)
NONE_SHARED = torch.eye(4, dtype=torch.bool)
SHARED = NONE_SHARED | torch.tensor([[i + j == 1 for j in range(4)] for i in range(4)])  # rows 0 and 1 have the same label


def gates(count):
    return torch.rand(count, 5, dtype=torch.float64) + 0.1


def gated_cosine(a, b, gate):
    a, b = ([x * g for x, g in zip(row, gate, strict=True)] for row in (a, b))
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


@pytest.mark.parametrize("same", [NONE_SHARED, SHARED], ids=["own labels", "a shared label"])
def test_each_row_matches_the_label_of_its_partner_in_their_subspace(same):
    image, text, gate = unit(4), unit(4), gates(4)
    total, count = 0.0, 0
    for one, other in ((image, text), (text, image)):
        for i in range(4):
            pair = [a * b for a, b in zip(gate[i].tolist(), gate[i - 1].tolist(), strict=True)]
            logits = [7 * gated_cosine(one[i].tolist(), key, pair) for key in other.tolist()]
            negatives = [math.exp(logits[j]) for j in range(4) if not same[i, j] and not same[i - 1, j]]
            for j in range(4):
                if same[i - 1, j]:
                    total -= math.log(math.exp(logits[j]) / (math.exp(logits[j]) + sum(negatives)))
                    count += 1
    assert arbitrary_pairs_loss(image, text, SCALE, gate, same).item() == pytest.approx(total / count, rel=1e-10)


def test_a_closed_dimension_does_not_count():
    image, text, gate = unit(4), unit(4), gates(4)
    gate[:, 2] = 0
    expected = arbitrary_pairs_loss(image, text, SCALE, gate, NONE_SHARED)
    image[:, 2], text[:, 2] = 5.0, -3.0
    assert_close(arbitrary_pairs_loss(image, text, SCALE, gate, NONE_SHARED), expected)


def test_gates_of_another_size_give_the_same_loss():
    image, text, gate = unit(4), unit(4), gates(4)
    expected = arbitrary_pairs_loss(image, text, SCALE, gate, NONE_SHARED)
    assert_close(arbitrary_pairs_loss(image, text, SCALE, gate / 3, NONE_SHARED), expected)


def test_gates_and_embeddings_get_gradients():
    rows = unit(4).requires_grad_(), unit(4).requires_grad_(), SCALE.clone().requires_grad_(), gates(4).requires_grad_()
    assert gradcheck(lambda *given: arbitrary_pairs_loss(*given, SHARED), rows)


def test_a_step_along_the_gradient_opens_what_the_pairs_share():
    image = text = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1]])  # neighbours share one dimension
    gate = torch.full((3, 3), 0.5, requires_grad=True)
    loss = arbitrary_pairs_loss(image, text, torch.tensor(1.0), gate, torch.eye(3, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, gate)
    assert arbitrary_pairs_loss(image, text, torch.tensor(1.0), gate - 0.1 * gradient, torch.eye(3, dtype=torch.bool)) < loss


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_without_a_negative_cost_nothing(count):
    image = unit(count).requires_grad_()
    loss = arbitrary_pairs_loss(image, unit(count), SCALE, gates(count), torch.ones(count, count, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(image.grad, torch.zeros_like(image))


def test_rows_share_a_label_by_picture_or_by_meaning():
    angles = torch.tensor([0.0, 0.3, 1.5, 3.0])  # cos 0.3 is 0.955
    meaning = torch.stack([angles.cos(), angles.sin()], dim=1)
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[0, 3] = expected[3, 0] = True
    assert torch.equal(share_a_label(meaning, torch.tensor([7, 1, 2, 7])), expected)


def test_a_gate_is_between_0_and_1_and_depends_only_on_its_own_label():
    gate, labels = LabelGate(5, 3).double(), unit(4)
    assert gate(labels).shape == (4, 3)
    assert gate(labels).min() > 0
    assert gate(labels).max() < 1
    assert_close(gate(labels)[2:3], gate(labels[2:3]))
