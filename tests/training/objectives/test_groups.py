import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from tests.written_out import dot, softmax, unit
from training.objectives.contrastive import same_picture
from training.objectives.groups import attraction_repulsion_loss, group_ordering_loss, soft_sort

SAME = same_picture(torch.tensor([3, 1, 3, 2]))
NONE_SAME = torch.eye(4, dtype=torch.bool)


def distances(query, key):
    return [[sum((a - b) ** 2 for a, b in zip(q, k, strict=True)) for k in key.tolist()] for q in query.tolist()]


def test_rows_of_the_same_picture_are_positives():
    assert SAME.tolist() == [[i == j or {i, j} == {0, 2} for j in range(4)] for i in range(4)]


@pytest.mark.parametrize("same", [SAME, NONE_SAME], ids=["shared picture", "one each"])
@pytest.mark.parametrize("settings", [(1.0, 1.0), (0.5, 2.0), (0.0, 0.0)])
def test_attraction_weights_distant_positives_and_repulsion_close_negatives(same, settings):
    image, text = unit(4), unit(4)
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for i, row in enumerate(distances(one, other)):
            positive, negative = ([d for j, d in enumerate(row) if bool(same[i, j]) == wanted] for wanted in (True, False))
            total += dot(softmax([settings[0] * d for d in positive]), positive)
            total -= dot(softmax([-settings[1] * d for d in negative]), negative)
    actual = attraction_repulsion_loss(image, text, same, attraction=settings[0], repulsion=settings[1])
    assert actual.item() == pytest.approx(total / 8, rel=1e-10)


def test_strong_settings_leave_only_the_farthest_positive_and_the_nearest_negative():
    image, text = unit(4), unit(4)
    table = torch.tensor(distances(image, text), dtype=torch.float64)
    ways = [
        (each.masked_fill(~SAME, -1).max(1).values - each.masked_fill(SAME, 9).min(1).values).mean().item() for each in (table, table.T)
    ]
    actual = attraction_repulsion_loss(image, text, SAME, attraction=1e5, repulsion=1e5)
    assert actual.item() == pytest.approx(sum(ways) / 2, abs=1e-6)


def cauchy(difference):
    return math.atan(difference) / math.pi + 0.5


def places_written_out(values):
    """A row of `places[i][r]`, the probability that value i takes place r, by following each value through the network of swaps."""
    values, count = list(values), len(values)
    where = [[float(i == r) for r in range(count)] for i in range(count)]
    for layer in range(count):
        for left in range(layer % 2, count - 1, 2):
            keep = cauchy(values[left + 1] - values[left])
            for row in (values, *where):
                a, b = row[left], row[left + 1]
                row[left], row[left + 1] = keep * a + (1 - keep) * b, keep * b + (1 - keep) * a
    return where


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_soft_sort_follows_the_network_of_swaps(count):
    values = torch.randn(3, count, dtype=torch.float64)
    places = soft_sort(values)
    assert_close(places, torch.tensor([places_written_out(row) for row in values.tolist()], dtype=torch.float64))
    assert_close(places.sum(1), torch.ones(3, count, dtype=torch.float64))
    assert_close(places.sum(2), torch.ones(3, count, dtype=torch.float64))


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_distant_values_are_sorted(order):
    values = 1e6 * torch.tensor([order], dtype=torch.float64)
    assert_close(soft_sort(values)[0].argmax(1), torch.tensor(order))


@pytest.mark.parametrize("same", [SAME, NONE_SAME], ids=["shared picture", "one each"])
def test_group_ordering_asks_that_positives_end_last(same):
    image, text = unit(4), unit(4)
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for i, query in enumerate(one.tolist()):
            cosines = [dot(query, key) for key in other.tolist()]
            negative, positive = (sorted(c for j, c in enumerate(cosines) if bool(same[i, j]) == wanted) for wanted in (False, True))
            last = [sum(row[len(negative) :]) for row in places_written_out([*negative, *positive])]
            costs = [-math.log(1 - p) for p in last[: len(negative)]] + [-math.log(p) for p in last[len(negative) :]]
            total += sum(costs) / len(costs)
    assert group_ordering_loss(image, text, same).item() == pytest.approx(total / 8, rel=1e-10)


def test_group_ordering_compares_only_the_ten_nearest_negatives():
    image, text = unit(14, 20), unit(14, 20)
    same, cosines = torch.eye(14, dtype=torch.bool), image @ text.T
    image.requires_grad_()
    group_ordering_loss(image, text, same).backward()
    ten = cosines.masked_fill(same, -9).topk(10).indices[0]
    seen = torch.linalg.lstsq(text.T, image.grad[0][:, None]).solution[:, 0]  # 14 texts in 20 dimensions are independent
    used = torch.zeros(14, dtype=torch.bool)
    used[[0, *ten.tolist()]] = True
    assert (seen[~used].abs() < 1e-9).all()
    assert seen[used].abs().max() > 1e-6


def test_only_the_queries_of_group_ordering_get_a_gradient():
    image, text = unit(4).requires_grad_(), unit(4).requires_grad_()
    group_ordering_loss(image, text, SAME).backward()
    alone = image.detach().requires_grad_()
    group_ordering_loss(alone, text.detach(), SAME).backward()
    assert_close(alone.grad, image.grad)


LOSSES = {"attraction_repulsion": attraction_repulsion_loss, "group_ordering": group_ordering_loss}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@each_loss
def test_a_step_along_the_gradient_brings_pairs_closer(loss):
    image, text = unit(6).requires_grad_(), unit(6)
    loss(image, text, torch.eye(6, dtype=torch.bool)).backward()
    closer = F.normalize(image.detach() - 0.05 * image.grad, dim=-1)
    assert loss(closer, text, torch.eye(6, dtype=torch.bool)) < loss(image, text, torch.eye(6, dtype=torch.bool))
    assert (closer * text).sum() > (image * text).sum()


@each_loss
def test_matching_pairs_cost_less_than_swapped_ones(loss):
    vectors, own = torch.eye(4), torch.eye(4, dtype=torch.bool)
    assert loss(vectors, vectors, own) < loss(vectors, vectors.roll(1, 0), own)


@each_loss
def test_the_loss_does_not_depend_on_the_order_of_the_rows(loss):
    image, text, order = unit(4), unit(4), torch.tensor([2, 0, 3, 1])
    assert_close(loss(image[order], text[order], SAME[order][:, order]), loss(image, text, SAME))


@each_loss
@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_one_picture_has_no_negatives_and_finite_gradients(loss, count):
    image, text = unit(count).requires_grad_(), unit(count)
    value = loss(image, text, torch.ones(count, count, dtype=torch.bool))
    value.backward()
    assert image.grad.isfinite().all()
    assert value.item() == pytest.approx(0, abs=1e-9) if loss is group_ordering_loss else value.item() > 0


def test_the_gradients_agree_with_finite_differences():
    assert gradcheck(lambda *rows: attraction_repulsion_loss(*rows, SAME), (unit(4).requires_grad_(), unit(4).requires_grad_()))
    assert gradcheck(soft_sort, (torch.randn(2, 5, dtype=torch.float64, requires_grad=True),))
