"""The gradients of one step. The contrastive losses see the whole batch, even if only a part fits through the model at once.

The losses over the whole batch need its embeddings, not the towers. So their gradient with respect to the embeddings is computed
first, on embeddings without a graph. Then each micro-batch runs again and propagates its rows of this gradient through the towers
(Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup"). A single micro-batch runs only once.
Several ranks differ only in that rows are gathered from all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from training.batches import Batch
from training.objectives.registry import OF_ROWS, OF_WHOLE, WholeBatch
from training.ranks import Ranks
from training.steps.student import Momentum

_ROWS = ("image", "text", "sentence", "gate")  # what the student gives for each row; the rest is equal in all micro-batches
Precision = Callable[[], AbstractContextManager[object]]
Seen = dict[str, dict[str, Tensor]]  # what `Student.forward` returns


@dataclass(frozen=True)
class StepGradients:
    """Adds the gradient of a weighted sum of objectives to the student's parameters, for any micro-batch and any number of ranks."""

    student: nn.Module
    weights: Mapping[str, float]
    ranks: Ranks
    precision: Precision
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    momentum: Momentum | None = None

    def __call__(self, batch: Batch, micro_batch: int = 0) -> dict[str, float]:
        """Add the gradient of one step. Returns the cost of each objective that had a term, unweighted, over the batch of all ranks."""
        parts = batch.split(micro_batch)
        alone = len(parts) == 1
        with nullcontext() if alone else torch.no_grad():
            seen = [self._forward(part, decode=alone) for part in parts]
        counts, done = self._totals(seen, "counts"), []
        costs, gradients = self._whole(seen, batch, parts)
        for number, part in enumerate(parts):
            # Ranks average their gradients only at the last micro-batch.
            with nullcontext() if number == len(parts) - 1 else getattr(self.student, "no_sync", nullcontext)():
                one = seen[0] if alone else self._forward(part)
                done.append({"sums": {name: total.detach() for name, total in one["sums"].items()}})
                pairs = [(one["whole"][name], gradient) for name, gradient in gradients[number].items()]
                # DistributedDataParallel then divides by the number of ranks.
                for name, total in one["sums"].items():
                    pairs.append((total, self.weights[name] * self.ranks.count / counts[name].clamp(min=1).float()))
                pairs = [(value, gradient.to(value.dtype)) for value, gradient in pairs if value.requires_grad]
                torch.autograd.backward([value for value, _ in pairs], [gradient for _, gradient in pairs])
        sums = self._totals(done, "sums")
        return costs | {name: float(sums[name] / count) for name, count in counts.items() if count > 0}

    def _totals(self, seen: Sequence[Seen], part: str) -> dict[str, Tensor]:
        names = sorted({name for one in seen for name in one[part]})
        return {name: self.ranks.total(torch.stack([one[part][name] for one in seen if name in one[part]]).sum()) for name in names}

    def _forward(self, batch: Batch, *, decode: bool = True) -> Seen:
        with self.precision():
            return cast("Seen", self.student(batch, decode=decode))

    def _whole(self, seen: Sequence[Seen], batch: Batch, parts: Sequence[Batch]) -> tuple[dict[str, float], list[dict[str, Tensor]]]:
        """The costs over all rows, and for each micro-batch the gradient with respect to its embeddings, the scale and prototypes."""
        rows_of = {name: {number: one["whole"][name] for number, one in enumerate(seen) if name in one["whole"]} for name in _ROWS}
        leaves = {name: self.ranks.gather(torch.cat([*rows.values()])).requires_grad_() for name, rows in rows_of.items() if rows}
        shared = {name: value.detach().requires_grad_() for name, value in seen[0]["whole"].items() if name not in _ROWS}
        answers = {
            "picture": batch.picture,
            "meaning": None if batch.texts is None else batch.texts.meaning,
            "sentence_meaning": None if batch.sentences is None else batch.sentences.meaning,
            **batch.answers,
        }
        gathered = {name: self.ranks.gather(value) for name, value in answers.items() if value is not None}
        with self.precision():
            followed = {} if self.momentum is None else self.momentum(parts, self.ranks)
        whole = WholeBatch(**leaves, **shared, **gathered, **followed, **self.constants)
        losses = {name: OF_WHOLE[name](whole) for name in self.weights if name not in OF_ROWS}
        if losses:
            torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        gradients: list[dict[str, Tensor]] = [{} for _ in seen]
        for name, rows in rows_of.items():
            if rows and (grad := leaves[name].grad) is not None:
                own = self.ranks.own(grad) * self.ranks.count
                for number, part in zip(rows, own.split([len(one) for one in rows.values()]), strict=True):
                    gradients[number][name] = part
        gradients[-1] |= {name: value.grad for name, value in shared.items() if value.grad is not None}
        return {name: float(loss.detach()) for name, loss in losses.items()}, gradients
