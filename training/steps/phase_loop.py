"""The steps of one phase: batch, gradients, optimiser, and the momentum model if an objective needs it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel

from coca_model.machine import fast_dtype
from training.batches.batches import Batches
from training.errors import TrainingError
from training.examples.example import Skipped
from training.objectives.masked import MASKED, MaskedObjectives
from training.objectives.registry import OF_MOMENTUM
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Phase, Recipe
from training.steps.gradients import Precision, StepGradients
from training.steps.optimiser import Optimiser, choose_parameters
from training.steps.student import Momentum, Student

_UNMOVED = 10  # steps without a gradient after which a phase is given up
_CODED = 400  # cached views from which the codes of patches are learned


class PhaseLoop:
    """One phase, by its number in the recipe. It can start at any step, and updates the moving `average` of the model's weights."""

    def __init__(self, number: int, recipe: Recipe, materials: Materials, average: AveragedModel, ranks: Ranks) -> None:
        self.number, self.phase, self.ranks = number, recipe.phases[number], ranks
        phase, model, units = self.phase, materials.model, materials.frozen_units
        masked = _masked_objectives(phase, materials, recipe.seed + number)
        chosen = choose_parameters(model, phase, units)
        if masked is not None:
            chosen |= {f"masked.{name}": parameter for name, parameter in masked.to(ranks.device).named_parameters()}
        self._optimiser, fresh = Optimiser(model, average, chosen, phase), materials.features is None
        self._student = Student(model, frozen_units=units, fresh=fresh, decodes=frozenset(phase.objectives), masked=masked)
        self._momentum = Momentum(self._student).to(ranks.device) if phase.objectives.keys() & set(OF_MOMENTUM) else None
        with_state = {"hidden": masked, "momentum": self._momentum}  # "hidden" as in the snapshots of earlier versions
        self._beside = nn.ModuleDict({name: part for name, part in with_state.items() if part is not None})
        student, forward = ranks.wrap(self._student), precision(ranks.device)
        self._gradients = StepGradients(student, phase.objectives, ranks, forward, materials.constants, self._momentum)
        self._batches = Batches(number, recipe, materials, ranks, noise=masked is not None)

    def steps(self, start: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Run the steps from `start`. After each, yields how many are done, and the costs with the rate and the time left."""
        began = time.monotonic()
        micro_batch = -(-self.phase.micro_batch // self.ranks.count)
        for done, batch in enumerate(self._batches.from_step(start), start + 1):
            costs = self._gradients(batch.to(self.ranks.device), micro_batch)
            norm = self._optimiser.step()
            if done == min(start + _UNMOVED, self.phase.steps) and not self._optimiser.moved:
                raise TrainingError(f"Phase {self.phase.name!r} learns nothing: none of its objectives reaches a part that it trains.")
            if self._momentum is not None:
                self._momentum.follow(self._student)
            seconds = time.monotonic() - began
            rate = (done - start) / seconds
            left = (self.phase.steps - done) / rate
            clock = {"seconds": seconds, "pictures_a_second": rate * self.phase.batch, "seconds_left": left}
            yield done, costs | {"gradient_norm": norm} | clock

    @property
    def unreadable(self) -> Mapping[str, Skipped]:
        """The pictures that the steps could not read, by name."""
        return self._batches.skipped

    def states(self) -> dict[str, Any]:
        """The states for `load`, besides the model."""
        return {"beside": self._beside.state_dict(), **self._optimiser.states()}

    def load(self, states: Mapping[str, Any]) -> None:
        """Resume from `states`."""
        self._beside.load_state_dict(states["beside"])
        self._optimiser.load(states)


def precision(device: torch.device) -> Precision:
    """The context of a forward pass: bfloat16 where the device multiplies it fast.

    On a CPU it uses the plain attention, because its backward pass is 2.8 times as fast for our short texts and small maps.
    """

    @contextmanager
    def context() -> Iterator[None]:
        attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_dtype(device) is torch.bfloat16), attention:
            yield

    return context


def _masked_objectives(phase: Phase, materials: Materials, seed: int) -> MaskedObjectives | None:
    """The masked objectives of the phase, or None if it has none."""
    names = tuple(name for name in MASKED if name in phase.objectives)
    if not names:
        return None
    features, units = materials.features, materials.frozen_units
    if features is None:
        raise TrainingError(f"{', '.join(names)} need cached views. Set views of every source above 0, and freeze some units.")
    some = features.read(np.linspace(0, len(features.maps) - 1, min(len(features.maps), _CODED)).astype(np.int64))
    with torch.random.fork_rng():  # so that a resumed run creates the same heads
        torch.manual_seed(seed)
        special_ids = materials.tokenizer.special
        return MaskedObjectives(names, materials.model, some, frozen_units=units, special_ids=special_ids, seed=seed)
