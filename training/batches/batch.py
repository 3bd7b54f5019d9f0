"""What one step sees, on one rank, as tensors.

Axes: B pictures with a text each, S sentences alone, T text length, E' width of the sentence teacher.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Texts:
    """Texts as tokens.

    Attributes:
        token_ids: int64 (N, T); valid: bool (N, T), False on padding.
        decoded: bool (N,), the rows on which the decoder learns to write.
        meaning: float32 (N, E'), the sentence teacher's vectors of L2 norm 1, or None without a teacher.
    """

    token_ids: Tensor
    valid: Tensor
    decoded: Tensor
    meaning: Tensor | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def rows(self, part: slice) -> "Texts":
        """Some of the texts, cut to the longest of them."""
        valid = self.valid[part]
        length = int(valid.sum(1).max()) if len(valid) else 0
        meaning = None if self.meaning is None else self.meaning[part]
        return Texts(self.token_ids[part, :length], valid[:, :length], self.decoded[part], meaning)

    def to(self, device: torch.device) -> "Texts":
        """The same on another device."""
        meaning = None if self.meaning is None else self.meaning.to(device)
        return Texts(self.token_ids.to(device), self.valid.to(device), self.decoded.to(device), meaning)


@dataclass(frozen=True)
class Batch:
    """One step's pictures with their texts, and sentences alone; either may be None.

    Attributes:
        pictures: uint8 (B, H, W, 3), or what the frozen units of the tower made of them, bfloat16 (B, ...).
        texts: the text of each picture.
        picture: int64 (B,), which picture each row shows; rows of one picture are right for each other's texts.
        patches: int64 (P',), the image tokens that this step sees; None for all.
        sentences: texts without a picture.
        noise: float32 (B, N), evenly spread over 0..1: by which each row's parts are hidden, where an objective hides any.
        answers: what teachers say of the pictures, by its name in `objectives.Whole`: float32 (B, ...) each.
    """

    pictures: Tensor | None = None
    texts: Texts | None = None
    picture: Tensor | None = None
    patches: Tensor | None = None
    sentences: Texts | None = None
    noise: Tensor | None = None
    answers: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of pictures, or of sentences where there is none."""
        return len(self.texts) if self.texts is not None else len(self.sentences or ())

    def rows(self, part: slice, sentences: slice) -> "Batch":
        """Some of the pictures and some of the sentences."""
        return dataclasses.replace(
            self,
            pictures=None if self.pictures is None else self.pictures[part],
            texts=None if self.texts is None else self.texts.rows(part),
            picture=None if self.picture is None else self.picture[part],
            sentences=None if self.sentences is None or sentences.start == sentences.stop else self.sentences.rows(sentences),
            noise=None if self.noise is None else self.noise[part],
            answers={name: answer[part] for name, answer in self.answers.items()},
        )

    def split(self, size: int) -> list["Batch"]:
        """Micro-batches of at most `size` pictures (0: all), the sentences spread over them; one without any has None."""
        alone = len(self.sentences or ())
        count = max(1, -(-len(self) // size)) if size else 1
        pictures = 0 if self.texts is None else len(self.texts)
        cuts = [[total * number // count for number in range(count + 1)] for total in (pictures, alone)]
        return [self.rows(slice(*cuts[0][i : i + 2]), slice(*cuts[1][i : i + 2])) for i in range(count)]

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        parts = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "answers"}
        answers = {name: answer.to(device) for name, answer in self.answers.items()}
        return Batch(**{name: None if part is None else part.to(device) for name, part in parts.items()}, answers=answers)
