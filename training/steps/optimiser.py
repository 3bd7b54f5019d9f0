"""AdamW with warm-up, cosine decay and clipping, and the moving average of the weights (EMA), which is validated and saved."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coca_model.architecture.coca import CoCa
from training.errors import TrainingError
from training.recipe import Phase

_BETAS = (0.9, 0.98)
MOST_SCALE = 100.0  # 1 / temperature of the contrastive loss (Radford et al. 2021, section 2.5)
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
    """Takes steps along the gradients of the parameters, and updates the moving average of the model.

    `chosen` are the parameters that learn. Those outside the model, such as an objective's head, are not averaged.
    `moved` tells whether any step had a gradient other than 0.
    """

    def __init__(self, model: CoCa, average: AveragedModel, chosen: Mapping[str, nn.Parameter], phase: Phase) -> None:
        self.model, self.average, self.phase, self.moved = model, average, phase, False
        self.average.multi_avg_fn = _towards(phase.average)
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
            raise TrainingError(
                f"The training diverged in phase {self.phase.name!r} (a gradient is {norm}). Lower the learning rate ({rate})."
            )
        self.moved = self.moved or norm > 0
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(MOST_SCALE))
        self.average.update_parameters(self.model)
        return norm

    def states(self) -> dict[str, Any]:
        """The states for `load`."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def load(self, states: Mapping[str, Any]) -> None:
        """Resume from `states`."""
        self.optimizer.load_state_dict(states["optimizer"])
        self.schedule.load_state_dict(states["schedule"])

    def _factor(self, step: int) -> float:
        """The factor on the learning rate at a step: a linear rise, then a cosine decay to 0."""
        warm = max(1, round(self.phase.warm_up * self.phase.steps))
        return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / self.phase.steps))


def averaged(model: CoCa) -> AveragedModel:
    """The moving average of a model's weights. Each phase's `Optimiser` sets how it moves."""
    return AveragedModel(model).requires_grad_(False).eval()


def _towards(most: float) -> Callable[[_Tensors, _Tensors, Tensor | int], None]:
    """At step n the decay is min(most, (n + 1) / (n + 10)), so that early steps are soon forgotten."""

    def update(average: _Tensors, new: _Tensors, count: Tensor | int) -> None:
        get_ema_multi_avg_fn(min(most, (int(count) + 1) / (int(count) + 10)))(list(average), list(new), count)

    return update
