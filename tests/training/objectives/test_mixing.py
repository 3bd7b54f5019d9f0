import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from tests.written_out import dot, softmax, unit
from training.objectives.contrastive import contrastive_loss, same_picture_targets
from training.objectives.mixing import draw_shares, mixed_contrastive_loss

SCALE = torch.tensor(7.0, dtype=torch.float64)
PICTURE = torch.tensor([0, 1, 0, 2])
TARGETS = same_picture_targets(PICTURE).double()


def random_shares(count):
    return torch.rand(count, 2, dtype=torch.float64)


def mixture(rows, share, i):
    mixed = [share * a + (1 - share) * b for a, b in zip(rows[i], rows[i - 1], strict=True)]
    length = math.sqrt(dot(mixed, mixed))
    return [value / length for value in mixed]


def test_mixtures_match_both_of_their_rows_in_both_directions():
    rows, shares = {"image": unit(4).tolist(), "text": unit(4).tolist()}, random_shares(4).tolist()
    total = 0.0
    for column, one, other in ((0, "image", "text"), (1, "text", "image")):
        share = [pair[column] for pair in shares]
        mixed = [mixture(rows[one], share[i], i) for i in range(4)]
        wanted = [[share[i] * TARGETS[i][j].item() + (1 - share[i]) * TARGETS[i - 1][j].item() for j in range(4)] for i in range(4)]
        for i in range(4):
            forward = softmax([7 * dot(mixed[i], key) for key in rows[other]])
            backward = softmax([7 * dot(query, rows[other][i]) for query in mixed])
            total -= sum(wanted[i][j] * math.log(forward[j]) + wanted[j][i] * math.log(backward[j]) for j in range(4))
    actual = mixed_contrastive_loss(
        torch.tensor(rows["image"]).double(), torch.tensor(rows["text"]).double(), SCALE, TARGETS, torch.tensor(shares)
    )
    assert actual.item() == pytest.approx(total / 16, rel=1e-5)


def test_without_mixing_the_loss_is_the_contrastive_one():
    image, text = unit(4), unit(4)
    assert_close(mixed_contrastive_loss(image, text, SCALE, TARGETS, torch.ones(4, 2)), contrastive_loss(image, text, SCALE, TARGETS))


def test_a_mixture_that_is_all_its_partner_matches_the_partner():
    image, text, shares = unit(4), unit(4), torch.zeros(4, 2)
    assert_close(mixed_contrastive_loss(image, text, SCALE, TARGETS, shares), contrastive_loss(image, text, SCALE, TARGETS))


def test_the_gradient_reaches_both_towers_and_the_scale():
    shares = random_shares(3)
    rows = unit(3).requires_grad_(), unit(3).requires_grad_(), SCALE.clone().requires_grad_()
    assert gradcheck(lambda image, text, scale: mixed_contrastive_loss(image, text, scale, torch.eye(3), shares), rows)


def test_a_row_that_no_mixture_contains_gives_a_finite_loss():
    shares = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])  # row 0 is all row 2, and row 1 all its own, so nothing is of row 0
    image = unit(3).requires_grad_()
    mixed_contrastive_loss(image, unit(3), SCALE, torch.eye(3), shares).backward()
    assert image.grad.isfinite().all()


def test_a_batch_of_one_costs_nothing():
    assert mixed_contrastive_loss(unit(1), unit(1), SCALE, torch.eye(1), torch.rand(1, 2)).item() == pytest.approx(0, abs=1e-12)


def test_half_of_the_rows_are_mixed_and_most_of_these_only_a_little():
    shares = draw_shares(4000, np.random.default_rng(0))
    assert shares.dtype == np.float32
    assert shares.shape == (4000, 2)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert (shares == 1).mean() == pytest.approx(0.5, abs=0.1)  # Beta also rounds to 1 sometimes
    between = (shares > 0.25) & (shares < 0.75)
    assert between.mean() == pytest.approx(0.5 * 0.1, abs=0.03)
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.1  # pictures and texts are mixed independently
