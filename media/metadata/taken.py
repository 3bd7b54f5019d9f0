"""When a picture or film was taken: the first time that can be true, in the order of trust of `DATES`.

1. The first tag with a possible time counts.
2. If it is only a day, month or year, the next tag with a more exact time in it counts.
3. If its zone is unknown, another tag may tell it: the time of GPS, which is UTC; one with the same time and a zone; or a file name with
   the local time of a film, whose container has UTC.
4. The zone of a time in UTC is at last that of the position.

A time is dropped if it cannot be true, such as month 0 or the year 9999. `notes` says so.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from media.metadata.columns import Tags, lookup
from media.metadata.dates import Kind, Moment, Precision, parse_moment, parse_zone
from media.metadata.texts import clean

_EPOCHS = frozenset({(1903, 12), (1904, 1), (1969, 12), (1970, 1)})  # where the clocks of films begin to count


@dataclass(frozen=True)
class DateTag:
    """A tag with a time, and the tags that complete it.

    Attributes:
        tag: the date, and mostly the time.
        time: the tag with the time of day, if it has its own.
        fraction: the tag with the fraction of a second.
        zones: the tags with the offset from UTC.
        kind: of the clock; `utc` only if the text has no other offset.
    """

    tag: str
    time: str = ""
    fraction: str = ""
    zones: tuple[str, ...] = ()
    kind: Kind = "local"


def _exif(tag: str, suffix: str) -> DateTag:
    zones = (f"Exif.Photo.OffsetTime{suffix}", "Exif.Image.TimeZoneOffset", "Exif.Photo.TimeZoneOffset")
    return DateTag(tag, fraction=f"Exif.Photo.SubSecTime{suffix}", zones=zones)


DATES: Sequence[DateTag] = (
    _exif("Exif.Photo.DateTimeOriginal", "Original"),
    _exif("Exif.Image.DateTimeOriginal", "Original"),
    _exif("Exif.Photo.DateTimeDigitized", "Digitized"),
    DateTag("Xmp.exif.DateTimeOriginal"),
    DateTag("Xmp.photoshop.DateCreated"),
    DateTag("Xmp.xmp.CreateDate"),
    DateTag("Xmp.exif.DateTimeDigitized"),
    DateTag("Xmp.GPano.SourceImageCreateTime"),
    DateTag("Iptc.Application2.DateCreated", time="Iptc.Application2.TimeCreated"),
    DateTag("Iptc.Application2.DigitizationDate", time="Iptc.Application2.DigitizationTime"),
    DateTag("PNG.Creation Time"),
    DateTag("PNG.exif:DateTimeOriginal"),
    DateTag("PNG.exif:DateTimeDigitized"),
    _exif("Exif.Image.DateTime", ""),  # when the file was changed: others say more exactly when it was taken
    DateTag("PNG.exif:DateTime"),
    DateTag("Exif.GPSInfo.GPSDateStamp", time="Exif.GPSInfo.GPSTimeStamp", kind="gps"),
    DateTag("Xmp.exif.GPSTimeStamp", kind="gps"),
    DateTag("QuickTime.com.apple.quicktime.creationdate"),
    DateTag("QuickTime.DATE_RECORDED"),
    DateTag("QuickTime.DATE_DIGITIZED"),
    DateTag("QuickTime.gopro.creation_time"),
    DateTag("QuickTime.gpmf.time", kind="gps"),
    DateTag("QuickTime.creation_time", kind="utc"),
    DateTag("QuickTime.date", kind="utc"),
    DateTag("Takeout.photoTakenTime", kind="utc"),
)


@dataclass(frozen=True)
class Candidate:
    """A time, and where it was read. `text` instead of `moment`: a text that is no possible time."""

    source: str
    moment: Moment | None
    text: str = ""


def candidates(tags: Tags, source: str = "") -> Iterator[Candidate]:
    """The times of tags, in the order of trust. `source` is named instead of the tag."""
    known = lookup(tags)
    for date in DATES:
        text = _text(known.get(date.tag.lower()))
        if re.search("[1-9]", text):  # zeros and blanks mean that the time is unknown
            moment = _moment(known, date, text)
            if not (date.tag.startswith("QuickTime.") and moment and _is_unset(moment)):
                yield Candidate(source or date.tag, moment, text)


def taken_columns(
    found: Iterable[Candidate], *, last: Candidate | None = None, position: tuple[float, float] | None = None
) -> dict[str, Any]:
    """The columns of the first possible time, completed by the others; and `notes` about times that are impossible.

    Args:
        found: times, in the order of trust.
        last: counts only if there is no other time, and completes none.
        position: where it was, degrees north and east.
    """
    each = list(found)
    times = [(candidate.source, candidate.moment) for candidate in each if candidate.moment]
    notes = tuple(f"{one.source} has no possible time ({one.text[:40]!r}). It was ignored." for one in each if not one.moment)
    columns: dict[str, Any] = {"notes": notes} if notes else {}
    if not times and last and last.moment:
        return columns | _columns(last.moment, last.moment.zone) | {"taken_at_source": last.source}
    if times:
        source, moment = times[0]
        source, moment = next(((name, other) for name, other in times[1:] if other.refines(moment)), (source, moment))
        zones = [moment.zone, *(other.zone_of(moment) for _, other in sorted(times, key=lambda time: time[1].kind != "gps"))]
        zone = next((zone for zone in zones if zone is not None), None)
        if zone is None and position and moment.kind == "utc" and moment.precision == Precision.TIME:
            from media.metadata.place import zone_at  # loads a table

            zone = zone_at(*position, moment.clock)
        columns |= _columns(moment, zone) | {"taken_at_source": source}
    return columns


def _is_unset(moment: Moment) -> bool:
    return moment.precision == Precision.TIME and (moment.clock.year, moment.clock.month) in _EPOCHS


def _columns(moment: Moment, zone: int | None) -> dict[str, Any]:
    offset = datetime.timedelta(minutes=zone or 0)
    local = moment.clock + offset if moment.kind == "utc" else moment.clock
    columns = {"taken_at": local.replace(tzinfo=datetime.timezone(offset)), "taken_local": local}
    return columns if zone is None else columns | {"utc_offset_minutes": zone}


def _moment(known: Tags, date: DateTag, text: str) -> Moment | None:
    time = _text(known.get(date.time.lower()))
    moment = (parse_moment(f"{text} {time}") if time else None) or parse_moment(text)
    if moment is None or moment.precision != Precision.TIME:
        return moment
    if date.fraction and not moment.clock.microsecond:
        digits = re.match(r"\d{0,6}", _text(known.get(date.fraction.lower())), re.ASCII)
        moment = replace(moment, clock=moment.clock.replace(microsecond=int(digits[0].ljust(6, "0")) if digits else 0))
    if moment.zone is None:
        zones = (parse_zone(_first(known.get(name.lower()))) for name in date.zones)
        moment = replace(moment, zone=next((zone for zone in zones if zone is not None), None))
    elif moment.zone == 0 and date.tag.startswith("Iptc."):
        moment = replace(moment, zone=None)  # Photoshop and Lightroom write +0000 for an unknown zone
    if date.kind == "gps" or (date.kind == "utc" and moment.zone == 0):
        moment = replace(moment, clock=moment.instant, zone=None, kind=date.kind)
    return moment


def _text(value: Any) -> str:
    """A text of a tag. GPS writes the time of day as three numbers."""
    if isinstance(value, tuple) and len(value) == 3 and all(isinstance(part, int | float) and 0 <= part < 100 for part in value):
        return ":".join(f"{int(part):02}" for part in value)
    return clean(_first(value))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value
