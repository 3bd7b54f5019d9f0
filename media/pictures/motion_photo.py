"""Motion photos: a film behind the picture in one file, as phones write it.

Makers say in different ways where the film begins: XMP of two kinds (Google), a list at the end of the file (Samsung), a box of a HEIC
(both), or nothing. But the film is always an MPEG-4 or QuickTime file, so its first box is searched for.
"""

import os
from typing import BinaryIO

from media.boxes import Box, top_boxes
from media.formats import sniff

_CHUNK = 1 << 22
_FILM_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"meta", b"udta"})


def may_hold_film(format_name: str | None) -> bool:
    """Whether a picture of this format may be a motion photo."""
    return format_name in {"JPEG", "HEIC"}


def find_film(stream: BinaryIO) -> tuple[int, int] | None:
    """The first byte and the length of the film in the file; None if there is none."""
    start = _end_of_picture(stream)
    while (start := _find(stream, b"ftyp", start)) >= 4:
        boxes = _boxes_of_film(stream, start - 4)
        if {b"moov", b"mdat"} <= {box.kind for box in boxes}:
            return start - 4, boxes[-1].stop - (start - 4)
        start += 4
    return None


def _end_of_picture(stream: BinaryIO) -> int:
    """Where to search, so that most pictures cost nothing: behind the picture of a HEIC; nowhere in a file that ends as JPEG does."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 2))
    if stream.read(2) == b"\xff\xd9":
        return end
    return max((box.stop for box in top_boxes(stream) if box.kind in {b"ftyp", b"meta", b"mdat"}), default=0)


def _boxes_of_film(stream: BinaryIO, start: int) -> list[Box]:
    """The boxes of a film from `start` on, up to other bytes: Samsung writes a list of contents behind it."""
    stream.seek(start)
    told = sniff(stream.read(64))
    if told is None or told.kind != "video":
        return []
    end = stream.seek(0, os.SEEK_END)
    boxes = []
    for box in top_boxes(stream, start):
        if box.kind not in _FILM_BOXES:
            break
        boxes.append(Box(box.kind, box.start, min(box.stop, end)))
    return boxes


def _find(stream: BinaryIO, marker: bytes, start: int) -> int:
    """The position of the marker at `start` or later; -1 if it is not there."""
    stream.seek(start)
    before = b""
    while chunk := stream.read(_CHUNK):
        found = (before + chunk).find(marker)
        if found >= 0:
            return start - len(before) + found
        start += len(chunk)
        before = chunk[1 - len(marker) :]
    return -1
