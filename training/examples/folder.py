"""Reads captioned pictures from a folder, with a captions.csv in it or a .txt file beside each picture."""

import csv
import io
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from evaluation.datasets.files import read_text
from evaluation.errors import DatasetError
from media.formats import suffixes
from training.errors import TrainingError
from training.examples.example import Example, Examples, Skipped, UnusableError, printable, read_span, split_of, usable_texts

_CAPTIONS = "captions.csv"
_NEEDED = "Needed in the first line, separated by commas: path, caption; optional: split"
_key = partial(unicodedata.normalize, "NFC")  # paths in the Unicode form in which an accented letter is one character


def read_folder(folder: Path, *, name: str) -> Examples:
    """Read the pictures below a folder with their captions. Hidden files are ignored.

    If the folder has a captions.csv, only that counts. Its columns are `path` (relative to the folder), `caption` and
    optionally `split`; a picture may have several rows. Otherwise each line of `lake.txt` or `lake.jpg.txt` is a caption of `lake.jpg`.
    Raises TrainingError if captions.csv cannot be read or lacks a column.
    """
    reader, has_table = _Reader(folder, name), (folder / _CAPTIONS).is_file()
    reader.list_files(links=not has_table)
    found = reader.read_csv() if has_table else reader.read_sidecars()
    examples = (
        Example(f"{name}/{path}", name, split, "caption", tuple(texts), partial(read_span, folder / path))
        for path, (split, texts) in found.items()
    )
    return Examples(tuple(examples), tuple(reader.skipped))


class _Reader:
    """The files below a folder, by the `_key` of their path, for texts without its suffix; and what cannot be used."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.pictures, self.texts, self.skipped = dict[str, str](), dict[str, str](), list[Skipped]()

    def skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skipped(f"{self.name}/{printable(path)}", reason))

    def list_files(self, *, links: bool) -> None:
        """List the files. With `links`, also report links to folders elsewhere; they are never followed."""

        def unlisted(error: OSError) -> None:
            self.skipped.append(Skipped(printable(str(error.filename)), f"the folder cannot be listed ({error.strerror})"))

        for parent, folders, names in os.walk(self.folder, onerror=unlisted):
            folders[:] = sorted(inside for inside in folders if not inside.startswith("."))
            below = Path(os.path.relpath(parent, self.folder))
            for inside in folders if links else ():
                path = Path(parent, inside)
                if path.is_symlink() and not path.resolve().is_relative_to(self.folder.resolve()):
                    self.skip((below / inside).as_posix(), "a link to a folder, which is not followed; pass that folder as well")
            for file in (below / inside for inside in sorted(names) if not inside.startswith(".")):
                if file.suffix.lower() in suffixes("image"):
                    self._add(file, self.pictures, file)
                elif file.suffix.lower() == ".txt":
                    self._add(file, self.texts, file.with_suffix(""))

    def _add(self, file: Path, to: dict[str, str], named: Path) -> None:
        path, key = file.as_posix(), _key(named.as_posix())
        if not usable_texts([path]):
            self.skip(path, "the file's name is not valid UTF-8; rename it")
        elif key in to:
            self.skip(path, f"its name differs from that of another file only in Unicode form ({to[key]!r})")
        elif not self._is_file(path):
            self.skip(path, "an empty or unreadable file")
        else:
            to[key] = path

    def _is_file(self, path: str) -> bool:
        with suppress(OSError):  # gone, or the name is too long
            return (self.folder / path).is_file() and (self.folder / path).stat().st_size > 0
        return False

    def read_csv(self) -> dict[str, tuple[str, list[str]]]:
        """Split and texts of each picture, by its path."""
        found, named = dict[str, tuple[str, list[str]]](), set[str]()
        for line, row in _rows(self.folder / _CAPTIONS):
            try:
                if isinstance(row, str):
                    raise UnusableError(row)
                path = self._path(row["path"])
                named.add(path)
                if not self._is_file(path):
                    raise UnusableError(f"no such picture ({row['path']!r}), or an empty file")
                if not (texts := usable_texts([row["caption"]])):
                    raise UnusableError(f"no caption for {row['path']!r}")
                split = split_of(row.get("split"))
                first, before = found.setdefault(path, (split, []))
                if split != first:
                    raise UnusableError(f"{row['path']!r} is in two splits ({first} before, {split} here). The first counts")
                before += texts
            except UnusableError as error:
                self.skip(f"{_CAPTIONS} line {line}", str(error))
        for path in self.pictures.values():
            if path not in named:
                self.skip(path, f"no caption: {_CAPTIONS} does not list it")
        return found

    def _path(self, path: str) -> str:
        """The path of a picture relative to the folder, spelled as on the disk. Raises UnusableError if it names no picture."""
        if not path:
            raise UnusableError("no path")
        plain = Path(os.path.relpath(self.folder / path, self.folder)).as_posix()
        plain = self.pictures.get(_key(plain), plain)
        if Path(plain).suffix.lower() not in suffixes("image"):
            raise UnusableError(f"not a picture ({path!r}). docs/formats.md lists what can be read")
        return plain

    def read_sidecars(self) -> dict[str, tuple[str, list[str]]]:
        """Split and texts of each picture, by its path."""
        found, used = dict[str, tuple[str, list[str]]](), set[str]()
        for key, path in self.pictures.items():
            stem = Path(key).with_suffix("").as_posix()
            texts, reasons = list[str](), list[str]()
            for beside in (self.texts[text] for text in (key, stem) if text in self.texts):
                used.add(beside)
                try:
                    texts += usable_texts(read_text(self.folder / beside).split("\n"))
                except DatasetError as error:
                    reasons.append(str(error))
            if texts:
                found[path] = ("train", texts)
            else:
                self.skip(path, f"no caption: {' '.join(reasons) or f'no {Path(stem).name}.txt with text beside it'}")
        for path in self.texts.values():
            if path not in used:
                self.skip(path, "a text without a picture beside it")
        return found


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """For each row the line where it begins, and its fields or the reason to skip it. `read_csv` of evaluation refuses such files."""
    try:
        # Not str.splitlines, which also splits at U+2028, U+0085 and form feeds inside a text.
        rows = csv.reader(io.StringIO(read_text(table), newline=""), strict=True, skipinitialspace=True)
    except DatasetError as error:
        raise TrainingError(str(error)) from error
    columns = list[str]()
    with suppress(csv.Error):
        columns = [column.strip().lower() for column in next(rows, [])]
    if lacking := [column for column in ("path", "caption") if columns.count(column) != 1]:
        listed = ", ".join(columns) or "nothing"
        raise TrainingError(f"{table}: line 1: the column {lacking[0]} is missing or repeated (found: {listed:.120}). {_NEEDED}.")
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"malformed CSV ({error}); everything up to line {rows.line_num} is skipped"
            continue
        if row and len(row) != len(columns):
            yield line, f"{len(row)} fields, but the first line has {len(columns)}. Quote fields that contain a comma"
        elif row:
            yield line, {column: value.strip() for column, value in zip(columns, row, strict=True)}
