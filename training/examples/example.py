"""One picture with its texts, whatever file it comes from, and how readers interpret texts, splits and names.

An example holds the texts and a way to fetch the picture, but not its bytes, so that the data may be larger than the memory.
Names depend on the files and not on the folder they lie in: the split and the cached features of a picture are found by name.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.datasets.files import is_unicode

Kind = Literal["caption", "label", "unlabelled"]
_SPLITS = {"train": "train", "restval": "train", "val": "val", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
_SPLIT_WORD = re.compile(r"(?<![a-z])(?:(val|validation|valid|dev)|test)(?![a-z])", re.IGNORECASE)  # coco_val2017; not carnival


@dataclass(frozen=True)
class Example:
    """One picture with its texts."""

    name: str  # for messages, such as "flickr8k.parquet row 17"; unique within the data and the same in every run
    source: str  # the data set
    split: str  # "train", or "val" for validation, or after `select_examples` also "test" if neither may use it
    kind: Kind
    texts: tuple[str, ...]  # as written, without surrounding white space; empty if `kind` is "unlabelled"
    read: Callable[[], bytes]  # fetches the encoded bytes of the picture. Raises OSError if they are gone


@dataclass(frozen=True)
class Skipped:
    """Something in the data that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Examples:
    """The examples in the order of the files, and everything that was skipped."""

    examples: tuple[Example, ...]
    skipped: tuple[Skipped, ...]


class UnusableError(ValueError):
    """Why a row or a file gives no example. Readers turn it into a `Skipped`."""


def split_of(value: object) -> str:
    """Either "train" or "val", from any name that data sets use. Raises UnusableError for "test" and for an unknown name."""
    split = "train" if value is None or value == "" else _SPLITS.get(str(value).strip().lower())
    if split is None:
        raise UnusableError(f"unknown split ({value!r:.60}). Known: {', '.join(_SPLITS)}")
    if split == "test":
        raise UnusableError("of the test split, which is never trained on")
    return split


def split_in_name(name: str) -> str:
    """The split in a file name such as "validation-00000-of-00001.parquet"; "train" if the name has none."""
    words = _SPLIT_WORD.findall(name)
    return "train" if not words else "val" if any(words) else "test"


def usable_texts(values: Iterable[object]) -> tuple[str, ...]:
    """The texts without surrounding white space. Skips blanks, other types, and lone surrogates, which tokenizers reject."""
    return tuple(text.strip() for text in values if isinstance(text, str) and text.strip() and is_unicode(text))


def printable(name: str) -> str:
    """A file name with bytes that are not UTF-8 escaped, so that it can be hashed and shown."""
    return name.encode(errors="backslashreplace").decode()


def read_span(file: Path, start: int = 0, size_bytes: int = -1) -> bytes:
    """Read `size_bytes` bytes from `start`, or up to the end if it is -1. Raises OSError if the file is shorter."""
    with file.open("rb") as stream:
        stream.seek(start)
        data = stream.read(size_bytes)
    if not data or len(data) < size_bytes:
        raise OSError(f"{file}: {len(data)} bytes instead of {max(size_bytes, 1)} or more. The file changed since it was scanned.")
    return data
