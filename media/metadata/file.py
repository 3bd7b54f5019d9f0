"""The metadata of a file with what its sidecars, its name and its time say, and the place.

Who is right if they disagree? For the time, the file itself: the camera wrote it, and programs that change it change the file too. For
the words of people (title, description, keywords, names, rating) and for the position, the XMP sidecar: Lightroom, darktable, digiKam
and Immich write into it what the user did last and leave the file alone, and each reads it before the file. Google Takeout's JSON is
the only place with the description that was typed in Google Photos. Otherwise it fills gaps: its position may be Google's estimate.
"""

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from media.metadata.columns import columns_of
from media.metadata.dates import Moment
from media.metadata.file_names import moment_of_name
from media.metadata.sidecars import Sidecar, read_sidecars
from media.metadata.taken import Candidate, candidates, taken_columns

FROM_OUTSIDE = frozenset({"file name", "file time"})  # sources of a time that the file and its sidecars do not tell
_BEFORE_THE_FILE = frozenset({"title", "description", "keywords", "people", "rating", "latitude", "longitude"})
_TAKEOUT_BEFORE_THE_FILE = frozenset({"description"})
_EPOCH = datetime.datetime(1970, 1, 1)
_FIRST_FILE_TIME = datetime.datetime(1980, 1, 3)  # ZIP and FAT count from 1980, Unix from 1970: before this, no time was set


def file_metadata(embedded: Mapping[str, Any], *, name: str, mtime: float, sidecars: Mapping[str, bytes]) -> dict[str, Any]:
    """The metadata of a file, completed.

    Args:
        embedded: what `picture_metadata` or `video_metadata` found in the file.
        name: of the file, without its folder.
        mtime: when the file changed, in seconds since 1970.
        sidecars: the files beside it that describe it: their path or address to their bytes.
    """
    found = read_sidecars(sidecars)
    metadata = dict(embedded)
    for sidecar in reversed(found):
        columns = columns_of(sidecar.tags)
        first = _TAKEOUT_BEFORE_THE_FILE if sidecar.is_takeout else _BEFORE_THE_FILE
        metadata = columns | metadata | {column: value for column, value in columns.items() if column in first}
    position = (metadata["latitude"], metadata["longitude"]) if "latitude" in metadata and "longitude" in metadata else None
    if "taken_at" not in embedded or any(candidates(embedded)):  # otherwise nothing else can know better
        metadata |= taken_columns(_times(embedded, found, name), last=_file_time(mtime), position=position)
    if position:
        from media.metadata.place import place_of  # loads scipy and a table of cities

        if place := place_of(*position):
            metadata["place"] = place
    return metadata


def _times(tags: Mapping[str, Any], sidecars: list[Sidecar], name: str) -> Iterator[Candidate]:
    yield from candidates(tags)
    for sidecar in sidecars:
        yield from candidates(sidecar.tags, f"sidecar {sidecar.name}")
    if moment := moment_of_name(name):
        yield Candidate("file name", moment)


def _file_time(mtime: float) -> Candidate | None:
    try:
        clock = _EPOCH + datetime.timedelta(seconds=mtime)
        return Candidate("file time", Moment(clock, kind="utc")) if clock >= _FIRST_FILE_TIME else None
    except (ValueError, OverflowError, TypeError):  # NaN, or beyond what Python can represent
        return None
