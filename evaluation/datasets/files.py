"""Reads text, JSON and CSV files. Every error names the file and the record."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

from evaluation.errors import DatasetError

Value = TypeVar("Value")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TYPE_NAMES = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark. Raises DatasetError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file. Pass the annotations of the data set.") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path}: not UTF-8 text (line {line}). Save the file as UTF-8.") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty: name of the record for messages, and stripped text."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if text := line.strip():
            yield f"{path}: line {number}", text


def first_line(path: Path) -> str:
    """The first line of a text file. Raises DatasetError."""
    return read_text(path).split("\n", 1)[0]


def read_json(path: Path, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """A JSON document; `object_pairs_hook` as in `json.loads`. Raises DatasetError with the line of the fault."""
    try:
        return json.loads(read_text(path), object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: malformed JSON at line {error.lineno}, column {error.colno} ({error.msg}).") from error
    except RecursionError:
        raise DatasetError(f"{path}: malformed JSON (nested too deeply).") from None
    except ValueError as error:  # a number of thousands of digits
        raise DatasetError(f"{path}: malformed JSON ({error}).") from error


def read_csv(
    path: Path, columns: tuple[str, ...], *, header: bool = True, filled: tuple[str, ...] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file: name of the record for messages, and fields by column.

    The first line must name `columns`. Without a `header`, each line has exactly these fields. The columns `filled` must not be
    empty. Raises DatasetError.
    """
    # StringIO, because str.splitlines also breaks a line at U+2028, U+0085 and form feeds inside a field.
    lines = io.StringIO(read_text(path), newline="")
    rows = csv.DictReader(lines, None if header else columns, strict=True, skipinitialspace=True)
    try:
        found = rows.fieldnames = [column.strip() for column in rows.fieldnames or []]
        names = ", ".join(found) or "nothing"
        if lacking := [column for column in columns if column not in found]:
            raise DatasetError(f"{path}: line 1: no column {', '.join(lacking)} (found: {names}). Name the columns in the first line.")
        if twice := [column for column in columns if found.count(column) > 1]:
            raise DatasetError(f"{path}: line 1: the column {twice[0]} appears twice (found: {names}). Keep one.")
        for row in rows:
            record = f"{path}: line {rows.line_num}"
            if None in row or None in row.values():
                raise DatasetError(f"{record}: not as many fields as columns ({len(found)}: {names:.80}). Quote fields that hold a comma.")
            fields = {column: value.strip() for column, value in row.items()}
            if empty := [column for column in filled if not fields[column]]:
                raise DatasetError(f"{record}: the {empty[0]} is empty. Each line needs: {', '.join(filled)}.")
            yield record, fields
    except csv.Error as error:
        raise DatasetError(f"{path}: line {rows.reader.line_num}: malformed CSV ({error}).") from error


def get(record: Any, key: str, kind: type[Value] | tuple[type[Value], ...], where: str) -> Value:
    """The value of `key` in a JSON object. Raises DatasetError if it is missing or of another type."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    expected = " or ".join(_TYPE_NAMES[each] for each in kinds)
    if not isinstance(record, dict):
        raise DatasetError(f"{where}: not an object ({record!r:.60}). Expected one with {key!r}.")
    if key not in record:
        raise DatasetError(f"{where}: {key!r} is missing (found: {', '.join(map(str, record))[:120]}). Expected {expected}.")
    value = record[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise DatasetError(f"{where}: {key!r} is {value!r:.60}. Expected {expected}.")
    return value


def entries(record: Any, key: str, where: str, separator: str = ": ") -> Iterator[tuple[str, Any]]:
    """The items of the list `key` in a JSON object, each with its name for messages: `set.json: images[3]`. Raises DatasetError."""
    for number, value in enumerate(get(record, key, list, where)):
        yield f"{where}{separator}{key}[{number}]", value


class Unique:
    """Rejects a second record with the same id."""

    def __init__(self, what: str) -> None:
        self._what, self._first = what, dict[object, str]()

    def __contains__(self, value: object) -> bool:
        return value in self._first

    def add(self, value: object, where: str) -> None:
        """Raises DatasetError with both records if `value` was added before."""
        if value in self._first:
            raise DatasetError(f"{where}: the {self._what} {value!r} appears twice (first in {self._first[value]}).")
        self._first[value] = where


def check_split(split: str, known: Collection[str], file: Path) -> None:
    """Raises DatasetError if the data set has no such split."""
    if split not in known:
        raise DatasetError(f"{file}: no such split ({split!r}). Splits in this file: {', '.join(sorted(known)) or 'none'}.")


def read_seconds(text: str, where: str, *, limit: float = math.inf) -> float:
    """A time from 0 to below `limit`. Raises DatasetError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < limit:
        raise DatasetError(f"{where}: not a time ({text!r:.60}). Expected seconds from the start of the video, such as 24.3.")
    return seconds


def is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogates, which JSON and file names may hold."""
    return _SURROGATE.search(text) is None


def check_text(text: str, record: str) -> str:
    """The text. Raises DatasetError if it holds a lone surrogate, which no tokenizer takes."""
    if surrogate := _SURROGATE.search(text):
        raise DatasetError(f"{record}: the text is not valid Unicode (surrogates not allowed at character {surrogate.start()}).")
    return text
