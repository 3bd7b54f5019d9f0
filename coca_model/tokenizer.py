"""Text to token ids and back, by the byte-pair encoding that belongs to a checkpoint: the embedded one's, or CLIP's.

Both work on bytes, so that nothing a user types is out of vocabulary, and in lower case, because their captions were.
"""

import gzip
import html
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import ftfy
import numpy as np
import torch
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as _Tokenizer
from torch import Tensor

from coca_model.errors import CheckpointError

PAD, START, END = "<pad>", "<start>", "<end>"
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class SpecialTokens(NamedTuple):
    """The token ids of padding, of the start and of the end of a sentence."""

    pad: int
    start: int
    end: int


def clean_text(text: str) -> str:
    """Lower case, single spaces, no space before punctuation, no full stop at the end: as people type queries."""
    text = re.sub(r"\s+", " ", text.lower()).strip()
    return re.sub(r" ([.,!?;:'])", r"\1", text).rstrip(" .")


def clean_clip_text(text: str) -> str:
    """As open_clip 3.3.0 cleans: broken encodings mended (ftfy), HTML entities resolved twice, single spaces, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


class Tokenizer:
    """Wraps a `tokenizers` BPE with the ids of its special tokens and the cleaning that its texts had in training."""

    def __init__(self, bpe: _Tokenizer, context_length: int, special: SpecialTokens, clean: Callable[[str], str]) -> None:
        self._bpe = bpe
        self._bpe.encode_special_tokens = True  # a text that says "<pad>" means the letters, not the token
        self.context_length = context_length
        self.special = special
        self._clean = clean
        self._warned = False

    def clean(self, text: str) -> str:
        """The text as it is cut into tokens: lower case, single spaces, and whatever else its texts had in training."""
        return self._clean(text)

    @property
    def vocabulary_size(self) -> int:
        """V, the number of tokens, special ones included."""
        return self._bpe.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokenize `texts`, cleaned, start and end included, padded to the longest of them.

        Returns:
            token_ids int64 (B, T) and valid bool (B, T), False on padding; T is at most the context length. A longer
            text is cut, its end kept, and the first time a warning says so.
        """
        unicode = [text.encode("utf-8", "replace").decode() for text in texts]  # half a surrogate pair, as browsers cut them, is no text
        encodings = self._bpe.encode_batch([self._clean(text) for text in unicode], add_special_tokens=False)
        rows = [self._cut([self.special.start, *encoding.ids, self.special.end]) for encoding in encodings]
        length = max(map(len, rows), default=2)
        ids = np.full((len(rows), length), self.special.pad, dtype=np.int64)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = row
        token_ids = torch.from_numpy(ids)
        return token_ids, token_ids != self.special.pad

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids` up to their end, without the special tokens."""
        ids = list(token_ids)
        ids = ids[: ids.index(self.special.end)] if self.special.end in ids else ids
        return str(self._bpe.decode([token for token in ids if token not in self.special], skip_special_tokens=True)).strip()

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.context_length:
            return ids
        if not self._warned:
            self._warned = True
            warnings.warn(f"A text of {len(ids)} tokens is cut to the model's context of {self.context_length}.", stacklevel=4)
        return [*ids[: self.context_length - 1], self.special.end]

    def to_json(self) -> str:
        """The vocabulary and the merges, as `tokenizers` writes them."""
        return str(self._bpe.to_str())

    def save(self, path: Path) -> None:
        """Write what `load_tokenizer` reads."""
        self._bpe.save(str(path))


def load_tokenizer(path: Path, context_length: int) -> Tokenizer:
    """Read the JSON of a `tokenizers` BPE that `train_tokenizer` made. Raises CheckpointError where the file is none."""
    try:
        return Tokenizer(_Tokenizer.from_file(str(path)), context_length, SpecialTokens(0, 1, 2), clean_text)
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer ({error}). Expected the JSON of a tokenizers BPE.") from error


def clip_tokenizer(merges: Path, context_length: int) -> Tokenizer:
    """CLIP's 49,408 tokens (Radford et al. 2021, section 2.4), as open_clip's models read them.

    The vocabulary is the bytes, the bytes that end a word, one token for each merge, start and end. Padding is 0, which is
    also "!" inside a word: the published models were trained so.
    """
    pairs = [(one, other) for one, other in map(str.split, gzip.decompress(merges.read_bytes()).decode().splitlines())]
    letters = _bytes_in_clip_order()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(one + other for one, other in pairs), START, END]
    bpe = _Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=pairs, end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    return Tokenizer(bpe, context_length, SpecialTokens(0, len(words) - 2, len(words) - 1), clean_clip_text)


def _bytes_in_clip_order() -> list[str]:
    """The characters that stand for the 256 bytes: the printable ones for themselves and first, the others for U+0100 and on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in printable] + [chr(256 + i) for i in range(256 - len(printable))]


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
    return Tokenizer(bpe, context_length, SpecialTokens(0, 1, 2), clean_text)
