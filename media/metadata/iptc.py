"""Reads IPTC's older metadata (IIM) into exiv2's names, such as `Iptc.Application2.Caption`.

Pillow reads it from JPEG and TIFF only. PNG and PSD have it too, and the format is simple.
"""

import struct
from typing import Any

from media.metadata.texts import clean

# Record 2 of IIM 4.2; photographers' programs write these.
_NAMES = {
    5: "ObjectName",
    25: "Keywords",
    55: "DateCreated",
    60: "TimeCreated",
    62: "DigitizationDate",
    63: "DigitizationTime",
    80: "Byline",
    90: "City",
    92: "SubLocation",
    95: "ProvinceState",
    101: "CountryName",
    105: "Headline",
    110: "Credit",
    116: "Copyright",
    120: "Caption",
}
_RESOURCE = 0x0404  # of Photoshop: contains IPTC
_MAX_DATASETS = 5_000


def iptc_tags(data: bytes) -> dict[str, Any]:
    """The tags of an IIM block. A repeated tag, such as the keywords, is a tuple. What follows damage is left out."""
    found: dict[str, list[str]] = {}
    at = 0
    for _ in range(_MAX_DATASETS):
        marker, record, dataset, size = struct.unpack(">BBBH", data[at : at + 5].ljust(5, b"\0"))
        if marker != 0x1C or size & 0x8000:  # the end, or a value of more than 32 KiB
            break
        value = clean(data[at + 5 : at + 5 + size])
        if record == 2 and dataset in _NAMES and value:
            found.setdefault(f"Iptc.Application2.{_NAMES[dataset]}", []).append(value)
        at += 5 + size
    return {name: tuple(values) if len(values) > 1 or name.endswith("Keywords") else values[0] for name, values in found.items()}


def iptc_of_photoshop(data: bytes) -> bytes:
    """The IIM block in a sequence of Photoshop's image resources; empty if there is none."""
    at = 0
    while data[at : at + 4] == b"8BIM" and len(data) >= at + 12:
        (code, name_length) = struct.unpack_from(">HB", data, at + 4)
        at += 6 + (name_length + 2) // 2 * 2
        (size,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        if code == _RESOURCE:
            return data[at + 4 : at + 4 + size]
        at += 4 + (size + 1) // 2 * 2
    return b""
