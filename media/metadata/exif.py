"""Reads an EXIF block, or the tags of a TIFF, into exiv2's names, such as `Exif.Photo.DateTimeOriginal`.

Pillow's reader stops at the first damaged tag, and warns. Warnings belong to the whole program, so a library cannot silence them in a
thread. This reader leaves out a damaged tag and reads the others. It also leaves out maker notes, previews and other binary values.
"""

import io
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

from PIL import ExifTags

from media.metadata.texts import clean

Tags = dict[str, Any]  # values: str, int, float (NaN if a denominator is 0), or a tuple of these

_GROUPS = {  # the tag that points to each group, the group that contains this tag, and the names of the group's tags
    "Image": (None, "", ExifTags.TAGS),
    "Photo": (ExifTags.IFD.Exif.value, "Image", ExifTags.TAGS),
    "GPSInfo": (ExifTags.IFD.GPSInfo.value, "Image", ExifTags.GPSTAGS),
    "Iop": (ExifTags.IFD.Interop.value, "Photo", {tag.value: tag.name for tag in ExifTags.Interop}),
}
_EXIV2_NAMES = {  # where they differ from Pillow's
    0x9290: "SubSecTime",
    0x9291: "SubSecTimeOriginal",
    0x9292: "SubSecTimeDigitized",
    0x9400: "Temperature",
    0xA000: "FlashpixVersion",
    0xA002: "PixelXDimension",
    0xA003: "PixelYDimension",
    0xA20B: "FlashEnergy",
}
_POINTERS = frozenset(pointer for pointer, _, _ in _GROUPS.values())
_BLOCKS = frozenset({0x02BC, 0x83BB, 0x8649, 0x8773, 0x927C})  # XMP, IPTC, Photoshop's resources, ICC, maker notes
_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}  # TIFF 6.0, section 2
_RATIONALS = {5: "I", 10: "i"}
_SIZES = {1: 1, 2: 1, 7: 1, 5: 8, 10: 8} | {kind: struct.calcsize("=" + code) for kind, code in _NUMBERS.items()}
_MAX_TAGS, _MAX_VALUE_BYTES, _MAX_NUMBERS = 1_000, 1 << 16, 64
_CHARACTER_CODES = {b"ASCII\0\0\0": "utf-8", bytes(8): "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp", b"UNICODE\0": "utf-16"}
_WITH_CHARACTER_CODE = frozenset({"UserComment", "GPSProcessingMethod", "GPSAreaInformation"})


_DAMAGE = (OSError, OverflowError, ValueError, struct.error)  # an offset beyond the end, or a closed file


class _Layout(NamedTuple):
    """How a file writes its tags: byte order, and the codes for numbers of tags and for offsets in TIFF or BigTIFF."""

    order: str
    number: str
    offset: str


def exif_stream(block: bytes) -> BinaryIO:
    """An EXIF block, with or without its mark `Exif`, as the TIFF that it is."""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    return io.BytesIO(block)


def tiff_tags(stream: BinaryIO) -> Tags:
    """The tags of an EXIF block or of the first page of a TIFF. Nothing if it is no TIFF."""
    start = _header(stream)
    if start is None:
        return {}
    layout, first = start
    groups: dict[str, dict[int, Any]] = {}
    for group, (pointer, parent, _) in _GROUPS.items():
        offset = first if pointer is None else groups[parent].get(pointer)
        entries = _entries(stream, layout, offset, _is_value) if isinstance(offset, int) else ()
        groups[group] = {}
        for tag, kind, data in entries:
            groups[group].setdefault(tag, _decoded(data, kind, layout.order))
    return {
        f"Exif.{group}.{name}": value
        for group, values in groups.items()
        for tag, raw in values.items()
        if tag not in _POINTERS
        for name in [_EXIV2_NAMES.get(tag) or _GROUPS[group][2].get(tag) or f"0x{tag:04x}"]
        if (value := _value(raw, name, layout)) not in {None, ""}
    }


def tiff_blocks(stream: BinaryIO, wanted: Collection[int], *, max_bytes: int) -> dict[int, bytes]:
    """The bytes of some tags of the first directory by their numbers, whatever type they are declared to have."""
    start = _header(stream)
    entries = _entries(stream, *start, lambda tag, size: tag in wanted and size <= max_bytes) if start else ()
    return {tag: data for tag, _, data in entries}


def tiff_orientation(stream: BinaryIO) -> Any:
    """The tag of the orientation, which may be anything; None if there is none."""
    start = _header(stream)
    entries = _entries(stream, *start, lambda tag, size: tag == ExifTags.Base.Orientation and size <= _MAX_VALUE_BYTES) if start else ()
    return next((_decoded(data, kind, start[0].order) for _, kind, data in entries if start), None)


def _header(stream: BinaryIO) -> tuple[_Layout, int] | None:
    with suppress(*_DAMAGE):
        stream.seek(0)
        head = stream.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order and struct.unpack_from(order + "H", head, 2)[0] == 43:
            return _Layout(order, "Q", "Q"), struct.unpack_from(order + "Q", head, 8)[0]
        if order:  # the number is 42, and others in raw files of cameras
            return _Layout(order, "H", "I"), struct.unpack_from(order + "I", head, 4)[0]
    return None


def _is_value(tag: int, size_bytes: int) -> bool:
    return tag not in _BLOCKS and size_bytes <= _MAX_VALUE_BYTES


def _entries(stream: BinaryIO, layout: _Layout, offset: int, accepts: Callable[[int, int], bool]) -> Iterator[tuple[int, int, bytes]]:
    """The tags of one directory that `accepts(number, size in bytes)`: number, type, data. Damaged ones are left out."""
    entry = struct.Struct(f"{layout.order}HH{layout.offset}{struct.calcsize('=' + layout.offset)}s")
    with suppress(*_DAMAGE):
        stream.seek(offset)
        (count,) = struct.unpack(layout.order + layout.number, stream.read(struct.calcsize("=" + layout.number)))
        table = stream.read(min(count, _MAX_TAGS) * entry.size)
        for tag, kind, length, inline in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
            size = length * _SIZES.get(kind, 0)
            if size and accepts(tag, size):
                start: int = struct.unpack(layout.order + layout.offset, inline)[0]
                data = inline[:size] if size <= len(inline) else _read_at(stream, start, size)
                if len(data) == size:
                    yield tag, kind, data


def _read_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    with suppress(*_DAMAGE):
        stream.seek(offset)
        return stream.read(size)
    return b""


def _decoded(data: bytes, kind: int, order: str) -> Any:
    if kind not in _NUMBERS and kind not in _RATIONALS:
        return clean(data) if kind == 2 else data
    code = _NUMBERS.get(kind) or _RATIONALS[kind]
    numbers = struct.unpack(f"{order}{len(data) // struct.calcsize('=' + code)}{code}", data)[: 2 * _MAX_NUMBERS]
    if kind in _RATIONALS:
        pairs = zip(numbers[::2], numbers[1::2], strict=False)
        numbers = tuple(top / bottom if bottom else float("nan") for top, bottom in pairs)
    return numbers[0] if len(numbers) == 1 else numbers


def _value(raw: Any, name: str, layout: _Layout) -> Any:
    """A value for users. Bytes are text if they can be, otherwise None."""
    if not isinstance(raw, bytes):
        return raw if not isinstance(raw, tuple) or len(raw) <= _MAX_NUMBERS else None
    encoding = "utf-8"
    if name.startswith("XP"):
        encoding = "utf-16-le"
    elif name in _WITH_CHARACTER_CODE and raw[:8] in _CHARACTER_CODES:
        encoding, raw = _CHARACTER_CODES[raw[:8]], raw[8:]
        encoding = _byte_order(raw, layout) if encoding == "utf-16" else encoding
    if encoding.startswith("utf-16"):
        raw = raw[: len(raw) // 2 * 2]
    elif encoding == "utf-8":
        raw = raw.split(b"\0", 1)[0]
    with suppress(UnicodeDecodeError):
        text = raw.decode(encoding)
        if all(letter.isprintable() or letter.isspace() or letter in "\0\ufeff" for letter in text):
            return clean(text.removeprefix("\ufeff"))
    return None


def _byte_order(data: bytes, layout: _Layout) -> str:
    """UTF-16 of a comment: by its mark, otherwise by the bytes that vary less (they name the script), otherwise as in the block."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16-le" if data[:2] == b"\xff\xfe" else "utf-16-be"
    even, odd = len(set(data[::2])), len(set(data[1::2]))
    return "utf-16-le" if odd < even or (odd == even and layout.order == "<") else "utf-16-be"
