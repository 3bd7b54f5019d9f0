"""Text in filters: compared without regard to case and to the Unicode form, and by LIKE."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from media.file_names import escape
from search.filters.bits import numbers
from search.filters.bits import texts as array_of

_SEPARATOR = "\0"  # changes no text beside it, and is in hardly any
_BYTES = 1 << 18  # folded at once
_FEW = 4  # so many are looked for one by one
_LONG_RUN = re.compile(r"(?<![^\x00-\x7f])[^\x00-\x7f]{1000,}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def fold(text: str) -> str:
    """The form in which texts are compared. NFC alone would find no `GRÜSSE` for `Grüße`, and case alone no NFD names of a Mac.

    A file name as Python shows it, with lone surrogates for bytes that are not UTF-8, becomes what a collection stores.
    """
    return _fold(escape(text) if _SURROGATE.search(text) else text)


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else _nfc(_nfc(text).casefold())


def _nfc(text: str) -> str:
    """Python sorts the combining marks of a letter by insertion: 100,000 of them take 8 s. So those of a long run are sorted before."""
    return unicodedata.normalize("NFC", _LONG_RUN.sub(_sorted, text))


def _sorted(found: re.Match[str]) -> str:
    letters = "".join(unicodedata.normalize("NFD", letter) for letter in found[0])
    runs = groupby(letters, lambda letter: unicodedata.combining(letter) > 0)
    return "".join("".join(sorted(run, key=unicodedata.combining) if are_marks else run) for are_marks, run in runs)


def folded(values: pa.Array) -> pa.Array:
    """Folded texts. Python folds those that are not ASCII, many at once."""
    lower = pc.ascii_lower(values)
    other = pc.invert(pc.string_is_ascii(values))
    texts = values.filter(other)
    if not len(texts):
        return lower
    step = max(1, _BYTES * len(texts) // max(1, texts.nbytes))
    parts = [_folded(texts.slice(start, step)).cast(lower.type) for start in range(0, len(texts), step)]
    return pc.replace_with_mask(lower, other, pa.concat_arrays(parts))


def _folded(texts: pa.Array) -> pa.Array:
    """Joins the texts, folds once, and splits: a call of Python for each text takes three times as long."""
    large = pa.large_string()
    together = pa.ListArray.from_arrays(numbers(np.array([0, len(texts)], np.int32)), texts.cast(large))
    whole = pc.binary_join(together, array_of([_SEPARATOR], large)[0])[0].as_py()
    found = pc.split_pattern(array_of([_fold(whole)], large), _SEPARATOR).values
    return found if len(found) == len(texts) else array_of([_fold(text) for text in texts.to_pylist()], large)


@dataclass(frozen=True)
class Pattern:
    """A LIKE pattern, as the fastest test of a folded text that there is for it.

    Attributes:
        test: how `text` is looked for; if "regex", it is a regular expression.
        num_wildcards: how many % and _ it has.
    """

    test: Literal["equal", "prefix", "suffix", "inside", "regex"]
    text: str
    num_wildcards: int

    @property
    def work(self) -> float:
        """Milliseconds for 100,000 texts of 80 characters."""
        return 16.0 if self.test == "regex" else 0.6

    def matches(self, values: pa.Array) -> pa.BooleanArray:
        match self.test:
            case "equal":
                return equal_any(values, [self.text])
            case "inside":
                return contain_any(values, [self.text])
            case "prefix":
                return pc.starts_with(values, self.text)
            case "suffix":
                return pc.ends_with(values, self.text)
        return pc.match_substring_regex(values, self.text)


def equal_any(values: pa.Array, texts: Collection[str]) -> pa.BooleanArray:
    """Whether each value is one of the texts."""
    if len(texts) > _FEW:
        return pc.is_in(values, array_of(texts, values.type), skip_nulls=True)
    return reduce(pc.or_, (pc.equal(values, each) for each in array_of(texts, values.type)))


def contain_any(values: pa.Array, texts: Collection[str]) -> pa.BooleanArray:
    """Whether each value contains any of the texts. An expression of many takes as long as that of one."""
    if len(texts) == 1:
        return pc.match_substring(values, next(iter(texts)))
    return pc.match_substring_regex(values, "|".join(sorted(map(_quoted, texts))))


def pattern_of(pattern: str, escape_character: str) -> Pattern:
    """Raises ValueError if nothing follows the last escape."""
    texts, runs = _divided(pattern, escape_character)
    num_wildcards = sum(map(len, runs))
    first, last = texts[0], texts[-1]
    if not runs:
        return Pattern("equal", first, 0)
    if all(set(run) == {"%"} for run in runs):
        if len(runs) == 1 and not last:
            return Pattern("prefix", first, num_wildcards)
        if len(runs) == 1 and not first:
            return Pattern("suffix", last, num_wildcards)
        if len(runs) == 2 and not first and not last:
            return Pattern("inside", texts[1], num_wildcards)
    # Without \A.* and .*\z the search can end early, and is twice as fast.
    starts, ends = bool(first) or "%" not in runs[0], bool(last) or "%" not in runs[-1]
    parts = [_quoted(texts[0])]
    for position, (run, text) in enumerate(zip(runs, texts[1:], strict=True)):
        is_open = (position == 0 and not starts) or (position == len(runs) - 1 and not ends)
        parts += ["." * run.count("_"), "" if is_open or "%" not in run else ".*", _quoted(text)]
    return Pattern("regex", "(?s)" + r"\A" * starts + "".join(parts) + r"\z" * ends, num_wildcards)


def _divided(pattern: str, escape_character: str) -> tuple[list[str], list[str]]:
    """The folded texts of a pattern, and the runs of wildcards between them."""
    texts, runs = [""], list[str]()
    letters = iter(pattern)
    for letter in letters:
        if letter == escape_character:
            following = next(letters, None)
            if following is None:
                raise ValueError(pattern)
            texts[-1] += following
        elif letter not in "%_":
            texts[-1] += letter
        elif runs and not texts[-1]:
            runs[-1] += letter
        else:
            runs.append(letter)
            texts.append("")
    return [fold(text) for text in texts], runs


def _quoted(text: str) -> str:
    return re.sub(r"([^\w\s]|_)", r"\\\1", text, flags=re.ASCII) if text.isascii() else re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
