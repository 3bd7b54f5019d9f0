"""Reads the header of a picture: format, size and metadata. For most formats, no pixels are decoded.

The first bytes choose the plugin, not the suffix. `Image.open` is not used because its limit on pixels is global to the program: it
warns at 89 megapixels and refuses 179, and a library must not change it.
"""

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from media.errors import PictureError
from media.formats import FORMATS, HEAD_BYTES, Format, format_named, other_content, sniff, true_format
from media.pictures.jxl import open_jxl
from media.pictures.limits import MAX_BYTES
from media.pictures.opened import Opened
from media.pictures.plugins import open_avif, open_gif, open_heic, open_jpeg, open_jpeg_2000, open_photoshop, open_png, open_tiff
from media.pictures.raw import NotRawError, open_raw
from media.pictures.svg import open_svg

_OPENERS: dict[str, Callable[[BinaryIO], Opened]] = {
    "JPEG": open_jpeg,
    "PNG": open_png,
    "GIF": open_gif,
    "TIFF": open_tiff,
    "AVIF": open_avif,
    "HEIC": open_heic,
    "JPEG XL": open_jxl,
    "JPEG 2000": open_jpeg_2000,
    "Photoshop": open_photoshop,
}
_PILLOW = {
    "WEBP": "WebP",
    "GIF": "GIF",
    "BMP": "BMP",
    "DIB": "BMP",
    "ICO": "Icon",
    "CUR": "Icon",
    "ICNS": "Apple icon",
    "PPM": "Netpbm",
    "TGA": "Targa",
    "QOI": "QOI",
    "PCX": "PCX",
    "SGI": "SGI",
    "DDS": "DirectDraw",
}  # Pillow's names to ours
_NEVER = {"EPS", "JPEG", "MPO", "PNG"}  # EPS is a PostScript program: Pillow would run it in Ghostscript
# The suffixes of formats whose first bytes do not always tell them.
_WITHOUT_MAGIC = tuple(suffix for known in FORMATS if known.name in {"SVG", "Camera raw"} for suffix in known.suffixes)
_ALL_AT_ONCE = {"WebP", "AVIF", "HEIC", "JPEG XL", "Camera raw", "Photoshop"}  # their decoders take all bytes


def read_header(stream: BinaryIO, *, min_side: int = 0, name: str = "") -> tuple[Opened, Format | None]:
    """The header of a picture, and its format by the bytes; None if only Pillow knows the format.

    Args:
        min_side: drawings are drawn with at least this many pixels a side.
        name: of the file, for formats whose first bytes do not always tell them.

    Raises:
        UnidentifiedImageError: the stream contains no picture, or a program (EPS).
        PictureError: a film, or a picture that no library here can read, with the reason.
        Any error of Pillow: the header is damaged.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    known = true_format(name, head) if name.lower().endswith(_WITHOUT_MAGIC) else sniff(head)
    if known is not None and known.kind == "video":
        raise PictureError("decode", f"a video ({known.name}), not a picture")
    if known is not None and known.name in _ALL_AT_ONCE and stream.seek(0, os.SEEK_END) > MAX_BYTES:
        raise PictureError("decode", f"too many bytes. At most {MAX_BYTES / 1e9:.1f} GB are allowed for {known.name}.")
    stream.seek(0)
    if known is not None and known.name == "SVG":
        return open_svg(stream, min_side), known
    if known is not None and known.name == "Camera raw":
        return _raw_or_tiff(stream), known
    if known is not None and known.name in _OPENERS:
        return _OPENERS[known.name](stream), known
    picture = _by_pillow(stream, head)
    return Opened(picture, picture.size), format_named(_PILLOW.get(picture.format or ""))


def _raw_or_tiff(stream: BinaryIO) -> Opened:
    """Some programs write plain TIFF files under the suffix .dng."""
    try:
        return open_raw(stream)
    except NotRawError:
        stream.seek(0)
        told = sniff(stream.read(HEAD_BYTES))
        if told is None or told.name != "TIFF":
            raise
        stream.seek(0)
        return open_tiff(stream)


def _by_pillow(stream: BinaryIO, head: bytes) -> Image.Image:
    """The picture by the first plugin of Pillow that accepts it."""
    Image.init()
    for name in Image.ID:
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a plugin raises these if a file is not of its format
            claim = accepts(head[:16]) if accepts else True  # a string is the reason why this Pillow cannot read the format
            if claim and not isinstance(claim, str) and name not in _NEVER:
                stream.seek(0)
                return factory(stream, "")
    if not head:
        raise PictureError("decode", "the file is empty")
    known_start = other_content(head) or f"It begins with {head[:16]!r}."
    raise UnidentifiedImageError(f"{known_start} Use JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC.")
