"""Pictures with their texts, in one shape, whatever the files are: Parquet, shards of WebDataset, or a folder of pictures.

Only the texts and the place of each picture are kept: its bytes are fetched at every use, so that shards and folders may be
larger than the memory. Names come from the files and never from where they lie, because the split and the kept maps of a
picture hang on its name.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from training.errors import TrainingError

Kind = Literal["caption", "label", "unlabelled"]
FEWEST = 8  # pictures with texts, of which some can be spared for validation
ALLOWED = (
    "Allowed: a .parquet file, a .tar shard of WebDataset, a folder that holds either, "
    "or a folder of pictures with captions.csv in it or a .txt file beside each picture"
)
PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
UNPACK = "Pictures in it cannot be read one by one: unpack it to .tar, for example with gunzip"
_SPLITS = {"train": "train", "restval": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
_VAL_WORD = re.compile(r"(?<![a-z])(val|validation|valid|dev)(?![a-z])", re.IGNORECASE)  # val-0001, coco_val2017; not carnival
_TEST_WORD = re.compile(r"(?<![a-z])test(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One picture with its texts.

    name: how messages call it, such as "flickr8k.parquet row 17"; unique within the data, and the same at every run.
    source: the data set it is of.
    split: "train" or "val".
    texts: as they were written, without white space around them; none where `kind` is "unlabelled".
    read: the encoded bytes of the picture, fetched anew at every call. Raises OSError where they are no longer there.
    """

    name: str
    source: str
    split: str
    kind: Kind
    texts: tuple[str, ...]
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Skipped:
    """Something in the data that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Examples:
    """What was found, in the order of the files, and what was left out."""

    examples: tuple[Example, ...]
    skipped: tuple[Skipped, ...]


def read_examples(paths: Sequence[Path]) -> Examples:
    """The pictures of all paths, each told by what it is: a .parquet file, a .tar shard, or a folder.

    A folder that holds .parquet files is read as those, else one that holds .tar files as those shards, else as a folder of
    pictures. The paths keep their order; within a folder it is that of the names.

    Raises:
        TrainingError: a path is missing, of no known kind, cannot be read as what it is, or is given twice; or nothing in it is usable.
    """
    if not paths:
        raise TrainingError(f"no training data (0 paths). {ALLOWED}.")
    parts = [_parts(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    _check_overlap([part for those in parts for part in those])
    found = [Examples((), ())]
    for path, those in zip(paths, parts, strict=True):
        read = [_read(part) for part in those]
        if not any(part.examples or part.skipped for part in read):
            raise TrainingError(f"{path}: nothing to train on there (0 pictures). {ALLOWED}.")
        found += read
    examples = tuple(example for part in found for example in part.examples)
    skipped = tuple(skip for part in found for skip in part.skipped)
    if not examples:
        first = f"{len(skipped)} skipped, the first: {skipped[0].name}: {skipped[0].reason}"
        raise TrainingError(f"{', '.join(map(str, paths))}: no usable picture ({first}). {ALLOWED}.")
    if twice := [name for name, count in Counter(example.name for example in examples).items() if count > 1]:
        raise TrainingError(f"two pictures with the same name ({twice[0]}). Rename one of the files or folders given.")
    return Examples(examples, skipped)


@dataclass(frozen=True)
class _Part:
    """A file or folder that one reader takes as a whole."""

    path: Path
    name: str
    source: str


def _names(paths: Sequence[Path]) -> list[str]:
    """The name of each path; one that another has before it takes the folders above it too, so that no earlier name changes."""
    names = list[str]()
    for path in paths:
        parts = Path(os.path.abspath(path)).parts  # "." has a name too, and a link keeps its own
        endings = ("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        names.append(next((ending for ending in map(printable, endings) if ending not in names), str(path)))
    return names


def _parts(path: Path, name: str) -> list[_Part]:
    if not path.exists():
        raise TrainingError(f"{path}: no such file or folder. {ALLOWED}.")
    if path.is_dir():
        names = [file.name for file in _listed(path) if not file.name.startswith(".") and file.is_file()]
        shards = next((those for those in (_ending(names, ".parquet"), _ending(names, ".tar")) if those), [])
        inside = [_Part(path / shard, f"{name}/{printable(shard)}", name) for shard in shards + _ending(names, *PACKED_SUFFIXES)]
        return inside if shards else [_Part(path, name, name), *inside]
    if _ending([path.name], *PACKED_SUFFIXES):
        raise TrainingError(f"{path}: a packed archive ({path.suffix}). {UNPACK}.")
    if not _ending([path.name], ".parquet", ".tar"):
        raise TrainingError(f"{path}: neither Parquet, nor a shard, nor a folder (ending {path.suffix!r}). {ALLOWED}.")
    return [_Part(path, name, name)]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be listed ({error.strerror}). A readable folder is needed.") from error


def _ending(names: Sequence[str], *suffixes: str) -> list[str]:
    return [name for name in names if name.lower().endswith(suffixes)]


def _check_overlap(parts: Sequence[_Part]) -> None:
    """A picture that is there under two names would be trained on and held out at once. Raises TrainingError."""
    seen, folders = dict[Path, _Part](), list[Path]()
    for part in parts:
        path = part.path.resolve()
        if path.is_dir():
            folders.append(path)
        nested = (folder for folder in folders[:-1] if path.is_dir() and (folder in path.parents or path in folder.parents))
        if other := seen.get(path) or seen.get(next(nested, path)):
            raise TrainingError(f"{part.path}: read twice (also by {other.path}). Give each file or folder once.")
        seen[path] = part


def _read(part: _Part) -> Examples:
    # Imported here, because the readers need the classes above.
    from training.folder_examples import read_folder
    from training.parquet_examples import read_parquet
    from training.tar_examples import read_shard

    if part.path.is_dir():
        return read_folder(part.path, name=part.name)
    if _ending([part.name], *PACKED_SUFFIXES):
        return Examples((), (Skipped(part.name, UNPACK),))
    read = read_parquet if _ending([part.name], ".parquet") else read_shard
    return read(part.path, name=part.name, source=part.source)


def hold_out(examples: Sequence[Example], *, share: float, seed: int = 0) -> tuple[Example, ...]:
    """The examples with about a `share` of those that have texts marked "val", unless some are already.

    The hash of its name alone decides for a picture, so it stays in its split when others are added. At least two are held out,
    among which one can be told from the other, and two are left; of fewer than `FEWEST` none. Raises ValueError for a share out of [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of the pictures to hold out: {share}. Allowed: 0 (none) up to, but not including, 1.")
    place = {example.name: _place(example.name, seed) for example in examples if example.texts}
    if share == 0 or len(place) < FEWEST or any(example.split == "val" for example in examples):
        return tuple(examples)
    first = sorted(place, key=place.__getitem__)
    count = sum(its < share for its in place.values())
    held = set(first[: min(max(count, 2), len(first) - 2)])
    return tuple(replace(example, split="val") if example.name in held else example for example in examples)


def _place(name: str, seed: int) -> float:
    """Where a name falls in [0, 1), evenly spread."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def split_or_reason(value: object) -> tuple[str, str]:
    """("train" or "val", ""), by any of the names that data sets have for them, or ("", why the row is left out)."""
    split = "train" if value is None or value == "" else _SPLITS.get(str(value).strip().lower(), "")
    if not split:
        return "", f"unknown split ({value!r:.60}). Known: {', '.join(_SPLITS)}"
    return ("", "of the test split, which is never trained on") if split == "test" else (split, "")


def split_in_name(name: str) -> str:
    """The split that the name of a file says, such as "validation-00000-of-00001.parquet"; "train" where it says none."""
    return "val" if _VAL_WORD.search(name) else "test" if _TEST_WORD.search(name) else "train"


def usable_texts(values: Iterable[object]) -> tuple[str, ...]:
    """The texts without white space around them. What is blank, no text, or half a character, which no tokenizer takes, is left out."""
    return tuple(text.strip() for text in values if isinstance(text, str) and text.strip() and _is_unicode(text))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """The name of a file with bytes that are not UTF-8 written out, since half a character can neither be hashed nor shown."""
    return name.encode(errors="backslashreplace").decode()


def read_span(file: Path, start: int = 0, size_bytes: int = -1) -> bytes:
    """So many bytes of a file from `start` on; all that follow where `size_bytes` is -1. Raises OSError where they are not there."""
    with file.open("rb") as stream:
        stream.seek(start)
        data = stream.read(size_bytes)
    if not data or len(data) < size_bytes:
        raise OSError(
            f"{file}: {len(data)} bytes where a picture of {max(size_bytes, 1)} or more was. The file changed since it was scanned."
        )
    return data
