"""Files that describe a picture or film beside them: XMP of a photo program, and the JSON of Google Takeout."""

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from media.metadata.texts import clean, distinct
from media.metadata.xmp import MAX_BYTES, xmp_tags

_EPOCH = datetime.datetime(1970, 1, 1)


class Sidecar(NamedTuple):
    """The tags of a sidecar."""

    name: str
    tags: Mapping[str, Any]
    is_takeout: bool


def read_sidecars(sidecars: Mapping[str, bytes]) -> list[Sidecar]:
    """The sidecars that could be read: those of photo programs first, and among them `IMG.jpg.xmp` before `IMG.xmp`."""
    found = []
    for uri, data in sidecars.items():
        name = re.split(r"[/\\]", uri)[-1]
        is_takeout = name.lower().endswith(".json")
        tags = takeout_tags(data) if is_takeout else xmp_tags(data)
        if tags:
            found.append(Sidecar(name, tags, is_takeout))
    return sorted(found, key=lambda sidecar: (sidecar.is_takeout, -len(sidecar.name), sidecar.name))


def takeout_tags(data: bytes) -> dict[str, Any]:
    """The tags of Google Takeout's JSON, such as `Takeout.description`. Nothing if it is other JSON, damaged or too large."""
    try:
        document = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or not ({"photoTakenTime", "geoData"} & document.keys()):
        return {}
    people = document.get("people")
    tags: dict[str, Any] = {
        "Takeout.photoTakenTime": _time(document.get("photoTakenTime")),
        "Takeout.description": clean(document.get("description")),
        "Takeout.people": distinct(each.get("name") for each in (people if isinstance(people, list) else ()) if isinstance(each, dict)),
        "Takeout.favorited": 5 if document.get("favorited") is True else None,
    }
    for name in ("geoData", "geoDataExif"):
        position = document.get(name)
        for axis in ("latitude", "longitude"):
            tags[f"Takeout.{name}.{axis}"] = position.get(axis) if isinstance(position, dict) else None
    return {name: value for name, value in tags.items() if isinstance(value, str | int | float | tuple) and value not in ("", ())}


def _time(taken: Any) -> str | None:
    """Seconds since 1970 to a text. Google writes 0 for unknown."""
    try:
        seconds = int(taken["timestamp"])
        return f"{_EPOCH + datetime.timedelta(seconds=seconds):%Y-%m-%d %H:%M:%SZ}" if seconds else None
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
