"""The position and time in the telemetry of a GoPro: https://github.com/gopro/gpmf-parser.

A GoPro writes its clock into the film as if it were UTC, and neither zone nor, in most models, a position. Its telemetry is a stream of
nested entries: a name of four letters, a type, a size, a count, and big-endian values. Type 0 contains entries.
"""

import datetime
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_HEAD = struct.Struct(">4sBBH")
_MOST_DILUTION = 10.0  # of precision, as a factor; above it a position may be off by a kilometre
_FIXES = {2, 3}  # in two or three dimensions
_DAY_0 = datetime.datetime(2000, 1, 1)


class _Entry(NamedTuple):
    name: bytes
    type: int
    size: int
    content: bytes


def is_telemetry(stream: Any) -> bool:
    """Whether a stream of a film has a GoPro's telemetry."""
    return stream.type == "data" and "GoPro MET" in stream.metadata.get("handler_name", "")


def telemetry_tags(payload: bytes) -> dict[str, str]:
    """The first position of a packet as `gpmf.location` (ISO 6709), its time as `gpmf.time` (UTC), and the name of the camera.

    Empty if the camera had no position, or the packet is damaged.
    """
    for device in _entries(payload):
        inside = list(_entries(device.content))
        for stream in inside:
            found = {entry.name: entry for entry in _entries(stream.content)} if stream.name == b"STRM" else {}
            try:
                place = _of_gps9(found) if b"GPS9" in found else _of_gps5(found) if b"GPS5" in found else {}
            except (struct.error, KeyError, ValueError, IndexError, OverflowError, ZeroDivisionError):  # damaged
                continue
            if place:
                names = (entry.content.decode("latin-1").strip("\0 ") for entry in inside if entry.name == b"DVNM")
                camera = next((f"GoPro {name.removeprefix('GoPro ')}" for name in names if name not in {"", "Camera"}), "")
                return {**place, "gpmf.camera": camera} if camera else place
    return {}


def _of_gps5(found: Mapping[bytes, _Entry]) -> dict[str, str]:
    """HERO5 to HERO10: latitude, longitude, height and speeds; fix and time stand beside them."""
    dilution = struct.unpack(">H", found[b"GPSP"].content[:2])[0] / 100 if b"GPSP" in found else 0
    if struct.unpack(">I", found[b"GPSF"].content[:4])[0] not in _FIXES or dilution > _MOST_DILUTION:
        return {}
    latitude, longitude = _scaled(found, b"GPS5", "ii")
    time = datetime.datetime.strptime(found[b"GPSU"].content[:12].decode("ascii"), "%y%m%d%H%M%S")
    return _tags(latitude, longitude, time)


def _of_gps9(found: Mapping[bytes, _Entry]) -> dict[str, str]:
    """HERO11 and later: all in one, with days since 2000, seconds of the day, dilution and fix."""
    values = _scaled(found, b"GPS9", "iiiiiiiHH")
    latitude, longitude, days, seconds, dilution, fix = (*values[:2], *values[5:])
    if fix not in _FIXES or dilution > _MOST_DILUTION:
        return {}
    return _tags(latitude, longitude, _DAY_0 + datetime.timedelta(days=days, seconds=seconds))


def _tags(latitude: float, longitude: float, time: datetime.datetime) -> dict[str, str]:
    return {"gpmf.location": f"{latitude:+011.7f}{longitude:+012.7f}/", "gpmf.time": f"{time:%Y-%m-%d %H:%M:%S}"}


def _scaled(found: Mapping[bytes, _Entry], name: bytes, form: str) -> list[float]:
    """The first values of an entry, each divided by its scale."""
    values = struct.unpack_from(f">{form}", found[name].content)
    scales = struct.unpack_from(f">{len(form)}i", found[b"SCAL"].content)
    return [value / scale for value, scale in zip(values, scales, strict=True)]


def _entries(content: bytes) -> Iterator[_Entry]:
    """The entries at the top of a content, up to the first that is damaged."""
    at = 0
    while at + _HEAD.size <= len(content):
        name, kind, size, count = _HEAD.unpack_from(content, at)
        start, length = at + _HEAD.size, size * count
        if not name.isalnum() or start + length > len(content):
            return
        yield _Entry(name, kind, size, content[start : start + length])
        at = start + (length + 3) // 4 * 4
