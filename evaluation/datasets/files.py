"""Files of data sets, read so that an error names the file and the record."""

import csv
import io
import json
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from evaluation.datasets.dataset import CaptionedMedia, Medium
from evaluation.errors import DatasetError
from indexer.scan import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaType

Value = TypeVar("Value")
Key = TypeVar("Key", bound=Hashable)


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


def read_json(path: Path) -> Any:
    """A JSON document. Raises DatasetError that says where it breaks."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}: malformed JSON at line {error.lineno}, column {error.colno} ({error.msg}).") from error
    except RecursionError:
        raise DatasetError(f"{path}: malformed JSON (nested too deeply).") from None
    except ValueError as error:  # a number of thousands of digits
        raise DatasetError(f"{path}: malformed JSON ({error}).") from error


def read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header that has at least `columns`: the record's name for messages, and its fields."""
    # Not str.splitlines, which also breaks a line at U+2028, U+0085 and form feeds inside a text.
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True, skipinitialspace=True)
    try:
        found = [column.strip() for column in rows.fieldnames or []]
        if lacking := [column for column in columns if column not in found]:
            there = ", ".join(found) or "nothing"
            raise DatasetError(f"{path}: line 1: no column {', '.join(lacking)} (found: {there}). Name the columns in the first line.")
        if twice := [column for column in columns if found.count(column) > 1]:
            raise DatasetError(f"{path}: line 1: the column {twice[0]} is there twice (found: {', '.join(found)}). Leave one.")
        rows.fieldnames = found
        for row in rows:
            record = f"{path}: line {rows.line_num}"
            if None in row or None in row.values():
                raise DatasetError(f"{record}: not as many fields as the first line has ({len(found)}). Quote fields that hold a comma.")
            yield record, {column: str(value).strip() for column, value in row.items()}
    except csv.Error as error:
        raise DatasetError(f"{path}: line {rows.reader.line_num}: malformed CSV ({error}).") from error


def get(record: Any, key: str, kind: type[Value] | tuple[type[Value], ...], where: str) -> Value:
    """The value of `key` in a JSON object. Raises DatasetError where there is none or it is of another kind."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = " or ".join(
        {"str": "text", "int": "a whole number", "list": "a list", "dict": "an object"}.get(k.__name__, k.__name__) for k in kinds
    )
    if not isinstance(record, dict):
        raise DatasetError(f"{where}: not an object ({record!r:.60}). Expected one with {key!r}.")
    if key not in record:
        raise DatasetError(f"{where}: {key!r} is missing (found: {', '.join(map(str, record))[:120]}). Expected {names}.")
    value = record[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise DatasetError(f"{where}: {key!r} is {value!r:.60}. Expected {names}.")
    return value


class Unique:
    """Refuses a second record with the same id."""

    def __init__(self, what: str) -> None:
        self._what, self._first = what, dict[object, str]()

    def add(self, value: object, where: str) -> None:
        """Raises DatasetError where `value` was there before, naming both records."""
        if value in self._first:
            raise DatasetError(f"{where}: the {self._what} {value!r} is there twice (first in {self._first[value]}).")
        self._first[value] = where


class MediaFolder:
    """The folder of the pictures or videos that annotations speak of, by name with or without an ending."""

    def __init__(self, folder: Path, *, allow_missing: bool = False) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder. Pass the one that holds the pictures or videos with --media.")
        self.folder, self.missing = folder, list[str]()
        self._allow_missing = allow_missing
        self._by_stem: dict[MediaType, dict[str, list[Path]]] = {}

    @classmethod
    def of(cls, annotations: Path, folder: Path | None, *, allow_missing: bool = False) -> "MediaFolder":
        """`folder`, or the one that the annotations lie in. Raises DatasetError."""
        if not annotations.exists():  # else a mistyped path would be blamed on the folder
            raise DatasetError(f"{annotations}: no such file. Pass the annotations of the data set.")
        return cls(annotations.parent if folder is None else folder, allow_missing=allow_missing)

    def find(self, name: str, kind: MediaType, record: str, *, inside: str = "", exact: bool = False) -> Medium | None:
        """The medium called `name`, in the subfolder `inside` or not; None where it is missing and that is allowed.

        Unless `exact`, a name without a folder is looked for anywhere below this one: as it is, or, where it is a video that may
        have been encoded anew, or has no ending, with any ending. Raises DatasetError that names the record.
        """
        for candidate in (self.folder / inside / name, self.folder / name):
            if os.path.isfile(candidate):  # noqa: PTH113 Path.is_file raises where a name is too long
                return Medium(name, candidate, kind, record)
        found = [] if exact or Path(name).name != name else self._elsewhere(name, kind)
        if len(found) > 1:
            some = ", ".join(str(path.relative_to(self.folder)) for path in found[:3])
            raise DatasetError(f"{record}: {name!r} may be any of {len(found)} files ({some}). Leave one of them below {self.folder}.")
        if found:
            return Medium(name, found[0], kind, record)
        if not self._allow_missing:
            raise DatasetError(
                f"{record}: the {'picture' if kind == 'image' else 'video'} {name!r} is not in {self.folder}. "
                "Pass its folder with --media, or --allow-missing to leave such records out."
            )
        self.missing.append(f"{record}: {name!r} is missing.")
        return None

    def _elsewhere(self, name: str, kind: MediaType) -> list[Path]:
        ending = Path(name).suffix.lower()
        stem = Path(name).stem if ending in IMAGE_SUFFIXES | VIDEO_SUFFIXES else name
        found = self._stems(kind).get(stem, [])
        itself = [path for path in found if path.name == name]
        return itself if itself or ending in IMAGE_SUFFIXES else found

    def _stems(self, kind: MediaType) -> dict[str, list[Path]]:
        if kind not in self._by_stem:
            endings, stems = IMAGE_SUFFIXES if kind == "image" else VIDEO_SUFFIXES, dict[str, list[Path]]()
            for file in sorted(file for file in self.folder.rglob("*") if file.suffix.lower() in endings):
                if any(part.startswith(".") for part in file.relative_to(self.folder).parts):
                    continue  # as the indexer does
                stems.setdefault(file.stem, []).append(file)
            self._by_stem[kind] = stems
        return self._by_stem[kind]


def check_split(split: str, there: Collection[str], file: Path) -> None:
    """Raises DatasetError where the data set has no such split."""
    if split not in there:
        raise DatasetError(f"{file}: no such split ({split!r}). Splits there: {', '.join(sorted(there)) or 'none'}.")


def captioned(
    title: str,
    media: Mapping[Key, Medium | None],
    captions: Iterable[tuple[Key, str, str]],
    missing: Iterable[str] = (),
) -> CaptionedMedia:
    """Joins media by key (None: left out) with captions (key, text, record).

    A text without a word asks for nothing: it is left out and counted, and its medium stays. Raises DatasetError.
    """
    there = [key for key, medium in media.items() if medium is not None]
    place = {key: number for number, key in enumerate(there)}
    texts, owners, left_out = list[str](), list[tuple[int, ...]](), list(missing)
    for key, text, record in captions:
        if key not in place:
            continue
        if not text.strip():
            left_out.append(f"{record}: an empty text")
            continue
        texts.append(check_text(text, record))
        owners.append((place[key],))
    return CaptionedMedia(title, tuple(medium for medium in media.values() if medium), tuple(texts), tuple(owners), tuple(left_out))


def check_text(text: str, record: str) -> str:
    """The text. Raises DatasetError where it holds half a character, which JSON can say and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"{record}: the text is not valid Unicode ({error.reason} at character {error.start}).") from error
    return text


def each(values: list[Any], where: Callable[[int], str]) -> Iterator[tuple[str, Any]]:
    """The entries of a JSON list with the name of each for messages."""
    for number, value in enumerate(values):
        yield where(number), value
