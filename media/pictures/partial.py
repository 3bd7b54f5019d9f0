"""Decodes pictures that lack their last bytes, or are damaged in the middle: what can be decoded is kept, the rest is grey.

Pillow can do this, but only for the whole program (`ImageFile.LOAD_TRUNCATED_IMAGES`), and without saying so.
"""

import io
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from media.boxes import top_boxes
from media.formats import HEAD_BYTES, sniff

# Pillow and its plugins raise these for damaged files.
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    struct.error,
)
_LEAST_SHARE = 0.1  # of the pixels; with less, the picture counts as lost
_BAND_PIXELS = 4_000_000
_LEAST_BYTES = 0.2  # of the bytes, where lost pixels cannot be counted
_GREY = 128  # what libjpeg writes where data are missing
_END_OF_JPEG, _END_OF_PNG = b"\xff\xd9", b"IEND\xaeB`\x82"


class LostError(Exception):
    """Nearly nothing of a picture can be decoded."""


def whole(stream: BinaryIO) -> tuple[BinaryIO, bool]:
    """The stream, and whether it ends too early. WebP, HEIC and AVIF then get zeros up to the length that they state.

    Their decoders accept no shorter stream; with zeros, they give the first rows right and the others wrong. A PNG ends with a marker.

    Raises:
        LostError: nearly all bytes are missing.
    """
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    told = sniff(head)
    stated = 0
    if told is not None and told.name == "PNG":
        return stream, not _contains(stream, _END_OF_PNG)
    if told is not None and told.name == "WebP" and head[12:16] == b"VP8X" and head[20] & 2:
        return _whole_chunks(stream, length)
    if told is not None and told.name == "WebP":
        stated = int.from_bytes(head[4:8], "little") + 8
    elif told is not None and told.name in {"HEIC", "AVIF"}:
        stated = max((box.stop for box in top_boxes(stream)), default=0)
    if stated <= length or stated > 4 * length / _LEAST_BYTES:
        return stream, False
    if length < _LEAST_BYTES * stated:
        raise LostError
    stream.seek(0)
    return io.BytesIO(stream.read().ljust(stated, b"\0")), stated > length + 1  # some writers count a byte of padding that they leave out


def _whole_chunks(stream: BinaryIO, length: int) -> tuple[BinaryIO, bool]:
    """An animated WebP up to its last whole chunk, and whether others are missing. The decoder refuses it otherwise."""
    stream.seek(0)
    data = stream.read()
    end = 12
    while end + 8 <= length and (stop := end + 8 + (size := int.from_bytes(data[end + 4 : end + 8], "little")) + size % 2) <= length:
        end = stop
    if end >= min(length, int.from_bytes(data[4:8], "little") + 8):
        return stream, False
    return io.BytesIO(data[:4] + (end - 8).to_bytes(4, "little") + data[8:end]), True


def decode(picture: Image.Image, again: Callable[[], Image.Image]) -> tuple[Image.Image, bool]:
    """The picture with its pixels, as far as they can be decoded, and whether a part is missing.

    `again` opens the same picture once more, for a second attempt with a damaged one.

    Raises:
        LostError or one of `DAMAGE`: nearly nothing can be decoded.
    """
    try:
        if picture.format == "JPEG":
            return picture, _decode_jpeg(picture)
        picture.load()
        return picture, False
    except DAMAGE as error:
        reason = error.with_traceback(None)  # which holds the pixels of the first attempt
    picture = again()
    mode, colour = picture.mode, _unusual(picture)
    picture.im = Image.new(mode, getattr(picture, "_tile_size", picture.size), colour).im
    with suppress(*DAMAGE):
        picture.load()
    picture.tile = []  # type: ignore[attr-defined]
    if isinstance(picture, TiffImageFile):
        picture.load_end()  # turns it, if that was not done
    if picture.mode != mode or not _is_enough(picture, colour):
        raise reason
    return picture, True


def _decode_jpeg(picture: Image.Image) -> bool:
    """Decode a JPEG. If it has no end, libjpeg gets one, and fills the rest with grey. Returns whether that happened.

    A progressive JPEG is written at the end, another one row by row. So a pixel was decoded if its row is not black when the bytes end,
    or if it is not grey in the result.
    """
    source = _WithEnd(picture)
    picture.fp = source  # type: ignore[attr-defined]
    picture.load()
    if source.written is None:
        return False
    is_coloured = np.any(np.asarray(picture.convert("RGB")) != _GREY, axis=2)  # (H, W)
    if (is_coloured | source.written[:, None]).mean() < _LEAST_SHARE:
        raise LostError
    return True


class _WithEnd:
    """The bytes of a JPEG, and after them the marker of its end, if the decoder asks for more.

    Attributes:
        written: bool (H,), the rows that were not black when the bytes ended; None before.
    """

    def __init__(self, picture: Any) -> None:
        self._picture, self._stream = picture, picture.fp
        self.written: NDArray[np.bool_] | None = None

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        if data or self.written is not None:
            return data
        picture = Image.new(self._picture.mode, self._picture.size)
        picture.im = self._picture.im
        self.written = np.any(np.asarray(picture.convert("RGB")), axis=(1, 2))
        return _END_OF_JPEG

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _unusual(picture: Image.Image) -> float | tuple[int, ...]:
    """A grey that hardly any picture has, to tell which pixels the decoder left alone."""
    if picture.mode == "CMYK":
        return (0, 1, 0, 127)
    bands = len(picture.getbands())
    if bands > 1:
        return (127, 129, 127, 255)[:bands] if bands > 2 else (129, 255)
    return {"F": 0.5, "1": 255}.get(picture.mode, 33_001 if picture.mode.startswith("I") else 129)


def _is_enough(picture: Image.Image, colour: float | tuple[int, ...]) -> bool:
    """Whether enough pixels do not have the colour. In bands, because arrays need more memory than the picture."""
    width, height = picture.size
    different, rows = 0, max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = np.asarray(picture.crop((0, top, width, min(top + rows, height)))) != np.asarray(colour)
        different += int((band.any(axis=2) if band.ndim == 3 else band).sum())
        if different >= _LEAST_SHARE * width * height:
            return True
    return False


def _contains(stream: BinaryIO, marker: bytes) -> bool:
    """Whether the marker is in the stream. It is usually at the end."""
    length = stream.seek(0, os.SEEK_END)
    for size in (min(length, 1 << 16), length):
        stream.seek(length - size)
        if marker in stream.read(size):
            return True
    return False
