"""Captioned pictures in a folder: with a captions.csv in it, or with a .txt file beside each picture."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from evaluation.errors import DatasetError
from evaluation.records import read_text
from indexer.scan import IMAGE_SUFFIXES
from training.errors import TrainingError
from training.examples.example import Example, Examples, Skipped, printable, read_span, split_or_reason, usable_texts

CAPTIONS = "captions.csv"
_LINKED = "a link to a folder, which is not followed; give that folder as well"
_NEEDED = "Needed: path and caption in the first line, with commas between; optional: split"


@dataclass
class _Files:
    """What lies below a folder: paths from there by `_key`, texts without their ending, in a fixed order; and what cannot be used."""

    folder: Path
    pictures: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)


@dataclass
class _Captioned:
    split: str
    texts: list[str] = field(default_factory=list)


def read_folder(folder: Path, *, name: str) -> Examples:
    """The pictures below a folder with their captions; what is hidden is left out.

    A captions.csv with the columns `path` (from the folder) and `caption`, and perhaps `split`, counts alone where it is there; a
    picture may be in several rows. Else each line of `holiday.txt` or `holiday.jpg.txt` is a caption of `holiday.jpg`.
    Raises TrainingError where captions.csv cannot be read or lacks a column.
    """
    table = folder / CAPTIONS
    files = _walk(folder, name, links=not table.is_file())
    found, missing = _of_csv(table, files, name) if table.is_file() else _of_sidecars(files, name)
    examples = (
        Example(f"{name}/{path}", name, its.split, "caption", tuple(its.texts), partial(read_span, folder / path))
        for path, its in found.items()
    )
    return Examples(tuple(examples), (*files.skipped, *missing))


def _walk(folder: Path, name: str, *, links: bool) -> _Files:
    """What lies below a folder; links to folders elsewhere, which only a captions.csv leads through, are named where `links`."""
    files = _Files(folder)

    def unlisted(error: OSError) -> None:
        files.skipped.append(Skipped(printable(str(error.filename)), f"the folder cannot be listed ({error.strerror})"))

    for place, folders, names in os.walk(folder, onerror=unlisted):
        folders[:] = sorted(inside for inside in folders if not inside.startswith("."))
        linked = [path for path in (Path(place, inside) for inside in folders if links) if _leads_out(path, folder)]
        files.skipped += [Skipped(f"{name}/{printable(path.relative_to(folder).as_posix())}", _LINKED) for path in linked]
        for file in sorted(inside for inside in names if not inside.startswith(".")):
            path = Path(os.path.relpath(os.path.join(place, file), folder)).as_posix()  # noqa: PTH118 as scan.py does
            stem, suffix = os.path.splitext(path)  # noqa: PTH122 Path finds no ending in ".jpg"
            if suffix.lower() in IMAGE_SUFFIXES:
                _add(path, path, files.pictures, files, name)
            elif suffix.lower() == ".txt":
                _add(stem, path, files.texts, files, name)
    return files


def _leads_out(path: Path, folder: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _add(called: str, path: str, to: dict[str, str], files: _Files, name: str) -> None:
    if not usable_texts([path]):
        files.skipped.append(Skipped(f"{name}/{printable(path)}", "the file's name is not valid UTF-8; rename it"))
    elif other := to.get(_key(called)):
        files.skipped.append(Skipped(f"{name}/{path}", f"its name is that of another file, but for how it is written ({other!r})"))
    elif not _is_file(files.folder / path):
        files.skipped.append(Skipped(f"{name}/{path}", "an empty file, or none that can be read"))
    else:
        to[_key(called)] = path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # gone, or a name that is too long
        return False


def _key(path: str) -> str:
    """One spelling of a path: accents as one character, whichever way they were typed."""
    return unicodedata.normalize("NFC", path)


# --- captions.csv -------------------------------------------------------------------------------------------------------


def _of_csv(table: Path, files: _Files, name: str) -> tuple[dict[str, _Captioned], list[Skipped]]:
    found, skipped, named = dict[str, _Captioned](), list[Skipped](), set[str]()
    for line, row in _rows(table):
        where = f"{name}/{CAPTIONS} line {line}"
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
        elif (its := found.setdefault(path, _Captioned(split))).split != split:
            skipped.append(Skipped(where, f"{row['path']!r} is in two splits ({its.split} before, {split} here). The first counts"))
        else:
            its.texts += texts
    unnamed = (path for path in files.pictures.values() if path not in named)
    return found, skipped + [Skipped(f"{name}/{path}", f"no caption: {CAPTIONS} does not name it") for path in unnamed]


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """The line on which each row begins, and its fields, or why it has to be left out.

    `evaluation.records.read_csv` refuses a file with one bad row, as a measurement must; training goes on without the row.
    """
    try:
        # Not str.splitlines, which also breaks a line at U+2028, U+0085 and form feeds inside a text.
        rows = csv.reader(io.StringIO(read_text(table), newline=""), strict=True, skipinitialspace=True)
    except DatasetError as error:
        raise TrainingError(str(error)) from error
    header = _next(rows)
    columns = [column.strip().lower() for column in header] if isinstance(header, list) else []
    if lacking := [column for column in ("path", "caption") if columns.count(column) != 1]:
        there = ", ".join(columns) or "nothing"
        raise TrainingError(f"{table}: line 1: no column {lacking[0]}, or two of them (found: {there:.120}). {_NEEDED}.")
    line = rows.line_num + 1
    while (row := _next(rows)) is not None:
        if isinstance(row, str):
            yield line, f"{row}; what stands up to line {rows.line_num} is lost"
        elif row and len(row) != len(columns):
            yield line, f"{len(row)} fields, where the first line has {len(columns)}. Quote fields that hold a comma"
        elif row:
            yield line, {column: value.strip() for column, value in zip(columns, row, strict=True)}
        line = rows.line_num + 1


def _next(rows: Iterator[list[str]]) -> list[str] | str | None:
    """The next row, or why there is none; None at the end."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return f"malformed CSV ({error})"


def _path(path: str, files: _Files) -> tuple[str, str]:
    """The path of a picture from the folder, as the disk spells it, and why it cannot be used, if so."""
    if not path:
        return "", "no path"
    plain = Path(os.path.relpath(files.folder / path, files.folder)).as_posix()
    plain = files.pictures.get(_key(plain), plain)
    if Path(plain).suffix.lower() not in IMAGE_SUFFIXES:
        return plain, f"not a picture ({path!r}). Known: {' '.join(sorted(IMAGE_SUFFIXES))}"
    return plain, "" if _is_file(files.folder / plain) else f"no such picture ({path!r}), or an empty file"


# --- a text beside each picture -----------------------------------------------------------------------------------------


def _of_sidecars(files: _Files, name: str) -> tuple[dict[str, _Captioned], list[Skipped]]:
    found, skipped, used = dict[str, _Captioned](), list[Skipped](), set[str]()
    for key, path in files.pictures.items():
        stem = os.path.splitext(key)[0]  # noqa: PTH122 as above
        beside = [files.texts[called] for called in (key, stem) if called in files.texts]
        used.update(beside)
        texts, reason = _lines([files.folder / text for text in beside])
        if texts:
            found[path] = _Captioned("train", texts)
        else:
            skipped.append(Skipped(f"{name}/{path}", f"no caption: {reason or f'no {Path(stem).name}.txt with text beside it'}"))
    unused = (path for path in files.texts.values() if path not in used)
    return found, skipped + [Skipped(f"{name}/{path}", "a text without a picture beside it") for path in unused]


def _lines(files: list[Path]) -> tuple[list[str], str]:
    """The lines that hold text, and why a file gave none."""
    texts, reasons = list[str](), list[str]()
    for file in files:
        try:
            texts += usable_texts(read_text(file).split("\n"))
        except DatasetError as error:
            reasons.append(str(error))
    return texts, " ".join(reasons)
