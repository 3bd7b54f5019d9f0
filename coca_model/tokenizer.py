"""Text to token ids and back, by byte-pair encoding (BPE): the tokenizer of the embedded checkpoint, and CLIP's.

Both work on bytes, so they can encode any text. Both use lower case, as in training.
"""

import gzip
import html
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as _Tokenizer

from coca_model.errors import CheckpointError

PAD, START, END = "<pad>", "<start>", "<end>"
TEXT_BATCH = 256  # texts that a model encodes at once
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class SpecialTokens(NamedTuple):
    """The token ids of padding, start and end of a sentence."""

    pad: int
    start: int
    end: int


def clean_text(text: str) -> str:
    """Lower case, single spaces, no space before punctuation, no full stop at the end, as in typed queries."""
    text = re.sub(r"\s+", " ", text.lower()).strip()
    return re.sub(r" ([.,!?;:'])", r"\1", text).rstrip(" .")


def clean_clip_text(text: str) -> str:
    """Clean like open_clip 3.3.0: repair encodings (ftfy), resolve HTML entities twice, single spaces, lower case."""
    import ftfy  # takes longer to import than a query to embed, and only CLIP needs it

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()


class Tokenizer:
    """A `tokenizers` BPE with the ids of its special tokens. `clean` prepares a text for tokenization, as in training."""

    def __init__(self, bpe: _Tokenizer, context_length: int, special: SpecialTokens, clean: Callable[[str], str]) -> None:
        self._bpe = bpe
        self._bpe.encode_special_tokens = True  # "<pad>" in a text means the letters, not the token
        self.context_length, self.special, self.clean = context_length, special, clean
        self._warned = False

    @property
    def vocabulary_size(self) -> int:
        """V, the number of tokens, including special ones."""
        return self._bpe.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Clean and tokenize texts -> token_ids int64 (B, T) and valid bool (B, T), False on padding to the longest text.

        Each text has a start and an end token. T is at most the context length. A longer text is truncated before its end token; the
        first one causes a warning.
        """
        if isinstance(texts, str):
            raise ValueError(f"This is a single text ({texts!r}). Pass a list of texts.")
        unicode = [text.encode("utf-8", "replace").decode() for text in texts]  # browsers may send half a surrogate pair
        encodings = self._bpe.encode_batch([self.clean(text) for text in unicode], add_special_tokens=False)
        rows = [self._truncated([self.special.start, *encoding.ids, self.special.end]) for encoding in encodings]
        length = max(map(len, rows), default=2)
        padded = [row + [self.special.pad] * (length - len(row)) for row in rows]
        token_ids = np.array(padded, np.int64).reshape(len(rows), length)
        return token_ids, token_ids != self.special.pad

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids` up to the end token, without special tokens."""
        sentence = takewhile(lambda token: token != self.special.end, token_ids)
        return str(self._bpe.decode([token for token in sentence if token not in self.special], skip_special_tokens=True)).strip()

    def _truncated(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.context_length:
            return ids
        if not self._warned:
            self._warned = True
            warnings.warn(f"A text of {len(ids)} tokens is cut to the model's context of {self.context_length}.", stacklevel=4)
        return [*ids[: self.context_length - 1], self.special.end]

    def save(self, path: Path) -> None:
        """Write the file that `load_tokenizer` reads."""
        self._bpe.save(str(path))


def batches_by_length(
    token_ids: NDArray[np.int64], valid: NDArray[np.bool_], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Texts of similar length together, so that little is computed for padding: at most `size` row numbers, their ids and valid (B, T).

    At least one batch; it is empty if there are no texts.
    """
    lengths = (valid * np.arange(1, valid.shape[1] + 1)).max(1)  # not a sum, because CLIP's "!" is its padding
    order = lengths.argsort(kind="stable")
    for start in range(0, max(1, len(order)), size):
        rows = order[start : start + size]
        longest = int(lengths[rows].max(initial=2))
        yield rows, token_ids[rows, :longest], valid[rows, :longest]


def load_tokenizer(path: Path, context_length: int) -> Tokenizer:
    """Read the JSON of a BPE from `train_tokenizer`. Raises CheckpointError if the file is not a tokenizer."""
    try:
        return Tokenizer(_Tokenizer.from_file(str(path)), context_length, SpecialTokens(0, 1, 2), clean_text)
    except Exception as error:  # tokenizers raises bare Exception
        raise CheckpointError(f"{path}: not a tokenizer ({error}). Expected the JSON of a tokenizers BPE.") from error


def clip_tokenizer(merges: Path, context_length: int) -> Tokenizer:
    """CLIP's tokenizer with 49,408 tokens (Radford et al. 2021, section 2.4), as open_clip's models use it.

    The vocabulary consists of the bytes, the bytes at the end of a word, one token for each merge, start and end. The id of padding
    is 0, which is also the id of "!" inside a word, because the published models were trained this way.
    """
    bpe = _clip_bpe(merges)
    size = bpe.get_vocab_size()
    return Tokenizer(bpe, context_length, SpecialTokens(0, size - 2, size - 1), clean_clip_text)


@cache
def _clip_bpe(merges: Path) -> _Tokenizer:
    pairs = [(one, other) for one, other in map(str.split, gzip.decompress(merges.read_bytes()).decode().splitlines())]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # one for each byte
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(one + other for one, other in pairs), START, END]
    bpe = _Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs, end_of_word_suffix="</w>"))
    split_words = pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split_words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    return bpe


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int, context_length: int) -> Tokenizer:
    """Learn a byte-level BPE of `vocabulary_size` tokens from `texts` (Sennrich et al. 2016)."""
    bpe = _Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), [PAD, START, END]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(texts, trainer)
    return Tokenizer(bpe, context_length, SpecialTokens(0, 1, 2), clean_text)
