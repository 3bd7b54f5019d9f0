import copy
import math

import pytest
import torch
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from training.errors import TrainingError
from training.recipe import Phase
from training.steps.phase_loop import MOST_SCALE, Optimiser, averaged, choose_parameters


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return CoCa(tiny_config)


def optimiser(model, phase, average=None):
    return Optimiser(model, average or averaged(model), choose_parameters(model, phase, 0), phase)


def push(model, *, size=1.0):
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, size) if parameter.requires_grad else None


@pytest.mark.parametrize(("steps", "warm_up"), [(10, 0.3), (20, 0.1), (5, 0.0)])
def test_the_learning_rate_has_a_linear_warm_up_and_a_cosine_decay(model, steps, warm_up):
    one = optimiser(model, Phase(steps=steps, warm_up=warm_up, learning_rate=0.5))
    rates = []
    for _ in range(steps):
        rates.append(one.optimizer.param_groups[0]["lr"])
        push(model)
        one.step()
    warm = max(1, round(warm_up * steps))
    expected = [0.5 * min(1, (step + 1) / warm) * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert rates == pytest.approx(expected)


def test_slower_parts_have_lower_rates_and_only_matrices_have_weight_decay(model):
    one = optimiser(model, Phase(steps=5, learning_rate=1.0, weight_decay=0.1, slower={"unimodal": 0.25}))
    found = {id(p): (group["initial_lr"], group["weight_decay"]) for group in one.optimizer.param_groups for p in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        rate = 0.25 if name.startswith("unimodal") else 1.0
        assert found[id(parameter)] == (rate, 0.1 if parameter.ndim > 1 else 0.0), name


@pytest.mark.parametrize(
    ("train", "frozen", "learning"), [(("poolers",), 0, "poolers"), ((), 3, "poolers"), (("unimodal", "poolers"), 3, "unimodal")]
)
def test_only_chosen_parts_are_trainable_and_never_frozen_units(model, train, frozen, learning):
    chosen = choose_parameters(model, Phase(train=train), frozen)
    assert any(name.startswith(learning) for name in chosen)
    assert all(name.startswith(train) for name in chosen if train)
    in_units = {id(p) for unit in model.image_tower.units()[:frozen] for p in unit.parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in chosen)
        assert not (id(parameter) in in_units and parameter.requires_grad)


def test_a_phase_that_trains_nothing_is_an_error_that_names_it(model):
    with pytest.raises(TrainingError, match=r"'training' trains nothing \(image_tower\.stem\)"):
        choose_parameters(model, Phase(train=("image_tower.stem",)), 1)


def test_the_average_follows_its_formula(model):
    average = averaged(model)
    one = optimiser(model, Phase(steps=9, learning_rate=0.1, average=0.3), average)
    expected = model.log_scale.item()
    for step in range(6):
        push(model)
        one.step()
        keep = 0.0 if step == 0 else min(0.3, (step + 1) / (step + 10))
        expected = keep * expected + (1 - keep) * model.log_scale.item()
    assert average.module.log_scale.item() == pytest.approx(expected, rel=1e-5)
    assert average.module.log_scale.item() != pytest.approx(model.log_scale.item(), rel=1e-4)


def test_step_returns_the_gradient_norm_and_clears_gradients(model):
    one = optimiser(model, Phase(steps=2, clip=1.0))
    push(model, size=3.0)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert one.step() == pytest.approx(3 * math.sqrt(count), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_restored_optimiser_takes_the_same_next_step(model, tiny_config):
    phase = Phase(steps=6, learning_rate=0.01)
    one = optimiser(model, phase)
    for _ in range(3):
        push(model)
        one.step()
    other = CoCa(tiny_config)
    other.load_state_dict(model.state_dict())
    again = optimiser(other, phase)
    again.optimizer.load_state_dict(copy.deepcopy(one.optimizer.state_dict()))
    again.schedule.load_state_dict(copy.deepcopy(one.schedule.state_dict()))
    for each, stepping in ((model, one), (other, again)):
        push(each, size=-0.5)
        stepping.step()
    for expected, found in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(found, expected, rtol=0, atol=0)


def test_the_scale_is_limited_to_its_maximum_and_can_decrease(model):
    model.log_scale.data.fill_(math.log(MOST_SCALE) - 0.01)
    one = optimiser(model, Phase(steps=9, learning_rate=0.1))
    found = []
    for size in (-1.0, -1.0, 1.0, 1.0, 1.0):
        push(model, size=size)
        one.step()
        found.append(model.log_scale.exp().item())
    assert max(found) == pytest.approx(MOST_SCALE)
    assert found[-1] < MOST_SCALE - 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_run_without_a_change(model, value):
    one = optimiser(model, Phase(steps=9, learning_rate=0.1))
    before = copy.deepcopy(model.state_dict())
    push(model, size=value)
    with pytest.raises(TrainingError, match=r"diverged in phase 'training' \(a gradient is (nan|inf)\)\. Lower the learning rate \(0\.1\)"):
        one.step()
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("names", [{"train": ("poolers", "nowhere")}, {"slower": {"nowhere": 0.5}}])
def test_an_unknown_part_of_the_model_is_refused(model, names):
    with pytest.raises(TrainingError, match=r"names a part that the model does not have \(nowhere\)\. Parts: image_tower, poolers"):
        choose_parameters(model, Phase(**names), 0)
