"""The momentum model, which follows the student slowly, and the queues of its embeddings, which are COTS's negatives.

The momentum model embeds every batch. A queue for each modality keeps its last embeddings (see `objectives/contrastive.py`).
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.batches.batch import Batch
from training.ranks import Ranks
from training.steps.student import Student

MOMENTUM = 0.99
QUEUE = 4096  # rows of each modality: a few batches, because the momentum model changes


class EmbeddingQueue(nn.Module):
    """The last `length` embeddings, as buffers, so that they move with the module and are in its state dict.

    Two queues that are always pushed together hold a picture and its text at the same index, which `kl_alignment_loss` needs.
    Under DistributedDataParallel push the rows of all processes, the same in each.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.rows: Tensor
        self.pushed: Tensor
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # in total; also gives the next index

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.rows))

    def forward(self) -> Tensor:
        """(K, E), each row of L2 norm 1; K grows to `length`. A copy, so that a push before `backward` does not change it."""
        return self.rows[: len(self)].clone()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Normalise rows (B, E) and overwrite the oldest. Of more than `length` rows the last stay."""
        length, start = len(self.rows), int(self.pushed) + max(len(rows) - len(self.rows), 0)
        newest = F.normalize(rows[-length:].to(self.rows.dtype), dim=-1)  # (min(B, length), E)
        self.rows[(start + torch.arange(len(newest), device=self.rows.device)) % length] = newest
        self.pushed += len(rows)


class Momentum(nn.Module):
    """The momentum copy of a student (MoCo, He et al. 2020, equation 2), with a queue of pictures and one of texts."""

    def __init__(self, student: Student, *, momentum: float = MOMENTUM, length: int = QUEUE) -> None:
        super().__init__()
        model = copy.deepcopy(student.model).requires_grad_(False)
        self.student = Student(model, frozen_units=student.frozen_units, fresh=student.fresh, decodes=frozenset())
        self.images = EmbeddingQueue(length, model.config.embedding_width)
        self.texts = EmbeddingQueue(length, model.config.embedding_width)
        self._average = get_ema_multi_avg_fn(momentum)

    def follow(self, student: Student) -> None:
        """Move a little towards the student."""
        self._average(list(self.student.model.parameters()), list(student.model.parameters()), 0)

    @torch.no_grad()
    def forward(self, parts: Sequence[Batch], ranks: Ranks) -> dict[str, Tensor]:
        """The keys of this batch, of all ranks, and those in the queues, by name in `WholeBatch`. Then queues the keys of this batch."""
        seen = [self.student(part)["whole"] for part in parts]
        image, text = (ranks.gather(torch.cat([one[name] for one in seen])) for name in ("image", "text"))
        found = {"image_key": image, "text_key": text, "image_queue": self.images(), "text_queue": self.texts()}
        self.images.push(image)
        self.texts.push(text)
        return found
