"""The image teacher: a checkpoint whose vectors of the pictures training imitates. They are computed once."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coca_model import Encoder, PictureError
from training.cache.files import Note, cached_tensor
from training.cache.prefetch import prefetch
from training.examples.example import Example
from training.examples.hashes import key_of


def image_vectors(teacher: Encoder, examples: Sequence[Example], folder: Path, *, pictures: str, note: Note = lambda *_: None) -> Tensor:
    """float16 (N, E): the teacher's vectors of the plain pictures, cached in `folder`; zeros for unreadable pictures.

    `pictures` is the `pictures_key` of the examples.
    """

    def pixels(number: int) -> NDArray[np.uint8] | None:
        try:
            return teacher.preprocess(examples[number].read())
        except (PictureError, OSError):
            return None

    def encode() -> Tensor:
        vectors, done = torch.zeros(len(examples), teacher.config.embedding_width, dtype=torch.float16), 0
        stream = prefetch(pixels, range(len(examples)), threads=2, depth=4 * teacher.batch_size)
        while part := list(islice(stream, teacher.batch_size)):
            good = {done + row: one for row, one in enumerate(part) if one is not None}
            if good:
                vectors[list(good)] = torch.from_numpy(teacher.encode_pixels(np.stack([*good.values()]))).half()
            done += len(part)
            note(done, len(examples))
        return vectors

    return cached_tensor(folder / f"pictures-{key_of([teacher.model_id, pictures])}.pt", encode)
