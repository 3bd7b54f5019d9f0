import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from tests.written_out import dot, unit
from training.objectives.contrastive import (
    continuously_weighted_contrastive_loss,
    contrastive_loss,
    decoupled_contrastive_loss,
    same_picture_targets,
    similarity_of,
    soft_targets,
)

SCALE = torch.tensor(7.0, dtype=torch.float64)


def log_of_sum(values):
    return math.log(sum(math.exp(value) for value in values))


def one_way(queries, keys, shares):
    """Mean over queries i of -sum_j shares[i][j] log softmax_j(7 cosine), in plain Python. Rows of `shares` are normalised."""
    total = 0.0
    for query, wanted in zip(queries.tolist(), shares.tolist(), strict=True):
        logits = [7 * dot(query, key) for key in keys.tolist()]
        total -= sum(share / sum(wanted) * (logit - log_of_sum(logits)) for share, logit in zip(wanted, logits, strict=True))
    return total / len(queries)


@pytest.mark.parametrize("soft", [False, True])
def test_contrastive_loss_is_the_mean_over_both_directions(soft):
    image, text = unit(4), unit(4)
    targets = torch.rand(4, 4, dtype=torch.float64) if soft else torch.eye(4, dtype=torch.float64)
    targets = targets / targets.sum(1, keepdim=True)
    expected = (one_way(image, text, targets) + one_way(text, image, targets.T)) / 2
    assert contrastive_loss(image, text, SCALE, targets if soft else None).item() == pytest.approx(expected, rel=1e-12)


def test_contrastive_loss_is_zero_for_matching_pairs_and_large_for_swapped_ones():
    vectors, scale = torch.eye(4), torch.tensor(50.0)
    assert contrastive_loss(vectors, vectors, scale).item() == pytest.approx(0, abs=1e-12)
    assert contrastive_loss(vectors, vectors.roll(1, 0), scale).item() == pytest.approx(50, rel=1e-6)


def test_rows_of_the_same_picture_share_their_target():
    third, half = 1 / 3, 1 / 2
    expected = [[third, 0, third, 0, third], [0, half, 0, half, 0]]
    targets = same_picture_targets(torch.tensor([7, 2, 7, 2, 7]))
    assert_close(targets, torch.tensor([expected[i] for i in (0, 1, 0, 1, 0)]))


def test_different_pictures_give_the_loss_without_targets():
    image, text = unit(4), unit(4)
    assert_close(contrastive_loss(image, text, SCALE, same_picture_targets(torch.arange(4))), contrastive_loss(image, text, SCALE))


def test_captions_of_the_same_picture_all_count_as_right():
    vectors, scale, picture = torch.eye(3), torch.tensor(50.0), torch.tensor([0, 0, 1])
    image, text = vectors[[0, 0, 1]], vectors[[0, 0, 1]]
    even = contrastive_loss(image, text, scale, same_picture_targets(picture))
    assert even.item() == pytest.approx(2 / 3 * math.log(2), rel=1e-6)  # the entropy of the targets, which is the minimum


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_soft_targets_equal_a_softmax_over_the_similarity_of_texts(temperature):
    texts = unit(4)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(4):
        powers = [math.exp(dot(texts[i].tolist(), texts[j].tolist()) / temperature) for j in range(4)]
        for j in range(4):
            expected[i, j] = powers[j] / sum(powers)
    assert_close(soft_targets(texts, temperature), expected)


def test_soft_targets_are_shared_among_texts_with_the_same_vector():
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert_close(soft_targets(texts, 0.01), torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("sigma", [None, 0.5, 2.0])
def test_decoupled_loss_leaves_the_positive_out_of_the_denominator(sigma):
    image, text = unit(4), unit(4)
    cosines = [[dot(i, t) for t in text.tolist()] for i in image.tolist()]
    mean = 1.0 if sigma is None else sum(math.exp(cosines[i][i] / sigma) for i in range(4)) / 4
    total = 0.0
    for i in range(4):
        weight = 1.0 if sigma is None else 2 - math.exp(cosines[i][i] / sigma) / mean
        to_texts = log_of_sum(7 * cosines[i][j] for j in range(4) if j != i)
        to_images = log_of_sum(7 * cosines[j][i] for j in range(4) if j != i)
        total += (to_texts - weight * 7 * cosines[i][i] + to_images - weight * 7 * cosines[i][i]) / 2
    assert decoupled_contrastive_loss(image, text, SCALE, sigma).item() == pytest.approx(total / 4, rel=1e-12)


def test_decoupled_loss_keeps_its_gradient_when_the_pair_is_already_close():
    image = torch.eye(2, dtype=torch.float64).requires_grad_()
    text = torch.eye(2, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(loss(image, text, SCALE), image)[0].abs().max() for loss in (contrastive_loss, decoupled_contrastive_loss)
    ]
    assert gradients[0] < 0.01
    assert gradients[1] == pytest.approx(3.5)  # the scale over the batch of two


def test_decoupled_loss_counts_distant_negatives():
    image = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert decoupled_contrastive_loss(image, image, torch.tensor(100.0)).item() == -200


def test_no_gradient_flows_through_the_weights_of_positives():
    image = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(2, 2).clone().requires_grad_()
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    powers = [math.exp(0.6), math.exp(0.8)]  # the cosines of both pairs, at a sigma of 1
    weights = [2 - power / (sum(powers) / 2) for power in powers]
    (weighted,) = torch.autograd.grad(decoupled_contrastive_loss(image, text, SCALE, 1.0), image)
    (plain,) = torch.autograd.grad(decoupled_contrastive_loss(image, text, SCALE), image)
    for i in range(2):
        expected = [-7 * (weights[i] - 1) * value / 2 for value in text[i].tolist()]
        assert (weighted - plain)[i].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_large_sigma_gives_equal_weights():
    image, text = unit(4), unit(4)
    assert_close(decoupled_contrastive_loss(image, text, SCALE, 1e9), decoupled_contrastive_loss(image, text, SCALE))


def test_similarity_is_the_cosine_scaled_to_0_to_1():
    vectors = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]], requires_grad=True)
    similarity = similarity_of(vectors)
    assert_close(similarity, torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]))
    assert not similarity.requires_grad


def test_continuously_weighted_loss_uses_similarities_as_targets():
    image, text = unit(4), unit(4)
    similarity = torch.rand(4, 4, dtype=torch.float64)
    expected = (one_way(image, text, similarity) + one_way(text, image, similarity.T)) / 2
    actual = continuously_weighted_contrastive_loss(image, text, SCALE, similarity)
    assert actual.item() == pytest.approx(expected, rel=1e-12)


def test_with_identity_similarities_the_weighted_loss_is_the_plain_one():
    image, text = unit(4), unit(4)
    assert_close(continuously_weighted_contrastive_loss(image, text, SCALE, torch.eye(4)), contrastive_loss(image, text, SCALE))


LOSSES = {
    "contrastive": contrastive_loss,
    "decoupled": decoupled_contrastive_loss,
    "decoupled, weighted": lambda image, text, scale: decoupled_contrastive_loss(image, text, scale, 0.5),
    "continuously weighted": lambda image, text, scale: continuously_weighted_contrastive_loss(image, text, scale, similarity_of(text)),
}


@pytest.mark.parametrize("name", ["contrastive", "decoupled"])
def test_the_gradient_agrees_with_finite_differences(name):
    image, text = unit(3).requires_grad_(), unit(3).requires_grad_()
    assert gradcheck(LOSSES[name], (image, text, SCALE.clone().requires_grad_()))


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_along_the_gradient_brings_pairs_closer(name):
    image, text = unit(6).requires_grad_(), unit(6)
    LOSSES[name](image, text, SCALE).backward()
    closer = F.normalize(image.detach() - 0.05 * image.grad, dim=-1)
    assert LOSSES[name](closer, text, SCALE) < LOSSES[name](image, text, SCALE)
    assert (closer * text).sum() > (image * text).sum()


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_a_batch_of_one_is_as_documented(name):
    image, text = unit(1).requires_grad_(), unit(1)
    loss = LOSSES[name](image, text, SCALE)
    loss.backward()
    expected = -7 * dot(image[0].tolist(), text[0].tolist()) if name.startswith("decoupled") else 0.0
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert image.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_a_scalar_with_the_dtype_of_its_embeddings(name, dtype):
    loss = LOSSES[name](unit(3).to(dtype), unit(3).to(dtype), SCALE.to(dtype))
    assert loss.shape == ()
    assert loss.dtype == dtype
