"""The processes that train together, as `torchrun` starts them: one for each GPU, or one alone.

The contrastive losses compare the pictures of all ranks. Their rows are gathered as plain values and the losses are
computed by every rank in full; each then carries the gradient of its own rows back (see `gradients`).
"""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from training.errors import TrainingError

if distributed.is_available():
    import torch.distributed.nn  # imported after the processes have joined, it would hold on to them (defaults of its functions)


@dataclass(frozen=True)
class Ranks:
    """One process among `count`: its number, and the device it computes on."""

    number: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.number == 0

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, (count * B, ...), in the order of ranks; every rank has as many. Carries no gradient."""
        rows = rows.detach()
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def own(self, rows: Tensor) -> Tensor:
        """The part of gathered rows that is this rank's."""
        return rows.chunk(self.count)[self.number]

    def total(self, value: Tensor) -> Tensor:
        """The sum over ranks."""
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over ranks by DistributedDataParallel where there are several."""
        if self.count == 1:
            return module
        ids = None if self.device.index is None else [self.device.index]
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)

    def first(self, compute: Callable[[], list[str]]) -> list[str]:
        """What the leading rank computes, which the others are told."""
        told = [compute() if self.leads else []]
        if self.count > 1:
            distributed.broadcast_object_list(told)
        return told[0]

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Ranks()
_PATIENCE = timedelta(hours=12)  # of the others, while the first makes the views of a large data set or validates


def join_ranks(device: str | None = None) -> Ranks:
    """Join the other processes that `torchrun` started, if it did; on CUDA where there is one, unless `device` says otherwise.

    Raises:
        TrainingError: there is no such device.
    """
    count, number = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    try:
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if where.type == "cuda" and device in (None, "cuda"):
            where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(where)
        torch.zeros(1, device=where).item()
    except Exception as error:  # RuntimeError for a name, AssertionError without CUDA, NotImplementedError for meta and others
        raise TrainingError(f"The device cannot be used ({device}). Allowed: cpu, and cuda where torch finds a GPU.") from error
    if count > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=_PATIENCE)
    return Ranks(number, count, where)


def leave_ranks() -> None:
    """Part from the other processes.

    What still holds on to them keeps threads of gloo alive into the end of the interpreter, which then aborts now and then.
    """
    gc.collect()  # DistributedDataParallel is in cycles
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
