"""The steps of one phase: batch, gradients, optimiser, and the momentum model where there is one."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
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
from training.objectives import masked_heads as hidden_parts
from training.objectives.masked_heads import HiddenParts
from training.objectives.registry import OF_MOMENTUM, OF_ROWS
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Phase, Recipe
from training.steps.gradients import Precision, StepGradients
from training.steps.momentum import Momentum
from training.steps.optimiser import Optimiser, choose_parameters
from training.steps.student import Student

_UNMOVED = 10  # steps without a gradient after which a phase is given up
_CODED = 400  # kept views from which the codes of patches are learnt


class PhaseLoop:
    """One phase, ready to run from any step.

    Args:
        number: of the phase in the recipe.
        average: of the model's weights, which every step moves.
    """

    def __init__(self, number: int, recipe: Recipe, materials: Materials, average: AveragedModel, ranks: Ranks) -> None:
        self.phase, self.ranks = recipe.phases[number], ranks
        phase, model = self.phase, materials.model
        hidden = _hidden_parts(phase, materials, recipe.seed + number)
        chosen = choose_parameters(model, phase, materials.frozen_units)
        if hidden is not None:
            hidden.to(ranks.device)
            chosen |= {f"hidden.{name}": parameter for name, parameter in hidden.named_parameters()}
        self._optimiser = Optimiser(model, average, chosen, phase)
        self._student = Student(
            model,
            frozen_units=materials.frozen_units,
            fresh=materials.kept is None,
            decodes=frozenset(phase.objectives) & frozenset(OF_ROWS),
            hidden=hidden,
        )
        self._momentum = Momentum(self._student).to(ranks.device) if phase.objectives.keys() & set(OF_MOMENTUM) else None
        self._gradients = StepGradients(
            ranks.wrap(self._student),
            phase.objectives,
            ranks=ranks,
            precision=precision(ranks.device),
            constants=materials.constants,
            momentum=self._momentum,
        )
        self._batches = Batches(
            phase,
            number,
            recipe,
            examples=materials.examples,
            corpus=materials.corpus,
            order=materials.order(recipe) if phase.batch else None,
            image=model.config.image,
            num_patches=len(model.image_tower.position),
            ranks=ranks,
            kept=materials.kept,
            answers=materials.answers,
        )

    def steps(self, start: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Run the steps from `start`. After each, gives how many are done, and what the objectives cost, with rate and time left."""
        began = time.monotonic()
        micro_batch = -(-self.phase.micro_batch // self.ranks.count)
        try:
            for done, batch in enumerate(self._batches.from_step(start), start + 1):
                costs = self._gradients(batch.to(self.ranks.device), micro_batch)
                norm = self._optimiser.step()
                if done == min(start + _UNMOVED, self.phase.steps) and not self._optimiser.moved:
                    raise TrainingError(f"Phase {self.phase.name!r} learns nothing: no objective of it reaches a part that it trains.")
                if self._momentum is not None:
                    self._momentum.follow(self._student)
                seconds = time.monotonic() - began
                a_second = (done - start) / seconds
                clock = {
                    "seconds": seconds,
                    "pictures_a_second": a_second * self.phase.batch,
                    "seconds_left": (self.phase.steps - done) / a_second,
                }
                yield done, costs | {"gradient_norm": norm} | clock
        finally:
            self._batches.close()

    @property
    def unread(self) -> Mapping[str, Skipped]:
        """The pictures that could not be read at their steps, by name."""
        return self._batches.skipped

    def states(self) -> dict[str, Any]:
        """What `load` needs beside the model to go on."""
        return {"beside": self._beside().state_dict(), **self._optimiser.states()}

    def load(self, states: Mapping[str, Any]) -> None:
        """Go on where `states` were taken."""
        self._beside().load_state_dict(states["beside"])
        self._optimiser.load(states)

    def _beside(self) -> nn.ModuleDict:
        """What learns or remembers beside the model: the heads of objectives, and the momentum model with its queues."""
        parts = {"hidden": self._student.hidden, "momentum": self._momentum}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})


def precision(device: torch.device) -> Precision:
    """The context of a forward pass: bfloat16 where the device multiplies it fast.

    On a CPU with the plain attention, whose backward is 2.8 times as fast for texts and maps as short as ours.
    """

    def context() -> AbstractContextManager[object]:
        stack = ExitStack()
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=fast_dtype(device) is torch.bfloat16))
        if device.type == "cpu":
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack

    return context


def _hidden_parts(phase: Phase, materials: Materials, seed: int) -> HiddenParts | None:
    """The heads of the phase's objectives that hide something, or None where it has none."""
    names = tuple(name for name in hidden_parts.NAMES if name in phase.objectives)
    if not names:
        return None
    kept = materials.kept
    if kept is None:
        raise TrainingError(f"{', '.join(names)} need kept views of frozen units. Give every source views, and freeze some units.")
    some = np.linspace(0, len(kept.maps) - 1, min(len(kept.maps), _CODED)).astype(np.int64)
    with torch.random.fork_rng():  # so that heads begin the same in a run that goes on
        torch.manual_seed(seed)
        return HiddenParts(
            names,
            materials.model,
            kept.read(some),
            frozen_units=materials.frozen_units,
            special_ids=materials.tokenizer.special,
            seed=seed,
        )
