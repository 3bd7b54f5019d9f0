"""Reads training pictures from any files and folders. Picks the reader for each path."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from training.errors import TrainingError
from training.examples.example import Examples, Skipped, printable
from training.examples.folder import read_folder
from training.examples.parquet import read_parquet
from training.examples.tar import PACKED_SUFFIXES, UNPACK, read_shard

_ALLOWED = (
    "Allowed: a .parquet file, a .tar shard of WebDataset, a folder that holds either, "
    "or a folder of pictures with captions.csv in it or a .txt file beside each picture"
)


def read_examples(paths: Sequence[Path]) -> Examples:
    """Read the pictures of all paths, each a .parquet file, a .tar shard, or a folder.

    A folder with .parquet files is read as these, otherwise one with .tar files as these shards, otherwise as a folder of
    pictures. The result follows the order of the paths, and the order of names within a folder.

    Raises:
        TrainingError: a path is missing, of an unknown kind, damaged, or given twice; or nothing in it is usable.
    """
    if not paths:
        raise TrainingError(f"no training data (0 paths). {_ALLOWED}.")
    parts = [_parts(path, name) for path, name in zip(paths, _names(paths), strict=True)]
    _check_overlap([part for of_path in parts for part in of_path])
    found = list[Examples]()
    for path, of_path in zip(paths, parts, strict=True):
        read = [_read(part) for part in of_path]
        if not any(part.examples or part.skipped for part in read):
            raise TrainingError(f"{path}: nothing to train on (0 pictures). {_ALLOWED}.")
        found += read
    examples = tuple(example for part in found for example in part.examples)
    skipped = tuple(skip for part in found for skip in part.skipped)
    if not examples:
        first = f"{len(skipped)} skipped, the first: {skipped[0].name}: {skipped[0].reason}"
        raise TrainingError(f"{', '.join(map(str, paths))}: no usable picture ({first}). {_ALLOWED}.")
    ((name, count),) = Counter(example.name for example in examples).most_common(1)
    if count > 1:
        raise TrainingError(f"two pictures have the same name ({name}). Rename one of the given files or folders.")
    return Examples(examples, skipped)


class _Part(NamedTuple):
    """A file or folder that one reader reads as a whole."""

    path: Path
    name: str
    source: str

    def ends(self, *suffixes: str) -> bool:
        return self.path.name.lower().endswith(suffixes)


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each path. A repeated name is extended by its parent folders, so that earlier names stay the same."""
    names = list[str]()
    for path in paths:
        parts = Path(os.path.abspath(path)).parts  # "." gets a name too, and a link keeps its name
        endings = (printable("/".join(parts[-count:])) for count in range(1, len(parts) + 1))
        names.append(next((ending for ending in endings if ending not in names), str(path)))
    return names


def _parts(path: Path, name: str) -> list[_Part]:
    whole = _Part(path, name, name)
    if path.is_dir():
        try:
            files = [file for file in sorted(path.iterdir()) if not file.name.startswith(".") and file.is_file()]
        except OSError as error:
            raise TrainingError(f"{path}: cannot be listed ({error.strerror}). Pass a readable folder.") from error
        inside = [_Part(file, f"{name}/{printable(file.name)}", name) for file in files]
        shards = [part for part in inside if part.ends(".parquet")] or [part for part in inside if part.ends(".tar")]
        return (shards or [whole]) + [part for part in inside if part.ends(*PACKED_SUFFIXES)]
    if not path.exists():
        raise TrainingError(f"{path}: no such file or folder. {_ALLOWED}.")
    if whole.ends(*PACKED_SUFFIXES):
        raise TrainingError(f"{path}: a compressed archive ({path.suffix}). {UNPACK}.")
    if not whole.ends(".parquet", ".tar"):
        raise TrainingError(f"{path}: not Parquet, a shard or a folder (suffix {path.suffix!r}). {_ALLOWED}.")
    return [whole]


def _check_overlap(parts: Sequence[_Part]) -> None:
    """Raises TrainingError if a picture has two names: it could then be trained on and held out at once."""
    first = dict[Path, _Part]()
    pairs = [(part, first.setdefault(part.path.resolve(), part)) for part in parts]
    folders = {path: part for path, part in first.items() if path.is_dir()}
    pairs += [(part, folders[outer]) for path, part in folders.items() for outer in path.parents if outer in folders]
    for part, other in pairs:
        if part is not other:
            raise TrainingError(f"{part.path}: read twice (also by {other.path}). Pass each file or folder once.")


def _read(part: _Part) -> Examples:
    if part.path.is_dir():
        return read_folder(part.path, name=part.name)
    if part.ends(*PACKED_SUFFIXES):
        return Examples((), (Skipped(part.name, UNPACK),))
    return (read_parquet if part.ends(".parquet") else read_shard)(part.path, name=part.name, source=part.source)
