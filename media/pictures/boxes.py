"""The boxes of ISO base media files (ISO 14496-12, 4.2): HEIC, AVIF, JPEG 2000, JPEG XL and MPEG-4 consist of them."""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Box:
    """One box: its content is at `[start, stop)` of the file. `stop` is as the box says; a cut file ends before it."""

    kind: bytes
    start: int
    stop: int


def top_boxes(stream: BinaryIO, start: int = 0) -> Iterator[Box]:
    """The boxes from position `start` on, up to the first that is none. The position of the stream changes."""
    end = stream.seek(0, os.SEEK_END)
    while start + 8 <= end:
        stream.seek(start)
        head = stream.read(16)
        size, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(head[8:16], "big"), start + 16
        stop = end if size == 0 else start + size  # 0: up to the end of the file
        if stop < content or not (kind.isascii() and kind.decode("ascii").isprintable()):
            return
        yield Box(kind, content, stop)
        start = stop


def content_of(stream: BinaryIO, box: Box) -> bytes:
    stream.seek(box.start)
    return stream.read(box.stop - box.start)


def colours_of(about: bytes) -> tuple[int, int] | None:
    """The curve and the primaries of the main picture of a HEIC or AVIF, as numbers of ITU-T H.273. None if its `meta` box has none."""
    stream = io.BytesIO(about)
    boxes = {box.kind: box for box in top_boxes(stream, 4)}
    try:
        main = content_of(stream, boxes[b"pitm"])
        inside = {box.kind: box for box in top_boxes(stream, boxes[b"iprp"].start) if box.stop <= boxes[b"iprp"].stop}
        properties = [box for box in top_boxes(stream, inside[b"ipco"].start) if box.stop <= inside[b"ipco"].stop]
        item = int.from_bytes(main[4:6] if main[0] == 0 else main[4:8], "big")
        for number in _properties_of(item, content_of(stream, inside[b"ipma"])):
            content = content_of(stream, properties[number - 1])
            if number and properties[number - 1].kind == b"colr" and content[:4] == b"nclx":
                primaries, curve = struct.unpack(">HH", content[4:8])
                return curve, primaries
    except (KeyError, IndexError, struct.error):  # damaged, or without a main picture
        pass
    return None


def _properties_of(item: int, associations: bytes) -> Iterator[int]:
    """The numbers of the properties of an item, from the content of an `ipma` box (ISO 23008-12, 9.3)."""
    version, wide = associations[0], associations[3] & 1
    at = 8
    for _ in range(int.from_bytes(associations[4:8], "big")):
        width = 2 if version == 0 else 4
        owner, count = int.from_bytes(associations[at : at + width], "big"), associations[at + width]
        at += width + 1
        if owner == item:
            step, bits = (2, 0x7FFF) if wide else (1, 0x7F)
            yield from (int.from_bytes(associations[here : here + step], "big") & bits for here in range(at, at + count * step, step))
        at += count * (1 + wide)
