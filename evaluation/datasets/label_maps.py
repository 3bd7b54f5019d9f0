"""Label maps: the names of the class folders of a data set. The content of the file tells its format.

Read are Keras' JSON of ImageNet {"0": ["n01440764", "tench"]}, ImageNet's LOC_synset_mapping.txt, a JSON object {folder: name or
[names]}, and a CSV file with the columns folder, name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.datasets.files import Unique, read_csv, read_json, read_text
from evaluation.errors import DatasetError

_MOST_DIGITS = 6  # of a class number; int() rejects thousands
_WNID = re.compile(r"n\d{8}")
_SYNSET_LINE = re.compile(r"(n\d{8})\s+(\S.*)")
_KINDS = 'A JSON object {"folder": "name"}, a CSV file with the columns folder, name, or LOC_synset_mapping.txt is needed.'


@dataclass(frozen=True)
class LabelMap:
    """The names of folders.

    Attributes:
        names: the names of each folder, the first for people.
        numbered: the folder of each number, if the map has an order (ImageNet V2's folders are 0 to 999).
        merged: folders with the same names are one class. True for a user's map. False for ImageNet: two of the thousand classes
            are called "crane".
    """

    path: Path
    names: dict[str, tuple[str, ...]]
    numbered: tuple[str, ...] = ()
    merged: bool = True

    def folder(self, name: str, where: str) -> str:
        """The map's entry for a folder on disk. Raises DatasetError if there is none."""
        if name in self.names:
            return name
        if name.isdecimal() and int(name) < len(self.numbered):
            return self.numbered[int(name)]
        raise DatasetError(
            f"{where}: the class {name!r} is not in {self.path} ({len(self.names)} folders: {', '.join(self.names)[:60]}...). "
            "Pass the folder that holds the class folders, and the map of this data set."
        )


def read_label_map(path: Path) -> LabelMap:
    """Read a label map in any of the formats. Raises DatasetError that names file and record."""
    text = read_text(path)
    if text.lstrip().startswith(("{", "[")):
        return _from_json(path)
    if _SYNSET_LINE.match(text):
        return _from_synsets(path, text)
    if not text.strip():
        raise DatasetError(f"{path}: the label map is empty. {_KINDS}")
    return _from_csv(path)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object that is not empty and has no key twice. Raises DatasetError."""

    def with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # json keeps the last of two entries silently
        unique = Unique("folder")
        for key, _ in pairs:
            unique.add(key, f"{path}: entry {key!r}")
        return dict(pairs)

    value = read_json(path, with_unique_keys)
    if not isinstance(value, dict) or not value:
        raise DatasetError(f"{path}: not an object with an entry for each folder ({value!r:.60}). {_KINDS}")
    return value


def split_names(text: str, separator: str, where: str) -> tuple[str, ...]:
    """The names in one field. Raises DatasetError if there is none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(separator) if name.strip()))
    if not names:
        raise DatasetError(f"{where}: no name ({text!r}). Give the class at least one.")
    return names


def _from_json(path: Path) -> LabelMap:
    found = read_object(path)
    if all(key.isdecimal() and _is_keras(value) for key, value in found.items()):
        return _from_keras(path, found)
    return LabelMap(path, {folder: _names(value, f"{path}: entry {folder!r}") for folder, value in found.items()})


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DatasetError(f"{where}: {value!r:.60} is no name. Expected a text, or a list of texts.")
    return tuple(dict.fromkeys(name.strip() for name in names))


def _is_keras(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value) and bool(_WNID.fullmatch(value[0]))


def _from_keras(path: Path, found: dict[str, list[str]]) -> LabelMap:
    numbers = sorted(found, key=int) if max(map(len, found)) <= _MOST_DIGITS else []
    if [int(number) for number in numbers] != list(range(len(found))):
        raise DatasetError(f"{path}: the numbers are not 0 to {len(found) - 1}. Number the classes without a gap.")
    return _imagenet(path, ((f"{path}: entry {n!r}", found[n][0], (found[n][1],)) for n in numbers))


def _from_synsets(path: Path, text: str) -> LabelMap:
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        where, match = f"{path}: line {number}", _SYNSET_LINE.fullmatch(line.strip())
        if match:
            records.append((where, match[1], split_names(match[2], ",", where)))
        elif line.strip():
            raise DatasetError(
                f"{where}: not a synset and its names ({line[:60]!r}). Expected a line such as: n01440764 tench, Tinca tinca"
            )
    return _imagenet(path, records)


def _imagenet(path: Path, records: Iterable[tuple[str, str, tuple[str, ...]]]) -> LabelMap:
    """ImageNet's classes, numbered by their order."""
    unique, names = Unique("synset"), dict[str, tuple[str, ...]]()
    for where, folder, folder_names in records:
        unique.add(folder, where)
        names[folder] = folder_names
    return LabelMap(path, names, tuple(names), merged=False)


def _from_csv(path: Path) -> LabelMap:
    unique, names = Unique("entry"), dict[str, tuple[str, ...]]()
    for where, row in read_csv(path, ("folder", "name")):
        for name in split_names(row["name"], ";", where):
            unique.add((row["folder"], name), where)
            names[row["folder"]] = (*names.get(row["folder"], ()), name)
    if not names:
        raise DatasetError(f"{path}: the label map has no line below the column names. {_KINDS}")
    return LabelMap(path, names)
