"""Dates in filters. A literal stands for its whole interval: '2025-09' is a month, '2025-09-11 08:59' a minute.

Times are int64 microseconds since 1970, because old rows can hold dates that Python does not have.
"""

import calendar
import re
from datetime import date

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s?(Z|[+-]\d\d:?\d\d)?)?)?)?", re.ASCII | re.IGNORECASE
)
_SECOND = 1_000_000
_EPOCH = date(1970, 1, 1).toordinal()


def interval(text: str) -> tuple[int, int, bool]:
    """The first and the last microsecond of a date, and whether it has a zone. Raises ValueError for what is no date."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups()[:6])
    fraction, zone = found[7], found[8]
    if year is None:
        raise ValueError(text)
    first = date(year, month or 1, day or 1).toordinal()
    last = date(year, month or 12, day or calendar.monthrange(year, month or 12)[1]).toordinal()
    start, end = (first - _EPOCH) * 86_400 * _SECOND, (last + 1 - _EPOCH) * 86_400 * _SECOND
    if hour is not None and minute is not None:
        if hour > 23 or minute > 59 or (second or 0) > 59:
            raise ValueError(text)
        start += (hour * 3600 + minute * 60 + (second or 0)) * _SECOND
        length = 60 * _SECOND if second is None else _SECOND
        if fraction:
            start += int(fraction[:6].ljust(6, "0"))
            length = 10 ** max(0, 6 - len(fraction))
        end = start + length
    if zone:
        minutes = 0 if zone in "Zz" else int(zone[1:3]) * 60 + int(zone[-2:])
        if minutes >= 24 * 60 or (zone not in "Zz" and int(zone[-2:]) > 59):
            raise ValueError(text)
        shift = (-minutes if zone[0] == "-" else minutes) * 60 * _SECOND
        start, end = start - shift, end - shift
    return start, end - 1, bool(zone)
