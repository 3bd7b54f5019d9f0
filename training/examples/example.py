"""A picture with its texts, in one shape whatever the files are (see `read_examples`), and how some are held out.

Only the texts and the place of each picture are kept: its bytes are fetched at every use, so that shards and folders may be
larger than the memory. Names come from the files and never from where they lie, because the split and the kept maps of a
picture hang on its name.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from evaluation.datasets import is_unicode

Kind = Literal["caption", "label", "unlabelled"]
FEWEST = 8  # pictures with texts, of which some can be spared for validation
MOST_VALIDATED = 5000  # of so many, recall is known to about a point, and all of them are looked at at every validation
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


def merge(examples: Sequence[Example], hashes: Sequence[str]) -> tuple[list[Example], list[str], list[Skipped]]:
    """Rows that show the same picture as one with the texts of all, as a data set with a row for each caption has them.

    A picture that is held out somewhere is trained on nowhere, and a picture has one kind of text: what its first row says.

    Args:
        hashes: of the bytes of each picture; empty for one that cannot be read, which is like no other.

    Returns:
        The examples, their hashes, and what was left out.
    """
    held_out = {its for its, example in zip(hashes, examples, strict=True) if its and example.split == "val"}
    merged, place, skipped = dict[str, Example](), dict[str, str](), list[Skipped]()
    for its, example in zip(hashes, examples, strict=True):
        key = its or example.name
        if its in held_out and example.split != "val":
            skipped.append(Skipped(example.name, "its picture is held out in another row"))
        elif key not in merged:
            merged[key], place[key] = example, its
        elif merged[key].kind == example.kind:
            texts = dict.fromkeys((*merged[key].texts, *example.texts))
            merged[key] = replace(merged[key], texts=tuple(texts))
        else:
            skipped.append(Skipped(example.name, f"the same picture as {merged[key].name}, with texts of another kind"))
    return list(merged.values()), list(place.values()), skipped


def hold_out(examples: Sequence[Example], *, share: float, most: int | None = None, seed: int = 0) -> tuple[Example, ...]:
    """The examples with about a `share` of those that have texts marked "val", unless some are already.

    The hash of its name alone decides for a picture, so of many it stays in its split when others are added, up to `most`, behind which
    some go back. At least twenty are held out, or a quarter where they are few, and two are left; of fewer than `FEWEST` none. Raises
    ValueError for a share out of [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of the pictures to hold out: {share}. Allowed: 0 (none) up to, but not including, 1.")
    place = {example.name: _place(example.name, seed) for example in examples if example.texts}
    if share == 0 or len(place) < FEWEST or any(example.split == "val" for example in examples):
        return tuple(examples)
    first = sorted(place, key=place.__getitem__)
    count = max(sum(its < share for its in place.values()), min(20, len(first) // 4))
    held = set(first[: min(count, len(first) - 2, len(first) if most is None else most)])
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
    return tuple(text.strip() for text in values if isinstance(text, str) and text.strip() and is_unicode(text))


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
