"""The gradients of one step, whose contrastive losses see the whole batch however little fits through the model at once.

The losses over the whole batch need its embeddings, not the towers behind them. So their gradient with respect to the
embeddings is computed first, on embeddings without a graph, and then each micro-batch is run again and carries its rows of it
back through the towers (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup").
With one micro-batch it is run only once; several ranks differ only in whose rows are gathered.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from training.batches.batch import Batch
from training.objectives.registry import OF_ROWS, OF_WHOLE, Whole
from training.ranks import Ranks
from training.steps.momentum import Momentum

_ROWS = ("image", "text", "sentence")
Precision = Callable[[], AbstractContextManager[object]]


class StepGradients:
    """Leaves the gradient of a weighted sum of objectives in the student's parameters, whatever the micro-batch and the ranks."""

    def __init__(
        self,
        student: nn.Module,
        weights: Mapping[str, float],
        *,
        ranks: Ranks,
        precision: Precision,
        constants: Mapping[str, Tensor] | None = None,
        momentum: Momentum | None = None,
    ) -> None:
        self.student, self.weights, self.momentum = student, weights, momentum
        self.ranks, self.precision, self.constants = ranks, precision, constants or {}

    def __call__(self, batch: Batch, micro_batch: int = 0) -> dict[str, float]:
        """Add the gradient of one step. Returns what each objective that had a term costs, unweighted, over the batch of all ranks."""
        parts = batch.split(micro_batch)
        if len(parts) == 1:
            seen = [self._forward(parts[0])]
        else:
            with torch.no_grad():
                seen = [self._forward(part, decode=False) for part in parts]
        terms, done = self._totals(seen, "counts"), []
        keys = self._keys(parts)
        costs, gradients = self._whole(seen, batch, keys)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with self._synchronised(last=last):
                one = seen[0] if len(parts) == 1 else self._forward(part)
                done.append({"sums": {name: total.detach() for name, total in one["sums"].items()}})
                carried = [(one["whole"][name], gradient) for name, gradient in gradients[number].items()]
                # The average over ranks, which follows, divides by their number.
                carried += [
                    (total, self.weights[name] * self.ranks.count / terms[name].clamp(min=1).float()) for name, total in one["sums"].items()
                ]
                carried = [(value, gradient) for value, gradient in carried if value.requires_grad]
                torch.autograd.backward([value for value, _ in carried], [gradient.to(value.dtype) for value, gradient in carried])
        sums = self._totals(done, "sums")
        return costs | {name: float(sums[name] / total) for name, total in terms.items() if total > 0}

    def _totals(self, seen: Sequence[dict[str, dict[str, Tensor]]], part: str) -> dict[str, Tensor]:
        """Sums over micro-batches and ranks of the numbers of each objective of rows."""
        names = sorted({name for one in seen for name in one[part]})
        return {name: self.ranks.total(torch.stack([one[part][name] for one in seen if name in one[part]]).sum()) for name in names}

    def _forward(self, batch: Batch, *, decode: bool = True) -> dict[str, dict[str, Tensor]]:
        with self.precision():
            return cast("dict[str, dict[str, Tensor]]", self.student(batch, decode=decode))

    @torch.no_grad()
    def _keys(self, parts: Sequence[Batch]) -> dict[str, Tensor]:
        """What the momentum model makes of the batch, of all ranks; nothing without one."""
        if self.momentum is None:
            return {}
        with self.precision():
            seen = [self.momentum.student(part)["whole"] for part in parts]
        return {name: self.ranks.gather(torch.cat([one[name] for one in seen])) for name in ("image", "text")}

    def _whole(
        self, seen: Sequence[dict[str, dict[str, Tensor]]], batch: Batch, keys: Mapping[str, Tensor]
    ) -> tuple[dict[str, float], list[dict[str, Tensor]]]:
        """The objectives over all rows, and for each micro-batch the gradient with respect to its embeddings and the scale."""
        with_rows = {name: [number for number, one in enumerate(seen) if name in one["whole"]] for name in _ROWS}
        names = [name for name, numbers in with_rows.items() if numbers]
        rows_of = {name: [seen[number]["whole"][name].detach() for number in with_rows[name]] for name in names}
        leaves = {name: self.ranks.gather(torch.cat(rows)).requires_grad_() for name, rows in rows_of.items()}
        leaves["scale"] = seen[0]["whole"]["scale"].detach().requires_grad_()
        followed = {} if self.momentum is None else self.momentum.parts(keys)
        whole = Whole(**leaves, **self._beside(batch), **followed, **self.constants)
        losses = {name: OF_WHOLE[name](whole) for name in self.weights if name not in OF_ROWS}
        if self.momentum is not None:
            self.momentum.push(keys)
        if losses:
            torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum().backward()
        gradients: list[dict[str, Tensor]] = [{} for _ in seen]
        for name in names:
            grad = leaves[name].grad
            if grad is not None:
                own = self.ranks.own(grad) * self.ranks.count
                for number, rows in zip(with_rows[name], own.split([len(rows) for rows in rows_of[name]]), strict=True):
                    gradients[number][name] = rows
        if leaves["scale"].grad is not None:
            gradients[-1]["scale"] = leaves["scale"].grad
        return {name: float(loss.detach()) for name, loss in losses.items()}, gradients

    def _beside(self, batch: Batch) -> dict[str, Tensor]:
        """What the objectives read beside the embeddings, of all ranks."""
        texts, sentences = batch.texts, batch.sentences
        values = {
            "picture": batch.picture,
            "meaning": None if texts is None else texts.meaning,
            "sentence_meaning": None if sentences is None else sentences.meaning,
            **batch.answers,
        }
        return {name: self.ranks.gather(value) for name, value in values.items() if value is not None}

    def _synchronised(self, *, last: bool) -> AbstractContextManager[object]:
        """Ranks average their gradients once a step, at the last micro-batch."""
        if last or not isinstance(self.student, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.student.no_sync()
