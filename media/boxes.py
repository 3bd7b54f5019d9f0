"""The boxes of ISO base media files (ISO 14496-12, 4.2): HEIC, AVIF, JPEG 2000, JPEG XL and MPEG-4 consist of them."""

import os
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
