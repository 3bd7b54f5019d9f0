"""Times as files write them: text to a `Moment`, or None if it is no possible time.

A file says what the clock of the photographer showed, or what it showed in Greenwich, rarely both. A `Moment` keeps which one it is.
"""

import datetime
import email.utils
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Literal

FIRST_YEAR, LAST_YEAR = 1826, 2100  # the first photograph; later years come from a clock that was never set
_MAX_LETTERS = 64
_MAX_ZONE = 14 * 60
# Offsets from UTC in use, in minutes. Whole hours from -12 to +14, and these.
_ODD_ZONES = (-570, -210, -150, 210, 270, 330, 345, 390, 525, 570, 630, 765, 825)
ZONES = frozenset({*range(-12 * 60, 14 * 60 + 1, 60), *_ODD_ZONES})
_CLOCK_ERROR_SECONDS = 180  # a fix of GPS may be older than the picture, a camera's clock wrong

_ZONE = r"(?P<zone>Z|UTC|GMT|[+\-−]\s?\d{1,2}(?::?\d{2})?)"
_TIME = r"(?P<hour>\d{1,2})[:.]\s?(?P<minute>\d{1,2})(?:[:.]\s?(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?(?:\s*(?P<half>[ap])\.?m\.?)?"
_DATE = r"(?P<year>\d{4})(?:[-:/.]\s?(?P<month>\d{1,2})(?:[-:/.]\s?(?P<day>\d{1,2})"
_FORMS = (
    # 2019:07:04 12:34:56, 2019-07-04T12:34:56.7+02:00, 2019/07/04 12:34, 2019/07/04/ 12:34 (cameras that write AVI), 2019-07, 2019
    re.compile(rf"{_DATE}(?:(?:\s*T\s*|/?[\s,]+){_TIME}\s*{_ZONE}?(?:\s+[a-z]{{2,5}})?)?)?)?", re.ASCII | re.IGNORECASE),
    # 20190704, 20190704T123456+0200; IPTC writes 00 for an unknown month or day
    re.compile(
        r"(?P<year>\d{4})(?:0000|(?P<month>\d\d)(?:00|(?P<day>\d\d)))"
        rf"(?:[T ]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?(?:\.(?P<fraction>\d+))?(?P<half>)\s*{_ZONE}?)?",
        re.ASCII | re.IGNORECASE,
    ),
)
_ZONE_FORM = re.compile(
    r"\s*(?:Z|UTC|GMT|(?P<sign>[+\-−])\s?(?P<hours>\d{1,2}):?\s?(?P<minutes>[0-5]\d)?(?::?00)?)\s*", re.ASCII | re.IGNORECASE
)
_MAIL_ZONE = re.compile(r"[+-]\d{4}|\b(?:UT|UTC|GMT|[ECMP][SD]T)\b", re.IGNORECASE)
Kind = Literal["local", "utc", "gps"]


class Precision(IntEnum):
    """How much of a time is known."""

    YEAR = 1
    MONTH = 2
    DAY = 3
    TIME = 4


@dataclass(frozen=True)
class Moment:
    """A time in a file.

    Attributes:
        clock: what the clock showed; the first moment of a day, month or year if no more is known.
        zone: that clock minus UTC, in minutes; None if unknown.
        precision: how much of `clock` is known.
        kind: `local`: a clock at the place. `utc`: the clock is UTC and says nothing about the place. `gps`: UTC from satellites.
    """

    clock: datetime.datetime
    zone: int | None = None
    precision: Precision = Precision.TIME
    kind: Kind = "local"

    def __post_init__(self) -> None:
        if not FIRST_YEAR <= self.clock.year <= LAST_YEAR:
            raise ValueError(f"The year is {self.clock.year}. It must be from {FIRST_YEAR} to {LAST_YEAR}.")

    @property
    def instant(self) -> datetime.datetime:
        """The moment in UTC, without zone information. An unknown zone counts as UTC."""
        return self.clock - datetime.timedelta(minutes=self.zone or 0)

    def refines(self, other: "Moment") -> bool:
        """Whether this moment says more exactly what the other one says, such as the day of a known year."""
        known = ("year", "month", "day")[: other.precision]
        return self.precision > other.precision and all(getattr(self.clock, part) == getattr(other.clock, part) for part in known)

    def zone_of(self, other: "Moment") -> int | None:
        """The zone of the other moment, if this one tells it: the same moment with a zone, or on the clock of Greenwich."""
        if other.zone is not None or self.precision != Precision.TIME or other.precision != Precision.TIME:
            return None
        if self.zone is not None:
            same = self.instant - other.clock if other.kind == "utc" else self.clock - other.clock
            return self.zone if abs(same) < datetime.timedelta(seconds=1) else None
        if self.kind == "gps" and other.kind == "local":
            return _zone_between(other.clock, self.clock)
        if self.kind == "local" and other.kind == "utc":
            return _zone_between(self.clock, other.clock)
        return None


@lru_cache(maxsize=1024)  # the tags of one picture repeat the same time
def parse_moment(text: str, *, kind: Kind = "local") -> Moment | None:
    """The moment of a text in any usual form; None if it is none, or one that cannot be, such as month 0, 24:60 or the year 9999."""
    text = text.strip(" \t\n\r\0:")[:_MAX_LETTERS]
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _moment(match.groupdict(), kind)
    return _mail_date(text) if re.search("[A-Za-z]{3}", text) else None


def parse_zone(value: object) -> int | None:
    """Minutes ahead of UTC of `+02:00`, `+2:00`, `+0200`, `-5` or `Z`, or of a number of hours. None if it is blank or impossible."""
    if isinstance(value, int | float) and abs(value) <= _MAX_ZONE:
        minutes = round(value * 60)
    elif isinstance(value, str) and (match := _ZONE_FORM.fullmatch(value.strip("\0")[:_MAX_LETTERS])):
        minutes = int(match["hours"] or 0) * 60 + int(match["minutes"] or 0)
        minutes = -minutes if match["sign"] in {"-", "−"} else minutes
    else:
        return None
    return minutes if abs(minutes) <= _MAX_ZONE else None


def _moment(parts: dict[str, str | None], kind: Kind) -> Moment | None:
    names = ("month", "day", "hour")
    known = next((number for number, name in enumerate(names) if parts[name] is None), len(names))
    numbers = {name: int(value) for name, value in parts.items() if value and name in {*names[:known], "year"}}
    if known == len(names):
        numbers["minute"] = int(parts["minute"] or 0)
        numbers["second"] = _without_leap(int(parts["second"] or 0))
        numbers["microsecond"] = int((parts["fraction"] or "")[:6].ljust(6, "0"))
        if parts["half"] and numbers["hour"] <= 12:
            numbers["hour"] = numbers["hour"] % 12 + 12 * (parts["half"] in "pP")
    zone = parse_zone(parts["zone"]) if known == len(names) else None
    try:
        return Moment(datetime.datetime(**({"month": 1, "day": 1} | numbers)), zone, Precision(1 + known), kind)  # type: ignore[arg-type]
    except ValueError:
        return None


def _without_leap(second: int) -> int:
    return 59 if second == 60 else second


def _mail_date(text: str) -> Moment | None:
    """`Thu, 04 Jul 2019 12:34:56 +0200` (RFC 1123, which PNG recommends) and `Thu Jul  4 12:34:56 2019`."""
    try:
        parts = email.utils.parsedate_tz(text)
        if parts is None:
            return None
        clock = datetime.datetime(*parts[:5], _without_leap(parts[5]))
        return Moment(clock, parse_zone((parts[9] or 0) / 3600) if _MAIL_ZONE.search(text) else None)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _zone_between(clock: datetime.datetime, utc: datetime.datetime) -> int | None:
    difference = (clock - utc).total_seconds()
    zone = min(ZONES, key=lambda minutes: abs(difference - minutes * 60))
    return zone if abs(difference - zone * 60) <= _CLOCK_ERROR_SECONDS else None
