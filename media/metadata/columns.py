"""Which tags fill which column, and in which order. docs/metadata.md shows these tables, and that of `taken.py`.

Names are those of exiv2 (https://exiv2.org/metadata.html), with `PNG.` for the texts of a PNG, `QuickTime.` for the tags of any film,
and `Takeout.` for Google Takeout's JSON. The first tag with a usable value fills the column. Keywords and people are collected from all
their tags. Upper and lower case do not matter, because Matroska writes `DATE` where MP4 writes `date`.

XMP comes before IPTC and EXIF, as in digiKam, because XMP is always Unicode, and cameras write no default texts into it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from media.metadata.positions import iso_6709, position
from media.metadata.values import Found, camera, description, first_text, lens, names, stars

Metadata = Mapping[str, Any]  # the values: str, int, float, datetime, or a tuple of str, int and float
Tags = Mapping[str, Any]  # the tags of a file: names to str, int, float, or a tuple of these

COLUMNS: Mapping[str, tuple[Callable[[Found], Any], Sequence[str]]] = {  # how to read a column, and from which tags
    "title": (
        first_text,
        (
            "Xmp.dc.title",
            "Iptc.Application2.ObjectName",
            "Exif.Image.XPTitle",
            "PNG.Title",
            "QuickTime.com.apple.quicktime.title",
            "QuickTime.com.apple.quicktime.displayname",
            "QuickTime.title",
        ),
    ),
    "description": (
        description,
        (
            "Xmp.dc.description",
            "Iptc.Application2.Caption",
            "Exif.Image.ImageDescription",
            "Exif.Image.XPComment",
            "Exif.Image.XPSubject",
            "Xmp.tiff.ImageDescription",
            "Xmp.exif.UserComment",
            "Exif.Photo.UserComment",
            "PNG.Description",
            "PNG.Comment",
            "QuickTime.com.apple.quicktime.description",
            "QuickTime.com.apple.quicktime.comment",
            "QuickTime.description",
            "QuickTime.comment",
            "QuickTime.synopsis",
            "Takeout.description",
        ),
    ),
    "keywords": (
        names,
        (
            "Xmp.dc.subject",
            "Xmp.lr.hierarchicalSubject",
            "Xmp.digiKam.TagsList",
            "Xmp.MicrosoftPhoto.LastKeywordXMP",
            "Iptc.Application2.Keywords",
            "Exif.Image.XPKeywords",
            "PNG.Keywords",
            "QuickTime.com.apple.quicktime.keywords",
            "QuickTime.keywords",
        ),
    ),
    "people": (names, ("Xmp.mwg-rs.Regions", "Xmp.MP.RegionInfo", "Xmp.iptcExt.PersonInImage", "Takeout.people")),
    "rating": (
        stars,
        (
            "Xmp.xmp.Rating",
            "Exif.Image.Rating",
            "Xmp.MicrosoftPhoto.Rating",
            "Exif.Image.RatingPercent",
            "QuickTime.com.apple.quicktime.rating.user",
            "QuickTime.WM/SharedUserRating",
            "Takeout.favorited",
        ),
    ),
    "camera": (
        camera,
        (
            "Exif.Image.Make",
            "Exif.Image.Model",
            "Xmp.tiff.Make",
            "Xmp.tiff.Model",
            "Exif.Image.UniqueCameraModel",
            "QuickTime.com.apple.quicktime.make",
            "QuickTime.com.apple.quicktime.model",
            "QuickTime.com.android.manufacturer",
            "QuickTime.com.android.model",
            "QuickTime.make",
            "QuickTime.model",
            "QuickTime.gpmf.camera",
        ),
    ),
    "lens": (
        lens,
        (
            "Exif.Photo.LensModel",
            "Xmp.exifEX.LensModel",
            "Xmp.aux.Lens",
            "Exif.Photo.LensSpecification",
            "Xmp.aux.LensInfo",
            "QuickTime.com.apple.quicktime.camera.lens_model",
        ),
    ),
}
_POSITION = ("Latitude", "Longitude", "LatitudeRef", "LongitudeRef")  # the last two say north or south, and east or west
POSITIONS: Sequence[str | tuple[str, ...]] = (
    tuple(f"Exif.GPSInfo.GPS{name}" for name in _POSITION),
    tuple(f"Xmp.exif.GPS{name}" for name in _POSITION),
    "QuickTime.com.apple.quicktime.location.ISO6709",
    "QuickTime.location",
    "QuickTime.gpmf.location",
    ("Takeout.geoData.latitude", "Takeout.geoData.longitude"),
    ("Takeout.geoDataExif.latitude", "Takeout.geoDataExif.longitude"),
)


def columns_of(tags: Tags) -> dict[str, Any]:
    """The columns that the tags fill, without the time: {column: value}."""
    known = lookup(tags)
    columns = {
        column: read([(tag, known[tag.lower()]) for tag in wanted if tag.lower() in known]) for column, (read, wanted) in COLUMNS.items()
    }
    where = next((found for name in POSITIONS if (found := _position(known, name))), None)
    if where:
        columns |= {"latitude": where[0], "longitude": where[1]}
    return {column: value for column, value in columns.items() if value is not None}


def lookup(tags: Tags) -> Tags:
    """The tags by their names in lower case. A tag of a film in one language, such as `location-eng`, also counts without it."""
    known = {name.lower(): value for name, value in tags.items()}
    languages = {re.sub(r"-[a-z]{3}$", "", name): value for name, value in known.items() if name.startswith("quicktime.")}
    return {**languages, **known}


def _position(known: Tags, name: str | tuple[str, ...]) -> tuple[float, float] | None:
    if isinstance(name, str):
        return iso_6709(known.get(name.lower()))
    latitude, longitude, *refs = (known.get(each.lower()) for each in name)
    return position(latitude, longitude, **dict(zip(("latitude_ref", "longitude_ref"), refs, strict=False)))
