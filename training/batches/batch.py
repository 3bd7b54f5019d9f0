"""The tensors of one step on one rank.

Axes: B pictures with a text each, S sentences without a picture.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.prepare.corpus import Texts


@dataclass(frozen=True)
class Batch:
    """The pictures of a step with their texts, and sentences without pictures. Either may be None."""

    pictures: Tensor | None = None  # uint8 (B, H, W, 3), or the output of the tower's frozen units, bfloat16 (B, ...)
    texts: Texts | None = None  # one text for each picture
    picture: Tensor | None = None  # int64 (B,), the picture of each row. Rows with the same picture match each other's texts
    patches: Tensor | None = None  # int64 (P',), the image tokens that this step uses; None for all
    sentences: Texts | None = None  # S texts without pictures
    noise: Tensor | None = None  # float32 (B, N), uniform in 0..1, to draw the parts of each row to mask; None if no objective masks
    answers: Mapping[str, Tensor] = field(default_factory=dict)  # teachers' predictions, float32 (B, ...), by name in `WholeBatch`

    def __len__(self) -> int:
        """The number of pictures, or of sentences if there are no pictures."""
        return len(self.texts) if self.texts is not None else len(self.sentences or ())

    def rows(self, part: slice, sentences: slice) -> "Batch":
        """Some of the pictures and some of the sentences."""
        alone = None if self.sentences is None or sentences.start == sentences.stop else self.sentences[sentences]
        parts = {name: value[part] for name in ("pictures", "texts", "picture", "noise") if (value := getattr(self, name)) is not None}
        answers = {name: answer[part] for name, answer in self.answers.items()}
        return dataclasses.replace(self, **parts, sentences=alone, answers=answers)

    def split(self, size: int) -> list["Batch"]:
        """Micro-batches of at most `size` pictures (0: all), with the sentences distributed over them."""
        count = max(1, -(-len(self) // size)) if size else 1
        totals = (0 if self.texts is None else len(self.texts), len(self.sentences or ()))
        cuts = [[slice(total * i // count, total * (i + 1) // count) for i in range(count)] for total in totals]
        return [self.rows(part, sentences) for part, sentences in zip(*cuts, strict=True)]

    def to(self, device: torch.device) -> "Batch":
        """A copy on another device."""
        answers = {name: answer.to(device) for name, answer in self.answers.items()}
        parts = {name: part.to(device) for name, part in vars(self).items() if name != "answers" and part is not None}
        return Batch(**parts, answers=answers)
