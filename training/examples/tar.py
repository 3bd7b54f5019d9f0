"""Captioned pictures in WebDataset's shards (https://github.com/webdataset/webdataset): plain tar files, read at random.

The members of one sample share their path up to the first dot of the base name. A shard is gone through once for where its
members lie; a picture is then one seek away, which tar gives and a packed archive does not.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from indexer.scan import IMAGE_SUFFIXES
from training.errors import TrainingError
from training.examples.example import UNPACK, Example, Examples, Skipped, printable, read_span, split_in_name, split_or_reason, usable_texts

_BLOCK = 512  # a tar file is made of them, and two of zeros end it
_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_TEXT_KEYS = ("caption", "captions", "text", "texts")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


@dataclass
class _Sample:
    """The members of a sample by ending, names that are there again, the texts, and why a member gave none."""

    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def picture(self) -> tarfile.TarInfo | None:
        return next((member for ending, member in self.members.items() if f".{ending}" in IMAGE_SUFFIXES and member.size), None)


def read_shard(file: Path, *, name: str, source: str) -> Examples:
    """The samples of one shard, in its order: a picture each, and captions in .txt (one) or .json (caption, captions, text, texts).

    They are for validation where the folder's or the file's name says so. What is whole of a shard cut short is used.
    Raises TrainingError where the file is no tar file.
    """
    split, reason = _split(file)
    if reason:
        return Examples((), (Skipped(name, reason),))
    examples, skipped = list[Example](), list[Skipped]()
    try:
        with file.open("rb") as stream:
            samples, broken = _scan(stream, file)
            _read_texts(stream, samples)
    except OSError as error:
        raise TrainingError(f"{file}: cannot be read ({error.strerror or error}). A readable shard is needed.") from error
    cut = next(reversed(samples), None) if broken else None
    for key, sample in samples.items():
        picture, texts = sample.picture(), tuple(dict.fromkeys(sample.texts))  # img2dataset writes a caption into both files
        if picture and texts:
            read = partial(read_span, file, picture.offset_data, picture.size)
            examples.append(Example(f"{name} {printable(picture.name)}", source, split, "caption", texts, read))
        elif key != cut:
            skipped.append(Skipped(f"{name} {printable(key)}", _why_unusable(sample, picture)))
        skipped += [Skipped(f"{name} {printable(member)}", "twice in the shard. The first counts") for member in sample.repeated]
    return Examples(tuple(examples), (*skipped, *([Skipped(name, broken)] if broken else [])))


def _split(file: Path) -> tuple[str, str]:
    folder = split_in_name(file.absolute().parent.name)
    split = split_in_name(file.name)
    return split_or_reason("val" if folder == "val" and split == "train" else split)


def _scan(stream: BinaryIO, file: Path) -> tuple[dict[str, _Sample], str]:
    """The samples by their key, in the shard's order, and why the shard ends before its end, if it does."""
    size_bytes = file.stat().st_size
    if size_bytes < _BLOCK:
        return {}, f"cut short: {size_bytes} bytes, which is less than one header"
    samples = dict[str, _Sample]()
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in _members(tar):
                parts = _MEMBER.fullmatch(member.name.removeprefix("./"))
                if parts is None or not member.isreg() or member.issparse():
                    continue
                sample = samples.setdefault(parts[1], _Sample())
                if member.offset_data + member.size > size_bytes:
                    break
                if sample.members.setdefault(parts[2].lower(), member) is not member:
                    sample.repeated.append(member.name)
            end = tar.offset
    except (tarfile.TarError, ValueError) as error:
        stream.seek(0)
        packed = _PACKED.get(stream.read(2))
        advice = UNPACK if packed else "A plain, uncompressed tar file is needed"
        raise TrainingError(f"{file}: not a tar file ({f'packed with {packed}' if packed else error}). {advice}.") from error
    stream.seek(min(end, size_bytes))
    whole = stream.read(_BLOCK) == bytes(_BLOCK)
    return samples, "" if whole else f"cut short or damaged at byte {min(end, size_bytes)} of {size_bytes}: only what is before it is used"


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Those up to the end, or to the first header that cannot be read: `tarfile` tells some of these from an end, not all."""
    while True:
        try:
            member = tar.next()
        except (tarfile.TarError, ValueError):
            return
        if member is None:
            return
        yield member


def _read_texts(stream: BinaryIO, samples: dict[str, _Sample]) -> None:
    for sample in samples.values():
        for ending in sorted(sample.members.keys() & {"txt", "json"}, reverse=True):
            member = sample.members[ending]
            stream.seek(member.offset_data)
            try:
                text = stream.read(member.size).decode("utf-8-sig")
                sample.texts += usable_texts([text] if ending == "txt" else _texts_of(json.loads(text)))
            except (ValueError, RecursionError) as error:
                sample.problems.append(f"{member.name} cannot be read ({error})")


def _texts_of(document: object) -> list[object]:
    """The texts of a JSON object; ValueError for another document."""
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, not an object")
    values = [document[key] for key in _TEXT_KEYS if key in document]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def _why_unusable(sample: _Sample, picture: tarfile.TarInfo | None) -> str:
    endings = ", ".join(f".{ending}" for ending in sample.members)
    if picture is None:
        return f"no picture (members: {endings}). Expected one of {' '.join(sorted(IMAGE_SUFFIXES))}"
    problems = f": {'; '.join(sample.problems)}" if sample.problems else ""
    return f"no text (members: {endings}){problems}. Expected .txt, or .json with one of {', '.join(_TEXT_KEYS)}"
