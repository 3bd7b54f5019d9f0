"""Label maps: the names of the class folders of a data set. The content of the file tells its format.

Formats: Keras' JSON of ImageNet {"0": ["n01440764", "tench"]}, ImageNet's LOC_synset_mapping.txt, a JSON object {folder: name or
[names]}, and a CSV file with the columns folder, name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.datasets.files import Unique, read_csv, read_json, read_lines, read_text
from evaluation.errors import DatasetError

_WNID = re.compile(r"n\d{8}")
_SYNSET_LINE = re.compile(r"(n\d{8})\s+(\S.*)")
_KINDS = 'A JSON object {"folder": "name"}, a CSV file with the columns folder, name, or LOC_synset_mapping.txt is needed.'


@dataclass(frozen=True)
class LabelMap:
    """The names of folders.

    In ImageNet's maps a folder may also be a position (V2's folders are 0 to 999), and each folder is a class, because two of the
    thousand classes are called "crane". In a user's map, folders with the same names are one class.
    """

    path: Path
    names: dict[str, tuple[str, ...]]  # of each folder, the first for people
    is_imagenet: bool = False

    def entry(self, folder: Path) -> str:
        """The map's entry for a folder on disk. Raises DatasetError if there is none."""
        name = folder.name
        if name not in self.names and self.is_imagenet and name.isdecimal() and int(name) < len(self.names):
            return list(self.names)[int(name)]
        if name not in self.names:
            raise DatasetError(
                f"{folder}: the class {name!r} is not in {self.path} ({len(self.names)} folders: {', '.join(self.names)[:60]}...). "
                "Pass the folder that holds the class folders, and the map of this data set."
            )
        return name


def read_label_map(path: Path) -> LabelMap:
    """Read a label map in any of the formats. Raises DatasetError that names file and record."""
    text = read_text(path)
    if text.lstrip().startswith(("{", "[")):
        return _from_json(path)
    if _SYNSET_LINE.match(text):
        return _from_synsets(path)
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


def names_in(value: Any, where: str, *, separator: str = "") -> tuple[str, ...]:
    """The names in a list of texts, or in a text, which a `separator` may divide. Raises DatasetError if there is none."""
    parts = value if not isinstance(value, str) else value.split(separator) if separator else [value]
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or not any(part.strip() for part in parts):
        raise DatasetError(f"{where}: {value!r:.60} is no name. Expected a text, or a list of texts.")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _from_json(path: Path) -> LabelMap:
    found = read_object(path)
    if not all(key.isdecimal() and _is_keras(value) for key, value in found.items()):
        return LabelMap(path, {folder: names_in(value, f"{path}: entry {folder!r}") for folder, value in found.items()})
    numbers = [str(number) for number in range(len(found))]
    if set(numbers) != set(found):
        raise DatasetError(f"{path}: the numbers are not 0 to {len(found) - 1}. Number the classes without a gap.")
    return _imagenet(path, ((f"{path}: entry {n!r}", found[n][0], (found[n][1],)) for n in numbers))


def _is_keras(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value) and bool(_WNID.fullmatch(value[0]))


def _from_synsets(path: Path) -> LabelMap:
    records = []
    for where, line in read_lines(path):
        match = _SYNSET_LINE.fullmatch(line)
        if not match:
            raise DatasetError(f"{where}: not a synset and its names ({line[:60]!r}). Expected such as: n01440764 tench, Tinca tinca")
        records.append((where, match[1], names_in(match[2], where, separator=",")))
    return _imagenet(path, records)


def _imagenet(path: Path, records: Iterable[tuple[str, str, tuple[str, ...]]]) -> LabelMap:
    unique, names = Unique("synset"), dict[str, tuple[str, ...]]()
    for where, folder, folder_names in records:
        unique.add(folder, where)
        names[folder] = folder_names
    return LabelMap(path, names, is_imagenet=True)


def _from_csv(path: Path) -> LabelMap:
    unique, names = Unique("entry"), dict[str, tuple[str, ...]]()
    for where, row in read_csv(path, ("folder", "name"), filled=("name",)):
        for name in names_in(row["name"], where, separator=";"):
            unique.add((row["folder"], name), where)
            names[row["folder"]] = (*names.get(row["folder"], ()), name)
    if not names:
        raise DatasetError(f"{path}: the label map has no line below the column names. {_KINDS}")
    return LabelMap(path, names)
