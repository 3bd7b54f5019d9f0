"""Reads captioned pictures from WebDataset shards (https://github.com/webdataset/webdataset), which are plain tar files.

The members of one sample share their path up to the first dot of the base name. A shard is scanned once for the offsets of
its members. A picture is then one seek away, which a compressed archive does not allow.
"""

import json
import re
import tarfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from tarfile import TarInfo
from typing import BinaryIO

from media.formats import suffixes
from training.errors import TrainingError
from training.examples.example import Example, Examples, Skipped, UnusableError, printable, read_span, split_in_name, split_of, usable_texts

PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
UNPACK = "Pictures in it cannot be read one by one: unpack it to .tar, for example with gunzip"
_BLOCK = 512  # bytes; a tar file ends with two blocks of zeros
_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
_TEXT_KEYS = ("caption", "captions", "text", "texts")
_PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


def read_shard(file: Path, *, name: str, source: str) -> Examples:
    """Read the samples of one shard in order: a picture each, and captions in .txt (one) or .json (caption, captions, text, texts).

    The split comes from the name of the file or its folder. If the shard is cut short, its complete samples are used.
    Raises TrainingError if the file is not a tar file.
    """
    folder, split = split_in_name(file.absolute().parent.name), split_in_name(file.name)
    examples, skipped = list[Example](), list[Skipped]()
    try:
        split = split_of("val" if folder == "val" and split == "train" else split)
        with file.open("rb") as stream:
            samples, repeated, broken = _scan(stream, file)
            cut_short = next(reversed(samples), None) if broken else None
            for key, members in samples.items():
                try:
                    picture, texts = _picture(members), _texts(stream, members)
                    read = partial(read_span, file, picture.offset_data, picture.size)
                    examples.append(Example(f"{name} {printable(picture.name)}", source, split, "caption", texts, read))
                except UnusableError as error:
                    if key != cut_short:
                        skipped.append(Skipped(f"{name} {printable(key)}", str(error)))
    except UnusableError as error:
        return Examples((), (Skipped(name, str(error)),))
    except OSError as error:
        raise TrainingError(f"{file}: cannot be read ({error.strerror or error}). Pass a readable shard.") from error
    skipped += [Skipped(f"{name} {printable(member)}", "repeated in the shard. The first counts") for member in repeated]
    return Examples(tuple(examples), (*skipped, *([Skipped(name, broken)] if broken else [])))


def _scan(stream: BinaryIO, file: Path) -> tuple[dict[str, dict[str, TarInfo]], list[str], str]:
    """The members of each sample by suffix, in the order of the shard; repeated names; and what is wrong with its end, or ""."""
    samples, repeated = dict[str, dict[str, TarInfo]](), list[str]()
    size_bytes = file.stat().st_size
    if size_bytes < _BLOCK:
        return samples, repeated, f"cut short: {size_bytes} bytes, less than one header"
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            with suppress(tarfile.TarError, ValueError):  # a damaged header, some of which `tarfile` reports as an end instead
                while (member := tar.next()) is not None:
                    parts = _MEMBER.fullmatch(member.name.removeprefix("./"))
                    if parts is None or not member.isreg() or member.issparse():
                        continue
                    members = samples.setdefault(parts[1], {})
                    if member.offset_data + member.size > size_bytes:
                        break
                    if members.setdefault(parts[2].lower(), member) is not member:
                        repeated.append(member.name)
            end = min(tar.offset, size_bytes)
    except (tarfile.TarError, ValueError) as error:
        stream.seek(0)
        packed = _PACKED.get(stream.read(2))
        advice = UNPACK if packed else "Pass a plain, uncompressed tar file"
        raise TrainingError(f"{file}: not a tar file ({f'compressed with {packed}' if packed else error}). {advice}.") from error
    stream.seek(end)
    complete = stream.read(_BLOCK) == bytes(_BLOCK)
    broken = "" if complete else f"cut short or damaged at byte {end} of {size_bytes}: only the samples before it are used"
    return samples, repeated, broken


def _picture(members: dict[str, TarInfo]) -> TarInfo:
    for suffix, member in members.items():
        if f".{suffix}" in suffixes("image") and member.size:
            return member
    raise UnusableError(f"no picture (members: {_listed(members)}). Expected one of {' '.join(sorted(suffixes('image')))}")


def _texts(stream: BinaryIO, members: dict[str, TarInfo]) -> tuple[str, ...]:
    """The texts of a sample. img2dataset writes a caption into both files, so equal texts count once."""
    texts, problems = list[str](), list[str]()
    for suffix in sorted(members.keys() & {"txt", "json"}, reverse=True):
        member = members[suffix]
        stream.seek(member.offset_data)
        try:
            text = stream.read(member.size).decode("utf-8-sig")
            texts += usable_texts([text] if suffix == "txt" else _in_json(json.loads(text)))
        except (ValueError, RecursionError) as error:
            problems.append(f"{member.name} cannot be read ({error})")
    if not texts:
        why = f": {'; '.join(problems)}" if problems else ""
        raise UnusableError(f"no text (members: {_listed(members)}){why}. Expected .txt, or .json with one of {', '.join(_TEXT_KEYS)}")
    return tuple(dict.fromkeys(texts))


def _in_json(document: object) -> list[object]:
    """The texts of a JSON object. Raises ValueError for any other document."""
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__}, not an object")
    values = [document[key] for key in _TEXT_KEYS if key in document]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def _listed(members: dict[str, TarInfo]) -> str:
    return ", ".join(f".{suffix}" for suffix in members)
