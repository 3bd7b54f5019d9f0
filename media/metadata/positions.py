"""Positions as cameras, phones and programs write them: to degrees north and east, or None.

Half a position is none. Neither is 0, 0: cameras without a fix write it, and nobody lives in that part of the Gulf of Guinea.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

_MAX_LETTERS = 200
_NULL_ISLAND_DEGREES = 0.01  # cameras without a fix also write almost 0, 0
_NEGATIVE = ("S", "W")
_ISO_6709 = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)(?:[+-]\d+(?:\.\d+)?)?(?:CRS.*)?/?", re.ASCII)
_DECIMAL_PAIR = re.compile(r"([+-]?\d{1,3}\.\d+)\s*[,; ]\s*([+-]?\d{1,3}\.\d+)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_TEXT_ANGLE = re.compile(r"\s*[NSEW]?[\d\s.,:;+\-°ºd'’′\"”″eg]*(?:[NSEW]\w*)?\s*", re.ASCII | re.IGNORECASE)


def position(latitude: object, longitude: object, *, latitude_ref: object = "", longitude_ref: object = "") -> tuple[float, float] | None:
    """The position of two angles: rationals for degrees, minutes and seconds, a decimal number, or a text such as `48,51.49N`."""
    north, east = _angle(latitude, latitude_ref), _angle(longitude, longitude_ref)
    if north is None or east is None or abs(north) > 90 or abs(east) > 180:
        return None
    if abs(north) < _NULL_ISLAND_DEGREES and abs(east) < _NULL_ISLAND_DEGREES:
        return None
    return north, east


def iso_6709(text: object) -> tuple[float, float] | None:
    """The position in `+47.5383-002.8919/`, `+4732.298-00253.514+012.3CRSWGS_84/` (minutes) or `+473218-0025331/` (seconds)."""
    text = text[:_MAX_LETTERS].strip() if isinstance(text, str) else ""
    if match := _ISO_6709.fullmatch(text):
        return position(_sexagesimal(match[1], 2), _sexagesimal(match[2], 3))
    if match := _DECIMAL_PAIR.fullmatch(text):
        return position(float(match[1]), float(match[2]))
    return None


def _sexagesimal(text: str, degree_digits: int) -> tuple[float, ...] | None:
    """+DDMMSS.S to (degrees, minutes, seconds). The number of digits before the point says which of them there are."""
    digits, point, fraction = text[1:].partition(".")
    surplus = len(digits) - degree_digits
    if surplus <= 1:
        return (float(text),)
    if surplus not in {2, 4}:
        return None
    cuts = [digits[:degree_digits], *(digits[at : at + 2] for at in range(degree_digits, len(digits), 2))]
    cuts[-1] += point + fraction
    return tuple(float(part) if text[0] == "+" else -float(part) for part in cuts)


def _angle(value: object, ref: object) -> float | None:
    """Degrees, negative to the south and west, whether a sign, a letter or a word says so."""
    ref = ref if isinstance(ref, str) else ""
    parts: Sequence[Any] | None
    if isinstance(value, str):
        parts = _parts_of_text(value[:_MAX_LETTERS])
        ref = ref or re.sub(r"[^A-Za-z]|deg", "", value)
    else:
        parts = value if isinstance(value, tuple) else (value,)
    angle = None if parts is None else _joined(parts)
    if angle is None:
        return None
    return -abs(angle) if ref.strip()[:1].upper() in _NEGATIVE else angle


def _joined(parts: Sequence[Any]) -> float | None:
    """Degrees and, where given, minutes and seconds. A rational n/0 at the end, which is NaN here, means that the part is not given."""
    if not 1 <= len(parts) <= 3 or not all(isinstance(part, int | float) for part in parts):
        return None
    numbers = [float(part) for part in parts]
    while numbers and math.isnan(numbers[-1]):
        numbers.pop()
    if not numbers or not all(map(math.isfinite, numbers)):
        return None
    if len(numbers) == 1 and len(parts) > 1 and numbers[0].is_integer():
        return None  # the minutes are unknown, so the position is off by up to 100 km
    negative = any(math.copysign(1, number) < 0 for number in numbers)
    angle = sum(abs(number) / 60**power for power, number in enumerate(numbers))
    return -angle if negative else angle


def _parts_of_text(text: str) -> Sequence[float] | None:
    """The numbers of `48 deg 51' 29.6" N`, `48,51.49N` or `-33.85`."""
    if not _TEXT_ANGLE.fullmatch(text):
        return None
    numbers = [float(number) for number in _NUMBER.findall(text)]
    return numbers if all(0 <= number < 60 for number in numbers[1:]) else None
