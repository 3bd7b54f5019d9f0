"""The image teacher: a checkpoint whose vectors of the pictures training imitates. They are computed once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from training.examples.hashes import key_of, pictures_key


def image_vectors(
    teacher: Encoder, examples: Sequence[Example], folder: Path, *, pictures: str = "", note: Note = lambda *_: None
) -> Tensor:
    """float16 (N, E): the teacher's vectors of the plain pictures, cached in `folder`; zeros for unreadable pictures.

    Args:
        pictures: the `pictures_key`; computed here by default.
    """
    path = folder / f"pictures-{key_of([teacher.model_id, pictures or pictures_key(examples)])}.pt"
    return cached_tensor(path, lambda: _encode(teacher, examples, note))


def _encode(teacher: Encoder, examples: Sequence[Example], note: Note) -> Tensor:
    vectors = torch.zeros(len(examples), teacher.config.embedding_width, dtype=torch.float16)

    def pixels(number: int) -> tuple[int, NDArray[np.uint8] | None]:
        try:
            return number, teacher.preprocess(examples[number].read())
        except (PictureError, OSError):
            return number, None

    with ThreadPoolExecutor(2) as pool:
        stream = prefetch(pool, pixels, range(len(examples)), depth=4 * teacher.batch_size)
        while part := list(islice(stream, teacher.batch_size)):
            good = {number: one for number, one in part if one is not None}
            if good:
                vectors[list(good)] = torch.from_numpy(teacher.encode_pixels(np.stack([*good.values()]))).half()
            note(part[-1][0] + 1, len(examples))
    return vectors
