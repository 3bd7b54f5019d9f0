"""Reads captioned pictures from a folder, with a captions.csv in it or a .txt file beside each picture."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from evaluation.datasets.files import read_text
from evaluation.errors import DatasetError
from media.formats import suffixes
from training.errors import TrainingError
from training.examples.example import Example, Examples, Skipped, printable, read_span, split_or_reason, usable_texts

_CAPTIONS = "captions.csv"
_LINKED = "a link to a folder, which is not followed; pass that folder as well"
_NEEDED = "Needed in the first line, separated by commas: path, caption; optional: split"


@dataclass
class _Files:
    """The files below a folder in a fixed order, and what cannot be used.

    `pictures` and `texts` map the `_key` of a path, for texts without its suffix, to the path relative to the folder.
    """

    folder: Path
    pictures: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass
class _Captioned:
    split: str
    texts: list[str] = field(default_factory=list)


def read_folder(folder: Path, *, name: str) -> Examples:
    """Read the pictures below a folder with their captions. Hidden files are ignored.

    If the folder has a captions.csv, only that counts. Its columns are `path` (relative to the folder), `caption` and
    optionally `split`; a picture may have several rows. Otherwise each line of `lake.txt` or `lake.jpg.txt` is a caption of `lake.jpg`.

    Raises:
        TrainingError: captions.csv cannot be read or lacks a column.
    """
    table = folder / _CAPTIONS
    files = _walk(folder, name, links=not table.is_file())
    found, missing = _of_csv(table, files, name) if table.is_file() else _of_sidecars(files, name)
    examples = (
        Example(f"{name}/{path}", name, row.split, "caption", tuple(row.texts), partial(read_span, folder / path))
        for path, row in found.items()
    )
    return Examples(tuple(examples), (*files.skipped, *missing))


def _walk(folder: Path, name: str, *, links: bool) -> _Files:
    """List the files below a folder. With `links`, also report links to folders elsewhere; they are never followed."""
    files = _Files(folder)

    def unlisted(error: OSError) -> None:
        files.skipped.append(Skipped(printable(str(error.filename)), f"the folder cannot be listed ({error.strerror})"))

    for parent, folders, names in os.walk(folder, onerror=unlisted):
        folders[:] = sorted(inside for inside in folders if not inside.startswith("."))
        linked = [path for path in (Path(parent, inside) for inside in folders if links) if _leads_out(path, folder)]
        files.skipped += [Skipped(f"{name}/{printable(path.relative_to(folder).as_posix())}", _LINKED) for path in linked]
        for file in sorted(inside for inside in names if not inside.startswith(".")):
            path = Path(os.path.relpath(os.path.join(parent, file), folder)).as_posix()  # noqa: PTH118 faster than Path
            stem, suffix = os.path.splitext(path)  # noqa: PTH122 Path finds no suffix in ".jpg"
            if suffix.lower() in suffixes("image"):
                _add(path, files.pictures, path, files, name)
            elif suffix.lower() == ".txt":
                _add(path, files.texts, stem, files, name)
    return files


def _leads_out(path: Path, folder: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _add(path: str, to: dict[str, str], key: str, files: _Files, name: str) -> None:
    """Add a path under `_key(key)`, or record why it is skipped."""
    if not usable_texts([path]):
        files.skipped.append(Skipped(f"{name}/{printable(path)}", "the file's name is not valid UTF-8; rename it"))
    elif other := to.get(_key(key)):
        files.skipped.append(Skipped(f"{name}/{path}", f"its name differs from that of another file only in Unicode form ({other!r})"))
    elif not _is_file(files.folder / path):
        files.skipped.append(Skipped(f"{name}/{path}", "an empty or unreadable file"))
    else:
        to[_key(key)] = path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # gone, or the name is too long
        return False


def _key(path: str) -> str:
    """The path in Unicode form NFC, in which an accented letter is one character."""
    return unicodedata.normalize("NFC", path)


def _of_csv(table: Path, files: _Files, name: str) -> tuple[dict[str, _Captioned], list[Skipped]]:
    found, skipped, named = dict[str, _Captioned](), list[Skipped](), set[str]()
    for line, row in _rows(table):
        where = f"{name}/{_CAPTIONS} line {line}"
        if isinstance(row, str):
            skipped.append(Skipped(where, row))
            continue
        path, reason = _path(row["path"], files)
        named.add(path)
        texts = usable_texts([row["caption"]])
        split, unusable = split_or_reason(row.get("split"))
        if not reason and not texts:
            reason = f"no caption for {row['path']!r}"
        if reason := reason or unusable:
            skipped.append(Skipped(where, reason))
        elif (before := found.setdefault(path, _Captioned(split))).split != split:
            skipped.append(Skipped(where, f"{row['path']!r} is in two splits ({before.split} before, {split} here). The first counts"))
        else:
            before.texts += texts
    unnamed = (path for path in files.pictures.values() if path not in named)
    return found, skipped + [Skipped(f"{name}/{path}", f"no caption: {_CAPTIONS} does not list it") for path in unnamed]


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """For each row the line where it begins, and its fields or the reason to skip it.

    Not `evaluation.datasets.files.read_csv`, which refuses a file with a bad row. Training continues without the row.
    """
    try:
        # Not str.splitlines, which also splits at U+2028, U+0085 and form feeds inside a text.
        rows = csv.reader(io.StringIO(read_text(table), newline=""), strict=True, skipinitialspace=True)
    except DatasetError as error:
        raise TrainingError(str(error)) from error
    header = _next(rows)
    columns = [column.strip().lower() for column in header] if isinstance(header, list) else []
    if lacking := [column for column in ("path", "caption") if columns.count(column) != 1]:
        listed = ", ".join(columns) or "nothing"
        raise TrainingError(f"{table}: line 1: the column {lacking[0]} is missing or repeated (found: {listed:.120}). {_NEEDED}.")
    line = rows.line_num + 1
    while (row := _next(rows)) is not None:
        if isinstance(row, str):
            yield line, f"{row}; everything up to line {rows.line_num} is skipped"
        elif row and len(row) != len(columns):
            yield line, f"{len(row)} fields, but the first line has {len(columns)}. Quote fields that contain a comma"
        elif row:
            yield line, {column: value.strip() for column, value in zip(columns, row, strict=True)}
        line = rows.line_num + 1


def _next(rows: Iterator[list[str]]) -> list[str] | str | None:
    """The next row, or the reason why it cannot be read, or None at the end."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return f"malformed CSV ({error})"


def _path(path: str, files: _Files) -> tuple[str, str]:
    """The path of a picture relative to the folder, spelled as on the disk, and the reason to skip it, or ""."""
    if not path:
        return "", "no path"
    plain = Path(os.path.relpath(files.folder / path, files.folder)).as_posix()
    plain = files.pictures.get(_key(plain), plain)
    if Path(plain).suffix.lower() not in suffixes("image"):
        return plain, f"not a picture ({path!r}). Known: {' '.join(sorted(suffixes('image')))}"
    return plain, "" if _is_file(files.folder / plain) else f"no such picture ({path!r}), or an empty file"


def _of_sidecars(files: _Files, name: str) -> tuple[dict[str, _Captioned], list[Skipped]]:
    found, skipped, used = dict[str, _Captioned](), list[Skipped](), set[str]()
    for key, path in files.pictures.items():
        stem = os.path.splitext(key)[0]  # noqa: PTH122 as above
        beside = [files.texts[text] for text in (key, stem) if text in files.texts]
        used.update(beside)
        texts, reason = _lines([files.folder / text for text in beside])
        if texts:
            found[path] = _Captioned("train", texts)
        else:
            skipped.append(Skipped(f"{name}/{path}", f"no caption: {reason or f'no {Path(stem).name}.txt with text beside it'}"))
    unused = (path for path in files.texts.values() if path not in used)
    return found, skipped + [Skipped(f"{name}/{path}", "a text without a picture beside it") for path in unused]


def _lines(files: list[Path]) -> tuple[list[str], str]:
    """The lines with text, and the reasons why files could not be read."""
    texts, reasons = list[str](), list[str]()
    for file in files:
        try:
            texts += usable_texts(read_text(file).split("\n"))
        except DatasetError as error:
            reasons.append(str(error))
    return texts, " ".join(reasons)
