import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model import losses


def unit(count, width=5):
    return F.normalize(torch.randn(count, width, dtype=torch.float64), dim=-1)


def cross_entropy_of_rows(logits, targets):
    """Mean over rows i of -sum_j targets[i][j] log softmax(logits[i])[j], with plain numbers."""
    total = 0.0
    for row, wanted in zip(logits.tolist(), targets.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for value, share in zip(row, wanted, strict=True):
            total -= share * (value - log_sum)
    return total / len(logits)


@pytest.mark.parametrize("soft", [False, True])
def test_contrastive_loss_is_the_mean_of_both_directions_written_out(soft):
    image, text, scale = unit(4), unit(4), torch.tensor(7.0, dtype=torch.float64)
    targets = torch.rand(4, 4, dtype=torch.float64) if soft else torch.eye(4, dtype=torch.float64)
    targets = targets / targets.sum(1, keepdim=True)
    back = targets.T / targets.T.sum(1, keepdim=True)
    logits = torch.tensor([[7.0 * sum(a * b for a, b in zip(i, t, strict=True)) for t in text.tolist()] for i in image.tolist()])
    expected = (cross_entropy_of_rows(logits.double(), targets) + cross_entropy_of_rows(logits.T.double(), back)) / 2
    actual = losses.contrastive_loss(image, text, scale, targets if soft else None)
    assert actual.item() == pytest.approx(expected, rel=1e-6)


def test_contrastive_loss_goes_to_zero_for_pairs_that_agree_and_not_for_swapped_ones():
    vectors, scale = torch.eye(4), torch.tensor(50.0)
    assert losses.contrastive_loss(vectors, vectors, scale).item() == pytest.approx(0, abs=1e-12)
    assert losses.contrastive_loss(vectors, vectors.roll(1, 0), scale).item() == pytest.approx(50, rel=1e-6)


def test_captioning_loss_is_the_mean_over_the_words_that_follow():
    logits = torch.randn(3, 5, 6, dtype=torch.float64)
    ids = torch.tensor([[1, 4, 2, 0, 0], [1, 3, 5, 4, 2], [1, 2, 0, 0, 0]])
    costs = []
    for b, t in torch.cartesian_prod(torch.arange(3), torch.arange(4)).tolist():
        if ids[b, t + 1] != 0:
            costs.append(math.log(logits[b, t].exp().sum()) - logits[b, t, ids[b, t + 1]].item())
    assert len(costs) == 7
    assert losses.captioning_loss(logits, ids, ids != 0).item() == pytest.approx(sum(costs) / 7, rel=1e-9)


def test_captioning_loss_ignores_padding():
    logits, ids = torch.randn(2, 4, 6), torch.tensor([[1, 4, 2, 0], [1, 3, 5, 2]])
    valid = ids != 0
    other = logits.clone()
    other[0, 2:] = 100 * torch.randn(2, 6)
    other[:, -1] = 100 * torch.randn(2, 6)
    expected = losses.captioning_loss(logits, ids, valid)
    assert torch.equal(losses.captioning_loss(other, ids, valid), expected)
    longer = torch.cat([logits, torch.randn(2, 3, 6)], dim=1)
    padded = F.pad(ids, (0, 3), value=5)
    assert_close(losses.captioning_loss(longer, padded, F.pad(valid, (0, 3))), expected)


def test_distillation_loss_equals_cosine_and_contrast_written_out():
    student, teacher = unit(4), unit(4)
    similar = torch.tensor([[sum(a * b for a, b in zip(s, t, strict=True)) for t in teacher.tolist()] for s in student.tolist()])
    cosine = sum(1 - similar[i, i].item() for i in range(4)) / 4
    expected = cosine + 0.1 * cross_entropy_of_rows(20 * similar.double(), torch.eye(4))
    assert losses.distillation_loss(student, teacher).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_soft_targets_equal_a_softmax_over_the_similarity_of_texts(temperature):
    texts = unit(4)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(4):
        powers = [math.exp((texts[i] @ texts[j]).item() / temperature) for j in range(4)]
        for j in range(4):
            expected[i, j] = powers[j] / sum(powers)
    assert_close(losses.soft_targets(texts, temperature), expected)


def test_soft_targets_share_a_picture_among_texts_that_mean_the_same():
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert_close(losses.soft_targets(texts, 0.01), torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
