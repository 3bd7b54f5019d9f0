"""What a picture file says of itself: size as a viewer shows it, when, where and with what it was taken (EXIF)."""

import datetime
from dataclasses import dataclass

from PIL import ExifTags, Image

_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class MediaFacts:
    """Size in pixels, upright; `duration_seconds` of a video; latitude and longitude in degrees."""

    width: int
    height: int
    duration_seconds: float | None = None
    taken_at: datetime.datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None


def read_facts(picture: Image.Image) -> MediaFacts:
    """The facts of an opened, not yet decoded picture. EXIF that is damaged or absent leaves its columns empty."""
    try:
        exif = picture.getexif()
        details, place = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    except (OSError, ValueError, SyntaxError, TypeError):
        exif, details, place = Image.Exif(), {}, {}
    width, height = picture.size
    if exif.get(ExifTags.Base.Orientation) in _TURNED:
        width, height = height, width
    names = [str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    return MediaFacts(
        width,
        height,
        taken_at=_time(details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.OffsetTimeOriginal)),
        latitude=_degrees(place.get(ExifTags.GPS.GPSLatitude), place.get(ExifTags.GPS.GPSLatitudeRef), "S", 90.0),
        longitude=_degrees(place.get(ExifTags.GPS.GPSLongitude), place.get(ExifTags.GPS.GPSLongitudeRef), "W", 180.0),
        camera=" ".join(name for name in names if name) or None,
    )


def plausible(taken_at: datetime.datetime) -> datetime.datetime | None:
    """The time in UTC; None before the first photograph (1826) or after 2100, which only a wrong clock gives.

    Years 1 and 9999 with an offset lie outside what Python can hold, and would break every search that finds the file.
    """
    try:
        utc = taken_at.astimezone(datetime.UTC)
    except (OverflowError, ValueError):
        return None
    return utc if 1826 <= utc.year <= 2100 else None


def _time(value: object, offset: object) -> datetime.datetime | None:
    """A camera without a time zone, or with a blank one, is taken to run on UTC: wrong by hours at most, and the same on every machine."""
    try:
        taken_at = datetime.datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    try:
        zone = datetime.datetime.strptime(str(offset).strip("\0 "), "%z").tzinfo
    except ValueError:
        zone = datetime.UTC
    return plausible(taken_at.replace(tzinfo=zone))


def _degrees(value: object, reference: object, negative: str, limit: float) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in value)  # type: ignore[attr-defined]
        angle = degrees + minutes / 60 + seconds / 3600
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    angle = -angle if str(reference).strip("\0 ").upper() == negative else angle
    return angle if abs(angle) <= limit else None  # also drops NaN
