"""A second model that follows the first slowly, and the queues of what it embedded: the negatives of COTS (see `momentum_losses`)."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.objectives.momentum_contrast import EmbeddingQueue, update_momentum
from training.steps.student import Student

MOMENTUM = 0.99
QUEUE = 4096  # rows of each modality; a few batches, after which the momentum model has moved on


class Momentum(nn.Module):
    """The momentum copy of a student, with a queue of pictures and one of texts that are always pushed together."""

    def __init__(self, student: Student, *, momentum: float = MOMENTUM, length: int = QUEUE) -> None:
        super().__init__()
        model = copy.deepcopy(student.model).requires_grad_(False)
        self.student = Student(model, frozen_units=student.frozen_units, fresh=student.fresh, decodes=frozenset())
        self.images = EmbeddingQueue(length, model.config.embedding_width)
        self.texts = EmbeddingQueue(length, model.config.embedding_width)
        self._momentum = momentum

    def follow(self, student: Student) -> None:
        """Move a little towards the student."""
        update_momentum(self.student.model, student.model, self._momentum)

    def parts(self, keys: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the objectives read, by its name in `objectives.Whole`: the keys of this batch and those of earlier ones."""
        return {"image_key": keys["image"], "text_key": keys["text"], "image_queue": self.images(), "text_queue": self.texts()}

    @torch.no_grad()
    def push(self, keys: Mapping[str, Tensor]) -> None:
        """Remember the keys of this batch, of all ranks, for the next steps."""
        self.images.push(keys["image"])
        self.texts.push(keys["text"])
