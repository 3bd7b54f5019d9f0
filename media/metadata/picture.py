"""The metadata of a picture that Pillow opened: finds its blocks of EXIF, XMP and IPTC and the texts of a PNG, and reads them."""

import re
import struct
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import ExifTags, Image, PngImagePlugin

from media.metadata.columns import columns_of
from media.metadata.exif import exif_stream, tiff_blocks, tiff_orientation, tiff_tags
from media.metadata.iptc import iptc_of_photoshop, iptc_tags
from media.metadata.taken import candidates, taken_columns
from media.metadata.texts import clean, decode, plain
from media.metadata.xmp import MAX_BYTES, xmp_tags

_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_XMP_IN_TIFF, _IPTC_IN_TIFF, _PHOTOSHOP_IN_TIFF = 0x02BC, 0x83BB, 0x8649
_IPTC_RESOURCE, _EXIF_RESOURCE, _XMP_RESOURCE = 0x0404, 0x0422, 0x0424  # of Photoshop
# What Pillow raises for damaged files; Warning in programs that turn warnings into errors.
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error, Warning)


def picture_metadata(picture: Image.Image, size: tuple[int, int]) -> dict[str, Any]:
    """The metadata of a picture that Pillow opened. `size`: width and height in the file, not rotated. Damaged blocks give no keys."""
    exif = _exif(picture)
    blocks = tiff_blocks(exif, {_XMP_IN_TIFF, _IPTC_IN_TIFF, _PHOTOSHOP_IN_TIFF}, max_bytes=MAX_BYTES) if exif else {}
    tags = tiff_tags(exif) if exif else {}
    tags |= xmp_tags(_xmp(picture) or blocks.get(_XMP_IN_TIFF, b""))
    tags |= iptc_tags(_iptc(picture) or blocks.get(_IPTC_IN_TIFF) or iptc_of_photoshop(blocks.get(_PHOTOSHOP_IN_TIFF, b"")))
    tags |= _png_texts(picture)
    width, height = reversed(size) if orientation_of(picture) in _SIDEWAYS else size
    return {"width": width, "height": height} | columns_of(tags) | taken_columns(candidates(tags)) | plain(tags)


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, otherwise that of XMP, 1 to 8. 1 (not rotated) if there is none or it is damaged."""
    orientation: Any = None
    if (exif := _exif_block(picture)) is not None:
        orientation = tiff_orientation(exif_stream(exif))
    else:  # Pillow rotates a TIFF when it loads it, and removes the tag
        with suppress(*_DAMAGE):
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
    if orientation is None and (match := _XMP_ORIENTATION.search(_xmp(picture))):
        orientation = int(match[1])
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _exif(picture: Image.Image) -> BinaryIO | None:
    if (block := _exif_block(picture)) is not None:
        return exif_stream(block)
    with suppress(*_DAMAGE):  # a TIFF; Pillow keeps its stream here when it has decoded the pixels
        return getattr(picture.getexif(), "fp", None)
    return None


def _exif_block(picture: Image.Image) -> bytes | None:
    blocks = (picture.info.get("exif"), _profile(picture, "exif"), _profile(picture, "APP1"), _resources(picture).get(_EXIF_RESOURCE))
    return next((block for block in blocks if isinstance(block, bytes) and block and not block.startswith(_XMP_MARK)), None)


def _xmp(picture: Image.Image) -> bytes:
    info, app1 = picture.info, _profile(picture, "APP1")
    blocks = (info.get("xmp"), info.get("XML:com.adobe.xmp"), _profile(picture, "xmp"), _resources(picture).get(_XMP_RESOURCE))
    return next(filter(None, map(_bytes, blocks)), app1.removeprefix(_XMP_MARK) if app1.startswith(_XMP_MARK) else b"")


def _iptc(picture: Image.Image) -> bytes:
    photoshop = picture.info.get("photoshop")
    if isinstance(photoshop, dict) and (block := _bytes(photoshop.get(_IPTC_RESOURCE))):
        return block
    profile = _profile(picture, "iptc") or _profile(picture, "8bim")
    return iptc_of_photoshop(profile) or profile or _resources(picture).get(_IPTC_RESOURCE, b"")


def _profile(picture: Image.Image, kind: str) -> bytes:
    """A block that ImageMagick wrote into the text of a PNG, in hexadecimal after three lines."""
    text = picture.info.get(f"Raw profile type {kind}")
    with suppress(ValueError):
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    return b""


def _resources(picture: Image.Image) -> dict[int, bytes]:
    """The image resources of a PSD."""
    found = getattr(picture, "resources", ())
    return {code: data for code, _, data in found} if isinstance(found, list) else {}


def _bytes(block: object) -> bytes:
    return block if isinstance(block, bytes) else block.encode(errors="replace") if isinstance(block, str) else b""


def _png_texts(picture: Image.Image) -> dict[str, str]:
    """The texts of a PNG, except the blocks. Programs write UTF-8 where PNG prescribes Latin-1."""
    texts = picture.info if picture.format == "PNG" else {}
    return {
        f"PNG.{clean(key)}": text
        for key, value in texts.items()
        if isinstance(key, str) and isinstance(value, str) and not key.startswith(("Raw profile", "XML:com.adobe"))
        if (text := clean(value if isinstance(value, PngImagePlugin.iTXt) else decode(value.encode("latin-1", "replace"))))
    }
