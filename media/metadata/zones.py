"""The offset of the clocks at a position from UTC, by the table of time zones in the package tzfpy."""

import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_at(latitude: float, longitude: float, utc: datetime.datetime) -> int | None:
    """Minutes that the clocks are ahead of UTC at a position (degrees) and a moment (UTC, without zone); None if unknown."""
    zone = _zone(latitude, longitude)
    offset = utc.replace(tzinfo=datetime.UTC).astimezone(zone).utcoffset() if zone else None
    return None if offset is None else round(offset.total_seconds() / 60)


@lru_cache(maxsize=4096)  # people make many films at one place
def _zone(latitude: float, longitude: float) -> ZoneInfo | None:
    import tzfpy  # its table takes 60 MB

    try:
        return ZoneInfo(tzfpy.get_tz(longitude, latitude))
    except (ZoneInfoNotFoundError, ValueError):
        return None
