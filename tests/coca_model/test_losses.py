import math

import pytest
import torch
from torch import nn
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


IDS = torch.tensor([[1, 4, 2, 0, 0], [1, 3, 5, 4, 2], [1, 2, 0, 0, 0]])


@pytest.fixture
def output():
    return nn.Linear(7, 6, bias=False, dtype=torch.float64)


def written_out_costs(hidden, output, ids):
    """-log p of each next word, one number at a time; 0 for padding."""
    costs = torch.zeros(ids.shape[0], ids.shape[1] - 1)
    for b, t in torch.cartesian_prod(torch.arange(len(ids)), torch.arange(ids.shape[1] - 1)).tolist():
        if ids[b, t + 1] != 0:
            logits = output.weight.detach() @ hidden[b, t]
            costs[b, t] = math.log(logits.exp().sum()) - logits[ids[b, t + 1]].item()
    return costs


def test_every_next_word_costs_its_negative_log_probability_and_padding_nothing(output):
    hidden = torch.randn(3, 5, 7, dtype=torch.float64)
    expected = written_out_costs(hidden, output, IDS)
    assert (expected > 0).sum() == 7
    assert_close(losses.next_token_losses(hidden, output, IDS, IDS != 0), expected)


def test_captioning_loss_is_the_mean_over_the_words_that_follow(output):
    hidden = torch.randn(3, 5, 7, dtype=torch.float64)
    expected = written_out_costs(hidden, output, IDS).sum() / 7
    assert_close(losses.captioning_loss(hidden, output, IDS, IDS != 0), expected)


def test_captioning_loss_ignores_padding(output):
    hidden, valid = torch.randn(3, 5, 7, dtype=torch.float64), IDS != 0
    expected = losses.captioning_loss(hidden, output, IDS, valid)
    other = torch.where(F.pad(valid[:, 1:], (0, 1))[..., None], hidden, 100.0)
    assert torch.equal(losses.captioning_loss(other, output, IDS.where(valid, 5), valid), expected)
    longer = torch.cat([hidden, torch.randn(3, 3, 7)], dim=1)
    assert_close(losses.captioning_loss(longer, output, F.pad(IDS, (0, 3), value=5), F.pad(valid, (0, 3))), expected)


def test_logits_are_computed_only_where_a_word_follows(output):
    seen = []
    output.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    losses.captioning_loss(torch.randn(3, 5, 7, dtype=torch.float64), output, IDS, IDS != 0)
    assert seen == [(7, 7)]


def test_captioning_loss_of_texts_without_a_word_is_zero(output):
    hidden = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[1, 0, 0], [1, 0, 0]])
    loss = losses.captioning_loss(hidden, output, ids, ids != 0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))


def test_captioning_loss_in_half_precision_is_summed_in_float32(output):
    hidden = torch.randn(3, 5, 7, dtype=torch.bfloat16)
    loss = losses.captioning_loss(hidden, output.bfloat16(), IDS, IDS != 0)
    assert loss.dtype == torch.float32
    assert_close(loss, written_out_costs(hidden.double(), output.double(), IDS).sum() / 7, rtol=0.02, atol=0)


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
