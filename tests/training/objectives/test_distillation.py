import math

import pytest
import torch
from torch.autograd import gradcheck

from tests.written_out import dot, softmax, unit
from training.objectives.distillation import class_distillation_loss, imitation_loss, relational_distillation_loss

SCALE, TEACHER_SCALE = torch.tensor(7.0, dtype=torch.float64), torch.tensor(11.0, dtype=torch.float64)


def softmax_over(query, keys, scale):
    """Softmax of a query (a list of numbers) over the rows of `keys`."""
    return softmax([scale * dot(query, key) for key in keys.tolist()])


@pytest.mark.parametrize("count", [1, 4])
def test_sentence_distillation_is_the_sum_of_cosine_and_contrastive_terms(count):
    student, teacher = unit(count), unit(count)
    total = 0.0
    for i, vector in enumerate(student.tolist()):
        total += 1 - dot(vector, teacher[i].tolist()) - 0.1 * math.log(softmax_over(vector, teacher, 20)[i])
    assert imitation_loss(student, teacher).item() == pytest.approx(total / count, rel=1e-12)


@pytest.mark.parametrize("count", [1, 4])
def test_class_distillation_is_the_cross_entropy_of_student_and_teacher(count):
    image, classes = unit(count), unit(3)
    probabilities = torch.rand(count, 3, dtype=torch.float64)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    total = 0.0
    for vector, wanted in zip(image.tolist(), probabilities.tolist(), strict=True):
        total -= sum(p * math.log(q) for p, q in zip(wanted, softmax_over(vector, classes, 7), strict=True))
    assert class_distillation_loss(image, classes, probabilities, SCALE).item() == pytest.approx(total / count, rel=1e-12)


@pytest.mark.parametrize("count", [1, 4])
def test_relational_distillation_is_the_divergence_from_the_teachers_similarities(count):
    image, text, teacher_image, teacher_text = unit(count), unit(count), unit(count, 3), unit(count, 3)
    total = 0.0
    for ours, theirs in ((image, text), (teacher_image, teacher_text)), ((text, image), (teacher_text, teacher_image)):
        for i in range(count):
            q, p = softmax_over(ours[0][i].tolist(), ours[1], 7), softmax_over(theirs[0][i].tolist(), theirs[1], 11)
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    actual = relational_distillation_loss(image, text, teacher_image, teacher_text, scale=SCALE, teacher_scale=TEACHER_SCALE)
    assert actual.item() == pytest.approx(total / count, rel=1e-10, abs=1e-12)


def test_relational_distillation_is_zero_when_student_and_teacher_agree():
    image, text = unit(4).requires_grad_(), unit(4)
    loss = relational_distillation_loss(image, text, image.detach(), text, scale=SCALE, teacher_scale=SCALE)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert image.grad.abs().max() < 1e-12


def test_relational_distillation_does_not_change_when_the_teacher_is_rotated():
    image, text, teacher_image, teacher_text = unit(4), unit(4), unit(4), unit(4)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    scales = {"scale": SCALE, "teacher_scale": TEACHER_SCALE}
    expected = relational_distillation_loss(image, text, teacher_image, teacher_text, **scales)
    actual = relational_distillation_loss(image, text, teacher_image @ rotation, teacher_text @ rotation, **scales)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-10)


def sentences(student, teacher, scale):
    return imitation_loss(student, teacher)


def classes(image, vectors, scale):
    return class_distillation_loss(image, vectors, torch.eye(4)[: len(image), : len(vectors)], scale)


def relations(image, other, scale):
    return relational_distillation_loss(image, unit_text(len(image)), other, unit_text(len(image)), scale=scale, teacher_scale=SCALE)


def unit_text(count):
    return torch.eye(count, 5, dtype=torch.float64)


@pytest.mark.parametrize("loss", [sentences, classes, relations])
def test_the_gradient_agrees_with_finite_differences_and_reduces_the_loss(loss):
    student, teacher, scale = unit(4).requires_grad_(), unit(4), SCALE.clone().requires_grad_()
    assert gradcheck(lambda rows, factor: loss(rows, teacher, factor), (student, scale))
    (gradient,) = torch.autograd.grad(loss(student, teacher, scale), student)
    assert loss(student - 0.01 * gradient, teacher, scale) < loss(student, teacher, scale)


@pytest.mark.parametrize("loss", [sentences, classes])
def test_a_student_that_agrees_has_a_lower_loss_than_one_with_swapped_pairs(loss):
    vectors = unit(4)
    assert loss(vectors, vectors, SCALE) < loss(vectors.roll(1, 0), vectors, SCALE)


def test_a_teacher_gets_no_gradient():
    image, teacher = unit(3).requires_grad_(), unit(3).requires_grad_()
    relational_distillation_loss(image, unit(3), teacher, unit(3), scale=SCALE, teacher_scale=SCALE).backward()
    assert teacher.grad is None
