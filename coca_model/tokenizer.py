"""Text to token ids and back: a byte-level BPE that belongs to its checkpoint.

Byte-level, so that nothing a user types is out of vocabulary; lower-cased, because the captions it learned from are.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer as _Tokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from coca_model.errors import CheckpointError

PAD, START, END = "<pad>", "<start>", "<end>"


def clean_text(text: str) -> str:
    """Lower case, single spaces, no space before punctuation, no full stop at the end: as people type queries."""
    text = re.sub(r"\s+", " ", text.lower()).strip()
    return re.sub(r" ([.,!?;:'])", r"\1", text).rstrip(" .")


class Tokenizer:
    """Wraps a `tokenizers` BPE whose ids 0, 1, 2 are padding, start and end of a sentence."""

    pad_id, start_id, end_id = 0, 1, 2

    def __init__(self, bpe: _Tokenizer, context_length: int) -> None:
        self._bpe = bpe
        self._bpe.encode_special_tokens = True  # a text that says "<pad>" means the letters, not the token
        self.context_length = context_length
        self._warned = False

    @property
    def vocabulary_size(self) -> int:
        return self._bpe.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenize `texts`, start and end included, padded to the longest of them.

        Returns:
            token_ids int64 (B, T) and valid bool (B, T), False on padding; T is at most the context length. A longer
            text is cut, its end kept, and the first time a warning says so.
        """
        unicode = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair, as browsers cut them, is no text
        rows = [self._clip([self.start_id, *encoding.ids, self.end_id]) for encoding in self._bpe.encode_batch(unicode)]
        length = max(map(len, rows), default=2)
        ids = np.full((len(rows), length), self.pad_id, dtype=np.int64)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = row
        token_ids = torch.from_numpy(ids)
        return token_ids, token_ids != self.pad_id

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, without the special tokens."""
        return str(self._bpe.decode(list(token_ids), skip_special_tokens=True)).strip()

    def _clip(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.context_length:
            return ids
        if not self._warned:
            self._warned = True
            warnings.warn(f"A text of {len(ids)} tokens is cut to the model's context of {self.context_length}.", stacklevel=4)
        return [*ids[: self.context_length - 1], self.end_id]

    def to_json(self) -> str:
        """The vocabulary and the merges, as `tokenizers` writes them."""
        return str(self._bpe.to_str())

    def save(self, path: Path) -> None:
        self._bpe.save(str(path))


def load_tokenizer(path: Path, context_length: int) -> Tokenizer:
    """Read the JSON of a `tokenizers` BPE. Raises CheckpointError where the file is none."""
    try:
        return Tokenizer(_Tokenizer.from_file(str(path)), context_length)
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer ({error}). Expected the JSON of a tokenizers BPE.") from error


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int, context_length: int) -> Tokenizer:
    """Learn a byte-level BPE of `vocabulary_size` tokens from `texts` (Sennrich et al. 2016)."""
    bpe = _Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return Tokenizer(bpe, context_length)
