import dataclasses

import pytest
import torch
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from training.batches import Batch
from training.errors import TrainingError
from training.objectives.masked import MASKED, MaskedObjectives
from training.prepare.corpus import Texts
from training.steps.student import Student

TEXTS = Texts(
    torch.tensor([[1, 9, 8, 7, 2], [1, 7, 2, 0, 0], [1, 6, 5, 2, 0]]),
    torch.arange(5) < torch.tensor([[5], [3], [4]]),
    torch.ones(3).bool(),
)
NOISE = torch.rand(3, 16, generator=torch.Generator().manual_seed(1))
PIXELS = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return CoCa(tiny_config)


def student(model, names, units=1):
    features = model.image_tower.begin(PIXELS, units).detach()
    hidden = MaskedObjectives(names, model, features, frozen_units=units, special_ids=(0, 1, 2), seed=0)
    return Student(model, frozen_units=units, fresh=False, objectives=frozenset(), masked=hidden), Batch(features, TEXTS, noise=NOISE)


@pytest.mark.parametrize("name", MASKED)
def test_each_objective_gives_gradients_to_its_towers_only(model, name):
    learner, batch = student(model, (name,))
    seen = learner(batch)
    assert seen["sums"].keys() == {name}
    seen["sums"][name].backward()
    touched = {key.split(".")[0] for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"image_tower", "unimodal"} <= touched
    assert "multimodal" not in touched
    assert all(p.grad is not None for p in learner.masked.parameters())


@pytest.mark.parametrize("name", MASKED)
def test_a_few_optimiser_steps_lower_each_loss(model, name):
    learner, batch = student(model, (name,))
    optimizer = torch.optim.Adam(learner.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        seen = learner(batch)
        losses.append(seen["sums"][name] / seen["counts"][name])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.75 * losses[0].item()


def test_hidden_parts_are_counted_and_the_same_in_both_passes_over_a_batch(model):
    learner, batch = student(model, MASKED)
    first, second = learner(batch), learner(batch)
    assert [int(first["counts"][name]) for name in MASKED] == [
        3,
        3 * 7,
        3 * 8,
    ]  # one third of 3, 1 and 2 words; 40 % and 50 % of 16 patches
    for name in MASKED:
        assert_close(first["sums"][name], second["sums"][name])


def test_embeddings_do_not_change_with_masked_objectives(model):
    learner, batch = student(model, MASKED)
    plain = Student(model, frozen_units=1, fresh=False, objectives=frozenset())
    for name in ("image", "text"):
        assert_close(learner(batch)["whole"][name], plain(batch)["whole"][name])


def test_features_that_are_not_a_grid_of_patches_are_refused(model):
    with pytest.raises(TrainingError, match=r"does not give a map of 16 patches \(3\), which masked_patches need"):
        student(model, ("masked_patches",), units=3)


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_the_hidden_parts_of_a_row_do_not_depend_on_the_micro_batch(model, micro_batch):
    learner, batch = student(model, ("masked_words", "masked_patches"))
    whole = learner(batch)
    parts = [learner(part) for part in batch.split(micro_batch)]
    for name in ("masked_words", "masked_patches"):
        assert sum(int(part["counts"][name]) for part in parts) == int(whole["counts"][name])
        assert_close(sum(part["sums"][name] for part in parts), whole["sums"][name])


@pytest.mark.parametrize(("patches", "calls"), [(None, 1), (torch.arange(16), 2)], ids=["all patches", "some patches"])
def test_painted_patches_runs_the_tower_again_only_if_patches_were_dropped(model, monkeypatch, patches, calls):
    learner, batch = student(model, ("painted_patches",))
    expected = learner(batch)["sums"]["painted_patches"]
    seen, finish = [], model.image_tower.finish
    monkeypatch.setattr(model.image_tower, "finish", lambda *given: (seen.append(1), finish(*given))[1])
    assert_close(learner(dataclasses.replace(batch, patches=patches))["sums"]["painted_patches"], expected, rtol=1e-5, atol=1e-5)
    assert len(seen) == calls
