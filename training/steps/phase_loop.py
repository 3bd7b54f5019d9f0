"""The steps of one phase: batch, gradients, optimiser, the moving average, and the momentum model if an objective needs it."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coca_model.architecture.coca import CoCa
from coca_model.machine import fast_dtype
from training.batches import Batches
from training.errors import TrainingError
from training.examples.example import Skipped
from training.objectives.heads import WITH_HEADS, Heads
from training.objectives.masked import MASKED, MaskedObjectives
from training.objectives.registry import DRAWS, OF_MOMENTUM
from training.prepare.materials import Materials
from training.ranks import Ranks
from training.recipe import Phase, Recipe
from training.steps.gradients import Precision, StepGradients
from training.steps.student import Momentum, Student

MOST_SCALE = 100.0  # 1 / temperature of the contrastive loss (Radford et al. 2021, section 2.5)
_BETAS = (0.9, 0.98)
_UNMOVED = 10  # steps without a gradient after which a phase is given up
_CODED = 400  # cached views from which the codes of patches are learned
_Tensors = tuple[Tensor, ...] | list[Tensor]


def choose_parameters(model: CoCa, phase: Phase, frozen_units: int) -> dict[str, nn.Parameter]:
    """Let only the parameters of the phase learn. Returns them by name. Raises TrainingError if there are none."""
    frozen = {id(parameter) for module in model.image_tower.units()[:frozen_units] for parameter in module.parameters()}
    named = dict(model.named_parameters())
    if lost := [start for start in (*phase.train, *phase.slower) if not any(name.startswith(start) for name in named)]:
        parts = ", ".join(name for name, _ in model.named_children())
        raise TrainingError(f"Phase {phase.name!r} names a part that the model does not have ({lost[0]}). Parts: {parts}, and their parts.")
    for name, parameter in named.items():
        parameter.requires_grad_(id(parameter) not in frozen and (not phase.train or name.startswith(phase.train)))
    chosen = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if not chosen:
        raise TrainingError(f"Phase {phase.name!r} trains nothing ({', '.join(phase.train)}). Name parts such as unimodal or poolers.")
    return chosen


class Optimiser:
    """AdamW with warm-up, cosine decay and clipping. Also updates the moving average (EMA) of the model, which is validated and saved.

    `chosen` are the parameters that learn. Those outside the model, such as an objective's head, are not averaged.
    `moved` tells whether any step had a gradient other than 0.
    """

    def __init__(self, model: CoCa, average: AveragedModel, chosen: Mapping[str, nn.Parameter], phase: Phase) -> None:
        self.model, self.average, self.phase, self.moved = model, average, phase, False
        self.average.multi_avg_fn = self._follow
        self._parameters = list(chosen.values())
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}  # by learning rate and weight decay
        for name, parameter in chosen.items():
            factor = next((factor for start, factor in phase.slower.items() if name.startswith(start)), 1.0)
            decay = phase.weight_decay if parameter.ndim > 1 else 0.0  # vectors (norms, biases, positions) do not decay
            groups.setdefault((phase.learning_rate * factor, decay), []).append(parameter)
        with_rates = [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
        self.optimizer = torch.optim.AdamW(with_rates, betas=_BETAS)
        self.schedule = LambdaLR(self.optimizer, self._factor)

    def step(self) -> float:
        """Take one step and clear the gradients. Returns their norm before clipping.

        If a gradient is not finite, raises TrainingError and changes nothing.
        """
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self.phase.clip))
        if not math.isfinite(norm):
            rate = f"{max(group['lr'] for group in self.optimizer.param_groups):.2g}"
            raise TrainingError(f"Training diverged in phase {self.phase.name!r} (a gradient is {norm}). Lower the learning rate ({rate}).")
        self.moved = self.moved or norm > 0
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(MOST_SCALE))
        self.average.update_parameters(self.model)
        return norm

    def _factor(self, step: int) -> float:
        """The factor on the learning rate at a step: a linear rise, then a cosine decay to 0."""
        warm = max(1, round(self.phase.warm_up * self.phase.steps))
        return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.phase.steps))

    def _follow(self, average: _Tensors, new: _Tensors, count: Tensor | int) -> None:
        """Move the average. At step n the decay is min(phase.average, (n + 1) / (n + 10)), so that early steps are soon forgotten."""
        decay = min(self.phase.average, (int(count) + 1) / (int(count) + 10))
        get_ema_multi_avg_fn(decay)(list(average), list(new), count)


def averaged(model: CoCa) -> AveragedModel:
    """The moving average of a model's weights. Each phase's `Optimiser` sets how it moves."""
    return AveragedModel(model).requires_grad_(False).eval()


class PhaseLoop:
    """One phase, by its number in the recipe. It can start at any step, and updates the moving `average` of the model's weights."""

    def __init__(self, number: int, recipe: Recipe, materials: Materials, average: AveragedModel, ranks: Ranks) -> None:
        self.number, self.phase, self.ranks = number, recipe.phases[number], ranks
        phase, model, units = self.phase, materials.model, materials.frozen_units
        masked = _masked_objectives(phase, materials, recipe.seed + number)
        heads = _heads(phase, materials, recipe.seed + number)
        chosen = choose_parameters(model, phase, units)
        for name, part in (("masked", masked), ("heads", heads)):
            if part is not None:
                chosen |= {f"{name}.{inner}": parameter for inner, parameter in part.to(ranks.device).named_parameters()}
        self._optimiser, fresh = Optimiser(model, average, chosen, phase), materials.features is None
        special, names = materials.tokenizer.special, frozenset(phase.objectives)
        self._student = Student(model, frozen_units=units, fresh=fresh, objectives=names, masked=masked, heads=heads, special=special)
        self._momentum = Momentum(self._student).to(ranks.device) if phase.objectives.keys() & set(OF_MOMENTUM) else None
        with_state = {"hidden": masked, "heads": heads, "momentum": self._momentum}  # "hidden" as in the snapshots of earlier versions
        beside = nn.ModuleDict({name: part for name, part in with_state.items() if part is not None})
        self._stateful: dict[str, Any] = {
            "beside": beside,
            "optimizer": self._optimiser.optimizer,
            "schedule": self._optimiser.schedule,
        }
        student, forward = ranks.wrap(self._student), precision(ranks.device)
        self._gradients = StepGradients(student, phase.objectives, ranks, forward, materials.constants, self._momentum)
        draws = {name: draw for name, (objective, draw) in DRAWS.items() if objective in phase.objectives}
        self._batches = Batches(number, recipe, materials, ranks, noise=masked is not None, draws=draws)
        self.unreadable: Mapping[str, Skipped] = self._batches.skipped  # pictures that the steps could not read, by name

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

    def states(self) -> dict[str, Any]:
        """The states for `load`, besides the model."""
        return {name: part.state_dict() for name, part in self._stateful.items()}

    def load(self, states: Mapping[str, Any]) -> None:
        """Resume from `states`."""
        for name, part in self._stateful.items():
            part.load_state_dict(states[name])


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


def _heads(phase: Phase, materials: Materials, seed: int) -> Heads | None:
    names = [name for name in WITH_HEADS if name in phase.objectives]
    if not names:
        return None
    corpus, meanings = materials.corpus, None
    if corpus.teacher is not None:
        of_examples = zip(materials.examples, corpus.of_example, strict=True)
        meanings = corpus.teacher[sorted({number for example, numbers in of_examples if example.split == "train" for number in numbers})]
    with torch.random.fork_rng():  # so that a resumed run creates the same heads
        torch.manual_seed(seed)
        return Heads(names, materials.model.config.embedding_width, meanings, seed=seed)
