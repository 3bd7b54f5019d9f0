"""The processes that train together, as `torchrun` starts them: one for each GPU, or a single one.

The contrastive losses compare the pictures of all ranks. Their embeddings are gathered without a graph, and every rank computes
the losses in full. Each rank then propagates the gradient of its own rows (see `steps/gradients.py`).
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
    import torch.distributed.nn  # if imported after the processes joined, its default arguments would keep the process group alive


@dataclass(frozen=True)
class Ranks:
    """One process of `count`: its number, and the device it computes on."""

    number: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.number == 0

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks in the order of ranks, (count * B, ...), without gradient. Every rank must have B rows."""
        rows = rows.detach()
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def own(self, rows: Tensor) -> Tensor:
        """The part of this rank in gathered rows."""
        return rows.chunk(self.count)[self.number]

    def total(self, value: Tensor) -> Tensor:
        """The sum over all ranks."""
        if self.count > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module in DistributedDataParallel, which averages gradients over ranks; unchanged for a single rank."""
        if self.count == 1:
            return module
        ids = None if self.device.index is None else [self.device.index]
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)

    def first(self, compute: Callable[[], list[str]]) -> list[str]:
        """The result of `compute`, which only the leading rank calls and then sends to the others."""
        result = [compute() if self.leads else []]
        if self.count > 1:
            distributed.broadcast_object_list(result)
        return result[0]

    def wait(self) -> None:
        """Wait until all ranks call this."""
        if self.count > 1:
            distributed.barrier()


ALONE = Ranks()
_TIMEOUT = timedelta(hours=12)  # the others wait while the first rank computes the features of a large data set, or validates


def join_ranks(device: str | None = None) -> Ranks:
    """Join the processes that `torchrun` started, if any. Raises TrainingError if the device cannot be used.

    The default device is CUDA if available, otherwise the CPU.
    """
    count, number = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if chosen.type == "cuda" and device in (None, "cuda"):
            chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(chosen)
        torch.zeros(1, device=chosen).item()
    except Exception as error:  # RuntimeError for a name, AssertionError without CUDA, NotImplementedError for meta and others
        raise TrainingError(f"The device cannot be used ({device}). Allowed: cpu, and cuda if torch finds a GPU.") from error
    if count > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    return Ranks(number, count, chosen)


def leave_ranks() -> None:
    """Leave the process group. Objects that still refer to it keep threads of gloo alive, which sometimes abort the process at its end."""
    gc.collect()  # DistributedDataParallel is in reference cycles
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
