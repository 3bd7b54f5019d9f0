import copy
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from training.batches import Batch
from training.objectives.contrastive import momentum_contrast_loss
from training.prepare.corpus import Texts
from training.ranks import ALONE
from training.steps.gradients import StepGradients
from training.steps.student import Momentum, Student

TEXTS = Texts(
    torch.tensor([[1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 5, 2]]), torch.arange(4) < torch.tensor([[4], [3], [4]]), torch.ones(3).bool()
)


@pytest.fixture
def student(tiny_config):
    torch.manual_seed(0)
    return Student(CoCa(tiny_config), frozen_units=0, fresh=True, objectives=frozenset())


def batch(seed):
    random = torch.Generator().manual_seed(seed)
    return Batch(torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=random), TEXTS, torch.arange(3))


def step(student, momentum, one, micro_batch=0):
    gradients = StepGradients(student, {"momentum_contrast": 1.0}, ranks=ALONE, precision=nullcontext, momentum=momentum)
    return gradients(one, micro_batch)["momentum_contrast"]


@pytest.mark.parametrize("micro_batch", [0, 1, 2])
def test_the_keys_of_the_first_step_are_negatives_in_the_second(student, micro_batch):
    momentum = Momentum(student, length=8)
    seen = [student(batch(seed))["whole"] for seed in (1, 2)]
    assert step(student, momentum, batch(1), micro_batch) == pytest.approx(0, abs=1e-6)  # the queues are still empty
    expected = [
        momentum_contrast_loss(seen[1][one], seen[1][other], seen[0][other], seen[1]["scale"]).item()
        for one, other in (("image", "text"), ("text", "image"))
    ]
    assert step(student, momentum, batch(2), micro_batch) == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert_close(momentum.images(), torch.cat([one["image"] for one in seen]).detach(), rtol=1e-4, atol=1e-5)
    assert len(momentum.texts) == 6


@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_the_momentum_model_is_a_moving_average_without_gradients(student, share):
    momentum = Momentum(student, momentum=share)
    before, slow = copy.deepcopy(student.model), momentum.student.model.log_scale
    for parameter in student.model.parameters():
        parameter.data += torch.randn_like(parameter)
    momentum.follow(student)
    for new, old, fast in zip(momentum.student.model.parameters(), before.parameters(), student.model.parameters(), strict=True):
        assert_close(new, (share * old + (1 - share) * fast).detach())
    assert momentum.student.model.log_scale is slow
    assert not any(parameter.requires_grad for parameter in momentum.parameters())


def test_buffers_of_the_student_are_not_averaged(student):
    student.model.register_buffer("count", torch.zeros(1))
    momentum = Momentum(student, momentum=0.5)
    student.model.count += 5
    momentum.follow(student)
    assert momentum.student.model.count.tolist() == [0]


def test_keys_have_norm_1_and_queues_have_no_gradient(student):
    momentum = Momentum(student, length=4)
    step(student, momentum, batch(1))
    assert_close(momentum.texts().norm(dim=-1), torch.ones(3))
    assert F.cosine_similarity(momentum.texts(), momentum.images()).abs().max() < 1
    assert not momentum.images().requires_grad
