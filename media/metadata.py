"""Metadata that a file carries, as one mapping from names to plain values.

Pictures and videos have the same derived keys: `width` and `height` (pixels, upright), `duration_seconds` (videos only), `taken_at`
(datetime with a time zone), `latitude` and `longitude` (degrees), `camera`. Raw tags of pictures have the names of exiv2
(https://exiv2.org/metadata.html), such as `Exif.Photo.LensModel`. Those of a video container and its stream are `QuickTime.<tag>`.
The mapping has no key for a value that is absent, empty or unreadable, so use `get`.
"""

import datetime
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

Metadata = Mapping[str, Any]  # the values: str, int, float, datetime, or a tuple of str, int and float

_GROUPS = {
    "Image": (None, ExifTags.TAGS),
    "Photo": (ExifTags.IFD.Exif, ExifTags.TAGS),
    "GPSInfo": (ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS),
    "Iop": (ExifTags.IFD.Interop, {tag.value: tag.name for tag in ExifTags.Interop}),
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
_POINTERS = frozenset({ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop})  # offsets of other groups, not values
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
# What Pillow raises for damaged EXIF; Warning in programs that turn warnings into errors.
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error, Warning)


def picture_metadata(picture: Image.Image, size: tuple[int, int]) -> dict[str, Any]:
    """The metadata of a picture that Pillow opened. `size`: width and height in the file, not rotated. Damaged EXIF gives no keys."""
    tags = dict(_exif_tags(picture))
    width, height = reversed(size) if orientation_of(picture) in _SIDEWAYS else size
    derived = {
        "width": width,
        "height": height,
        "taken_at": _exif_time(tags.get("Exif.Photo.DateTimeOriginal"), tags.get("Exif.Photo.OffsetTimeOriginal")),
        "latitude": _degrees(tags, "Latitude", "S", 90.0),
        "longitude": _degrees(tags, "Longitude", "W", 180.0),
        "camera": _camera(tags.get("Exif.Image.Make"), tags.get("Exif.Image.Model")),
    }
    return _known(derived) | tags


def video_metadata(tags: Mapping[str, str], *, width: int, height: int, duration_seconds: float) -> dict[str, Any]:
    """The metadata of a video: upright size in pixels, length in seconds, and the tags of its container and stream."""
    derived = {
        "width": width,
        "height": height,
        "duration_seconds": duration_seconds,
        "taken_at": _iso_time(tags.get("creation_time", "")),
        "camera": _camera(*(tags.get(f"com.apple.quicktime.{name}") or tags.get(name) for name in ("make", "model"))),
    }
    return _known(derived) | {f"QuickTime.{name}": value for name, value in tags.items() if value}


def _known(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value is not None}


def orientation_of(picture: Image.Image) -> int:
    """The EXIF (or XMP) orientation, 1 to 8. 1 (not rotated) if there is none or the EXIF block is damaged."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, struct.error, Warning):
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _exif_tags(picture: Image.Image) -> Iterator[tuple[str, Any]]:
    """Raw tags. A damaged tag, or a damaged group of tags, does not hide the others."""
    for group, (pointer, names) in _GROUPS.items():
        tags: Any = {}
        with suppress(*_DAMAGE):
            tags = picture.getexif() if pointer is None else picture.getexif().get_ifd(pointer)
        for tag in list(tags):
            name = _EXIV2_NAMES.get(tag) or names.get(tag) or f"0x{tag:04x}"
            with suppress(*_DAMAGE):
                if tag not in _POINTERS and (value := _plain(tags[tag], name)) not in {None, ""}:
                    yield f"Exif.{group}.{name}", value


def _plain(value: Any, name: str) -> Any:
    """A value of Pillow as str, int, finite float or a tuple of these; None if it is something else."""
    if isinstance(value, tuple):
        parts = tuple(_plain(part, name) for part in value)
        return None if None in parts else parts
    if isinstance(value, TiffImagePlugin.IFDRational):
        value = float(value)  # NaN if its denominator is 0
    if isinstance(value, bytes | str):
        return _text(value, name)
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else None


def _text(value: bytes | str, name: str) -> str | None:
    """EXIF allows only ASCII, but programs write UTF-8, which Pillow reads as Latin-1. Some tags hold text as bytes, as Windows' titles."""
    data = value.encode("latin-1") if isinstance(value, str) else value
    try:
        text = data.decode("utf-16-le" if name.startswith("XP") else "utf-8")
    except UnicodeDecodeError:
        return value.strip("\0 ") if isinstance(value, str) else None
    text = text.removeprefix("ASCII\0\0\0").strip("\0 ")
    return text if isinstance(value, str) or all(letter.isprintable() or letter.isspace() for letter in text) else None


def _exif_time(value: object, offset: object) -> datetime.datetime | None:
    for text, form in ((f"{value} {offset}", "%Y:%m:%d %H:%M:%S %z"), (str(value), "%Y:%m:%d %H:%M:%S")):
        with suppress(ValueError):
            return _plausible(datetime.datetime.strptime(text, form))
    return None


def _iso_time(value: str) -> datetime.datetime | None:
    with suppress(ValueError):
        return _plausible(datetime.datetime.fromisoformat(value))
    return None


def _plausible(taken_at: datetime.datetime) -> datetime.datetime | None:
    """The time; None if it is before the first photograph (1826) or after 2100, because then the clock was wrong.

    A time without a zone is read as UTC. It is wrong by hours at most, and the same on every machine.
    """
    taken_at = taken_at if taken_at.tzinfo else taken_at.replace(tzinfo=datetime.UTC)
    with suppress(OverflowError, ValueError):  # with an offset, years 1 and 9999 can leave Python's range
        if 1826 <= taken_at.astimezone(datetime.UTC).year <= 2100:
            return taken_at
    return None


def _degrees(tags: Metadata, axis: str, negative: str, limit: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in tags[f"Exif.GPSInfo.GPS{axis}"])
    except (KeyError, TypeError, ValueError):
        return None
    angle = degrees + minutes / 60 + seconds / 3600
    angle = -angle if str(tags.get(f"Exif.GPSInfo.GPS{axis}Ref", "")).upper() == negative else angle
    return angle if abs(angle) <= limit else None  # also drops NaN


def _camera(*names: object) -> str | None:
    return " ".join(str(name) for name in names if name) or None


def file_metadata(embedded: Metadata, *, name: str, mtime: float, sidecars: Mapping[str, bytes]) -> dict[str, Any]:
    """The metadata of a file with what its sidecars, its name and its time say."""
    return dict(embedded)
