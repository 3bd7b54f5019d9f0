"""Text in filters: compared without regard to case and to the Unicode form, and by LIKE."""

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LONG_RUN = re.compile(r"(?<![^\x00-\x7f])[^\x00-\x7f]{1000,}")


def fold(text: str) -> str:
    """The form in which texts are compared. NFC alone would find no `GRÜSSE` for `Grüße`, and case alone no NFD names of a Mac."""
    return text.lower() if text.isascii() else _nfc(_nfc(text).casefold())


def _nfc(text: str) -> str:
    """Python sorts the combining marks of a letter by insertion: 100,000 of them take 8 s. So those of a long run are sorted before."""
    return unicodedata.normalize("NFC", _LONG_RUN.sub(_sorted, text))


def _sorted(found: re.Match[str]) -> str:
    letters = "".join(unicodedata.normalize("NFD", letter) for letter in found[0])
    runs = groupby(letters, lambda letter: unicodedata.combining(letter) > 0)
    return "".join("".join(sorted(run, key=unicodedata.combining) if are_marks else run) for are_marks, run in runs)


def folded(values: pa.Array) -> pa.Array:
    """Folded texts. Only those that are not ASCII are folded in Python."""
    lower = pc.ascii_lower(values)
    other = pc.fill_null(pc.invert(pc.string_is_ascii(values)), False)
    if not pc.any(other).as_py():
        return lower
    texts = [fold(text) for text in values.filter(other).to_pylist()]
    return pc.replace_with_mask(lower, other, pa.array(texts, lower.type))


def like(pattern: str, escape_character: str) -> tuple[Callable[[pa.Array], pa.Array], int]:
    """A test of folded texts by a LIKE pattern, and its number of wildcards. Raises ValueError if nothing follows the last escape."""
    parts: list[str] = []  # texts at even positions, runs of wildcards at odd ones
    text, num_wildcards, position = "", 0, 0
    while position < len(pattern):
        letter = pattern[position]
        if letter == escape_character:
            position += 1
            if position == len(pattern):
                raise ValueError(pattern)
            text += pattern[position]
        elif letter in "%_":
            num_wildcards += 1
            if text or not parts:
                parts += [fold(text), letter]
            elif not (letter == "%" and parts[-1].endswith("%")):
                parts[-1] += letter
            text = ""
        else:
            text += letter
        position += 1
    parts.append(fold(text))
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return lambda values: pc.equal(values, pa.scalar(first, values.type)), 0
    if len(parts) == 3 and parts[1] == "%" and not (first and last):
        chosen = pc.starts_with if first or not last else pc.ends_with
        return lambda values: chosen(values, first or last), num_wildcards
    if len(parts) == 5 and parts[1] == parts[3] == "%" and not first and not last:
        return lambda values: pc.match_substring(values, parts[2]), num_wildcards
    runs = "".join(_regex(part) if number % 2 else _quoted(part) for number, part in enumerate(parts))
    return lambda values: pc.match_substring_regex(values, rf"(?s)\A{runs}\z"), num_wildcards


def _quoted(text: str) -> str:
    return re.sub(r"([^\w\s]|_)", r"\\\1", text, flags=re.ASCII) if text.isascii() else re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def _regex(run: str) -> str:
    return run.replace("_", ".").replace("%", ".*")


def any_of(mask: pa.Array, lists: pa.ListArray) -> pa.Array:
    """Whether any element of each list is true in `mask`, which has a value for each element. Null for a null list."""
    offsets = lists.offsets.to_numpy()
    counts = np.concatenate([[0], np.cumsum(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))])
    found = counts[offsets[1:] - offsets[0]] > counts[offsets[:-1] - offsets[0]]
    return pa.array(found, mask=pc.is_null(lists).to_numpy(zero_copy_only=False))
