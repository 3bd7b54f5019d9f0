"""Objectives of the whole batch that have learned parts: what the parts give, and their gradients in micro-batches."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from training.batches import Batch
from training.objectives.heads import WITH_HEADS, Heads
from training.objectives.registry import OF_WHOLE
from training.prepare.corpus import Texts
from training.ranks import ALONE
from training.steps.gradients import StepGradients
from training.steps.student import Student

IDS = torch.tensor([[1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 5, 2], [1, 5, 2, 0], [1, 4, 9, 2]])
MEANING = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(3)), dim=-1)
TEXTS = Texts(IDS, IDS != 0, torch.ones(5).bool(), MEANING)
PIXELS = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SHARES = torch.rand(5, 2, generator=torch.Generator().manual_seed(1))
BATCH = Batch(PIXELS, TEXTS, torch.tensor([0, 1, 2, 0, 4]), answers={"shares": SHARES})
NEW = ("attraction_repulsion", "group_ordering", "mixed_contrastive", *WITH_HEADS)


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return CoCa(tiny_config).double()


def heads(model, names=WITH_HEADS, meanings=MEANING):
    torch.manual_seed(0)
    return Heads(names, model.config.embedding_width, meanings, seed=0).double()


def gradients_of(model, weights, micro_batch=0):
    student = Student(copy.deepcopy(model), frozen_units=0, fresh=True, objectives=frozenset(), heads=heads(model, tuple(weights)))
    losses = StepGradients(student, weights, ranks=ALONE, precision=nullcontext)(BATCH, micro_batch)
    return losses, {name: p.grad for name, p in student.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
@pytest.mark.parametrize("name", NEW)
def test_any_micro_batch_gives_the_gradient_of_the_whole_batch(model, name, micro_batch):
    whole_losses, whole = gradients_of(model, {name: 0.7})
    losses, gradients = gradients_of(model, {name: 0.7}, micro_batch)
    assert losses == pytest.approx(whole_losses, rel=1e-6)
    assert gradients.keys() == whole.keys()
    for key, expected in whole.items():
        assert_close(gradients[key], expected, rtol=1e-4, atol=1e-7, msg=key)


@pytest.mark.parametrize("name", NEW)
def test_each_objective_trains_both_towers_and_all_of_its_heads(model, name):
    _, gradients = gradients_of(model, {name: 1.0})
    touched = {key for key, gradient in gradients.items() if gradient.any()}
    assert {key.split(".")[1] for key in touched if key.startswith("model.")} >= {"image_tower", "unimodal"}
    assert {key for key in touched if key.startswith("heads.")} == {f"heads.{key}" for key, _ in heads(model, (name,)).named_parameters()}


@pytest.mark.parametrize("name", WITH_HEADS)
def test_the_gradient_of_heads_equals_that_of_a_graph_through_all(model, name):
    student = Student(copy.deepcopy(model), frozen_units=0, fresh=True, objectives=frozenset(), heads=heads(model, (name,)))
    whole = student(BATCH)["whole"] | {"picture": BATCH.picture, "meaning": MEANING}
    (0.7 * OF_WHOLE[name](whole)).backward()
    _, gradients = gradients_of(model, {name: 0.7}, 2)
    for key, parameter in student.named_parameters():
        if parameter.grad is not None:
            assert_close(gradients[key], parameter.grad, rtol=1e-4, atol=1e-7, msg=key)


def test_prototypes_have_norm_1_and_gates_belong_to_texts(model):
    found = heads(model)(TEXTS)
    assert found.keys() == {"prototypes", "image_prototypes", "text_prototypes", "centroids", "gate"}
    for name in ("prototypes", "image_prototypes", "text_prototypes"):
        assert_close(found[name].norm(dim=1), torch.ones(len(found[name])))
    assert found["gate"].shape == (5, model.config.embedding_width)
    assert heads(model)(None).keys() == found.keys() - {"gate"}
    assert heads(model, ("swapped_prototypes",), None)(TEXTS).keys() == {"prototypes"}


def test_clusters_are_those_of_the_texts_to_train_on(model):
    centres = torch.eye(3, 8)
    meanings = centres.repeat(50, 1)
    codebook = heads(model, ("clustered_prototypes",), meanings.half()).codebook
    ids = codebook.ids(centres.double())
    assert len(set(ids.tolist())) == 3
    assert_close(codebook.centroids[ids], centres.double())


def test_a_few_optimiser_steps_lower_each_loss(model):
    for name in NEW:
        student = Student(copy.deepcopy(model), frozen_units=0, fresh=True, objectives=frozenset(), heads=heads(model, (name,)))
        optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            losses.append(StepGradients(student, {name: 1.0}, ranks=ALONE, precision=nullcontext)(BATCH)[name])
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < losses[0] - 0.05, name
