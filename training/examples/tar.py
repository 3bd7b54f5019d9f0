"""Reads captioned pictures from WebDataset shards (https://github.com/webdataset/webdataset), which are plain tar files.

The members of one sample share their path up to the first dot of the base name. A shard is scanned once for the offsets of
its members. A picture is then one seek away, which a compressed archive does not allow.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from media.formats import suffixes
from training.errors import TrainingError
from training.examples.example import Example, Examples, Skipped, printable, read_span, split_in_name, split_or_reason, usable_texts

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
UNPACK = "Pictures in it cannot be read one by one: unpack it to .tar, for example with gunzip"
_BLOCK = 512  # bytes; a tar file ends with two blocks of zeros
_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_TEXT_KEYS = ("caption", "captions", "text", "texts")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


@dataclass
class _Sample:
    """The members of a sample by suffix, repeated names, the texts, and why a member has none."""

    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def picture(self) -> tarfile.TarInfo | None:
        return next((member for suffix, member in self.members.items() if f".{suffix}" in suffixes("image") and member.size), None)


def read_shard(file: Path, *, name: str, source: str) -> Examples:
    """Read the samples of one shard in order: a picture each, and captions in .txt (one) or .json (caption, captions, text, texts).

    The split comes from the name of the file or its folder. If the shard is cut short, its complete samples are used.

    Raises:
        TrainingError: the file is not a tar file.
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
        raise TrainingError(f"{file}: cannot be read ({error.strerror or error}). Pass a readable shard.") from error
    cut_short = next(reversed(samples), None) if broken else None
    for key, sample in samples.items():
        picture, texts = sample.picture(), tuple(dict.fromkeys(sample.texts))  # img2dataset writes a caption into both files
        if picture and texts:
            read = partial(read_span, file, picture.offset_data, picture.size)
            examples.append(Example(f"{name} {printable(picture.name)}", source, split, "caption", texts, read))
        elif key != cut_short:
            skipped.append(Skipped(f"{name} {printable(key)}", _why_unusable(sample, picture)))
        skipped += [Skipped(f"{name} {printable(member)}", "repeated in the shard. The first counts") for member in sample.repeated]
    return Examples(tuple(examples), (*skipped, *([Skipped(name, broken)] if broken else [])))


def _split(file: Path) -> tuple[str, str]:
    folder = split_in_name(file.absolute().parent.name)
    split = split_in_name(file.name)
    return split_or_reason("val" if folder == "val" and split == "train" else split)


def _scan(stream: BinaryIO, file: Path) -> tuple[dict[str, _Sample], str]:
    """The samples by key, in the order of the shard, and what is wrong with the end of the shard, or ""."""
    size_bytes = file.stat().st_size
    if size_bytes < _BLOCK:
        return {}, f"cut short: {size_bytes} bytes, less than one header"
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
        advice = UNPACK if packed else "Pass a plain, uncompressed tar file"
        raise TrainingError(f"{file}: not a tar file ({f'compressed with {packed}' if packed else error}). {advice}.") from error
    stream.seek(min(end, size_bytes))
    if stream.read(_BLOCK) == bytes(_BLOCK):
        return samples, ""
    return samples, f"cut short or damaged at byte {min(end, size_bytes)} of {size_bytes}: only the samples before it are used"


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members up to the end or the first damaged header. `tarfile` raises for some of these and reports an end for others."""
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
        for suffix in sorted(sample.members.keys() & {"txt", "json"}, reverse=True):
            member = sample.members[suffix]
            stream.seek(member.offset_data)
            try:
                text = stream.read(member.size).decode("utf-8-sig")
                sample.texts += usable_texts([text] if suffix == "txt" else _texts_of(json.loads(text)))
            except (ValueError, RecursionError) as error:
                sample.problems.append(f"{member.name} cannot be read ({error})")


def _texts_of(document: object) -> list[object]:
    """The texts of a JSON object. Raises ValueError for any other document."""
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, not an object")
    values = [document[key] for key in _TEXT_KEYS if key in document]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def _why_unusable(sample: _Sample, picture: tarfile.TarInfo | None) -> str:
    members = ", ".join(f".{suffix}" for suffix in sample.members)
    if picture is None:
        return f"no picture (members: {members}). Expected one of {' '.join(sorted(suffixes('image')))}"
    problems = f": {'; '.join(sample.problems)}" if sample.problems else ""
    return f"no text (members: {members}){problems}. Expected .txt, or .json with one of {', '.join(_TEXT_KEYS)}"
