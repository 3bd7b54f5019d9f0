import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from tests.written_out import dot, softmax, unit
from training.objectives.contrastive import (
    kl_alignment_loss,
    momentum_contrast_loss,
    retrieval_logits,
)
from training.steps.student import EmbeddingQueue

SCALE = torch.tensor(7.0, dtype=torch.float64)


def probabilities(query, key, queue):
    """Softmax of a query (a list of numbers) over its key and the rows of the queue."""
    return softmax([7 * dot(query, row) for row in [key, *queue.tolist()]])


def numbered(start, stop):
    """Numbered rows of norm 1: the ratio of the two values is the number."""
    numbers = torch.arange(start, stop, dtype=torch.float32)
    return F.normalize(torch.stack([numbers, torch.ones_like(numbers)], dim=1), dim=1)


def numbers(rows):
    return sorted((rows[:, 0] / rows[:, 1]).round().int().tolist())


@pytest.mark.parametrize(
    ("pushes", "held"),
    [
        ((), []),
        ((2,), [0, 1]),
        ((2, 3), [0, 1, 2, 3, 4]),
        ((2, 2, 2), [1, 2, 3, 4, 5]),
        ((3, 3, 3, 3), [7, 8, 9, 10, 11]),
        ((13,), [8, 9, 10, 11, 12]),
        ((2, 13, 1), [11, 12, 13, 14, 15]),
    ],
)
def test_the_queue_holds_the_last_pushed_rows(pushes, held):
    queue, start = EmbeddingQueue(5, 2), 0
    for count in pushes:
        queue.push(numbered(start, start + count))
        start += count
    assert len(queue) == len(held)
    assert numbers(queue()) == held


def test_queues_with_the_same_pushes_keep_pairs_aligned():
    images, texts = EmbeddingQueue(5, 2), EmbeddingQueue(5, 2)
    for start in (0, 3, 6):
        images.push(numbered(start, start + 3))
        texts.push(numbered(start, start + 3).flip(1))
    assert torch.equal(images(), texts().flip(1))


def test_the_queue_stores_normalised_rows_without_gradients():
    queue = EmbeddingQueue(5, 2)
    queue.push(torch.tensor([[3.0, 4.0]], requires_grad=True))
    assert_close(queue(), torch.tensor([[0.6, 0.8]]))
    assert not queue().requires_grad


def test_a_queue_can_be_restored_from_its_state_dict():
    queue, again = EmbeddingQueue(5, 2), EmbeddingQueue(5, 2)
    queue.push(numbered(0, 4))
    again.load_state_dict(queue.state_dict())
    again.push(numbered(4, 7))
    assert numbers(again()) == [2, 3, 4, 5, 6]


def test_a_push_before_backward_does_not_affect_the_gradient():
    queue, query = EmbeddingQueue(5, 2), torch.randn(2, 2, requires_grad=True)
    queue.push(numbered(0, 5))
    loss = momentum_contrast_loss(query, numbered(0, 2), queue(), torch.tensor(7.0))
    queue.push(numbered(5, 8))
    loss.backward()
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("queued", [0, 1, 4])
def test_momentum_contrast_is_minus_log_probability_of_the_key_against_the_queue(count, queued):
    query, key, queue = unit(count), unit(count), unit(queued)
    rows = zip(query.tolist(), key.tolist(), strict=True)
    expected = sum(-math.log(probabilities(q, k, queue)[0]) for q, k in rows) / count
    assert momentum_contrast_loss(query, key, queue, SCALE).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_only_the_query_and_the_scale_get_gradients():
    query, key, queue = unit(3).requires_grad_(), unit(3).requires_grad_(), unit(4).requires_grad_()
    scale = SCALE.clone().requires_grad_()
    momentum_contrast_loss(query, key, queue, scale).backward()
    assert key.grad is None
    assert queue.grad is None
    assert gradcheck(momentum_contrast_loss, (query, key.detach(), queue.detach(), scale))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("queued", [0, 4])
def test_kl_alignment_is_the_mean_of_both_divergences(count, queued):
    image, text, image_queue, text_queue = unit(count), unit(count), unit(queued), unit(queued)
    total = 0.0
    for i, t in zip(image.tolist(), text.tolist(), strict=True):
        p, q = probabilities(i, t, text_queue), probabilities(t, i, image_queue)
        total += sum(a * math.log(a / b) + b * math.log(b / a) for a, b in zip(p, q, strict=True)) / 2
    actual = kl_alignment_loss(retrieval_logits(image, text, text_queue, SCALE), retrieval_logits(text, image, image_queue, SCALE))
    assert actual.item() == pytest.approx(total / count, rel=1e-10, abs=1e-12)


def test_kl_alignment_has_gradients_for_both_and_is_zero_when_they_agree():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(kl_alignment_loss, logits)
    assert kl_alignment_loss(logits[0], logits[0] + 3).item() == pytest.approx(0, abs=1e-12)
