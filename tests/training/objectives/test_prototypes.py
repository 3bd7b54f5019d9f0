import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from tests.written_out import dot, softmax, unit
from training.objectives.prototypes import balanced_codes, clustered_prototypes_loss, swapped_prototypes_loss


def codes_written_out(scores):
    codes = [[math.exp(value / 0.05) for value in row] for row in scores]
    for _ in range(3):
        sums = [sum(column) for column in zip(*codes, strict=True)]
        codes = [[value / total for value, total in zip(row, sums, strict=True)] for row in codes]
        codes = [[value / sum(row) for value in row] for row in codes]
    return codes


def cosines(rows, prototypes):
    return [[dot(row, prototype) for prototype in prototypes.tolist()] for row in rows.tolist()]


def test_codes_are_scaled_three_times_in_turn():
    rows, prototypes = unit(6), unit(3)
    expected = torch.tensor(codes_written_out(cosines(rows, prototypes)), dtype=torch.float64)
    assert_close(balanced_codes(rows @ prototypes.T), expected)


def test_codes_are_balanced_even_if_all_rows_are_nearest_to_one_prototype():
    scores = torch.rand(8, 4, dtype=torch.float64) * 0.02
    scores[:, 0] += 0.9
    codes = balanced_codes(scores)
    assert_close(codes.sum(1), torch.ones(8, dtype=torch.float64))
    assert_close(codes.sum(0), torch.full((4,), 2.0, dtype=torch.float64), rtol=0.05, atol=0)


def test_codes_of_extreme_cosines_are_finite_in_float32():
    scores = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    assert balanced_codes(scores).isfinite().all()


def test_each_modality_predicts_the_codes_of_the_other():
    image, text, prototypes = unit(5), unit(5), unit(3)
    total = 0.0
    for predicting, coded in ((image, text), (text, image)):
        for row, code in zip(cosines(predicting, prototypes), codes_written_out(cosines(coded, prototypes)), strict=True):
            total -= sum(q * math.log(p) for q, p in zip(code, softmax([10 * value for value in row]), strict=True))
    assert swapped_prototypes_loss(image, text, prototypes).item() == pytest.approx(total / 10, rel=1e-10)


def test_codes_get_no_gradient():
    image, text, prototypes = unit(4), unit(4).requires_grad_(), unit(3)
    swapped_prototypes_loss(image, text, prototypes).backward()
    alone = text.detach().requires_grad_()
    (F.cross_entropy(10 * alone @ prototypes.T, balanced_codes(image @ prototypes.T)) / 2).backward()
    assert_close(text.grad, alone.grad)


def test_equal_modalities_with_their_own_prototypes_cost_less_than_swapped_ones():
    vectors = torch.eye(4)
    assert swapped_prototypes_loss(vectors, vectors, vectors) < swapped_prototypes_loss(vectors, vectors.roll(1, 0), vectors)


def test_each_modality_predicts_the_cluster_with_its_own_prototypes():
    image, text, of_image, of_text, cluster = unit(4), unit(4), unit(3), unit(3), [2, 0, 2, 1]
    total = 0.0
    for rows, prototypes in ((image, of_image), (text, of_text)):
        for row, wanted in zip(cosines(rows, prototypes), cluster, strict=True):
            total -= math.log(softmax([10 * value for value in row])[wanted])
    actual = clustered_prototypes_loss(image, text, of_image, of_text, torch.tensor(cluster))
    assert actual.item() == pytest.approx(total / 8, rel=1e-10)


def test_clusters_give_gradients_to_embeddings_and_prototypes():
    given = [unit(count).requires_grad_() for count in (4, 4, 3, 3)]
    assert gradcheck(lambda *rows: clustered_prototypes_loss(*rows, torch.tensor([2, 0, 2, 1])), given)


def test_steps_along_the_gradient_group_the_rows_of_a_cluster():
    rows = [unit(count).requires_grad_() for count in (6, 6, 2, 2)]
    cluster, optimizer = torch.tensor([0, 1, 0, 1, 0, 1]), torch.optim.SGD(rows, lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        clustered_prototypes_loss(*(F.normalize(row, dim=1) for row in rows), cluster).backward()
        optimizer.step()
    vectors = [F.normalize(row, dim=1) for row in rows]
    for embeddings, prototypes in ((vectors[0], vectors[2]), (vectors[1], vectors[3])):
        assert torch.equal((embeddings @ prototypes.T).argmax(1), cluster)
        similar, same = embeddings @ embeddings.T, cluster[:, None] == cluster
        assert similar[same].mean() > similar[~same].mean() + 0.3
