"""The thumbnails of a collection: one WebP file for each segment of one version of a media file.

The name holds the media id, the first digits of the SHA-256 of the file, and the time of the frame. So a replaced
picture never shows an old thumbnail.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from media.atomic_write import PARTIAL, atomic_write
from search.collection.bucket.place import note_removed_thumbnails

_NAME = re.compile(r"(\d+)-([0-9a-f]{12})(?:-(\d+))?\.webp")


def thumbnail_path(collection: Path, media_id: int, sha256: str, seconds: float | None) -> Path:
    """The path of a thumbnail. They are spread over a thousand folders."""
    moment = "" if seconds is None else f"-{round(seconds * 1000)}"
    return collection / "thumbnails" / f"{media_id % 1000:03d}" / f"{media_id}-{sha256[:12]}{moment}.webp"


def thumbnail_of(collection: Path, row: Mapping[str, Any]) -> Path:
    """The path of the thumbnail of a row: a mapping with at least `media_id`, `sha256` and `frame_seconds`."""
    return thumbnail_path(collection, row["media_id"], row["sha256"], row["frame_seconds"])


def write_thumbnail(path: Path, webp: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, webp, sync=False)


def remove_thumbnails(collection: Path, media_id: int, *, keep_sha256: str | None = None) -> None:
    """Remove the thumbnails of a file, except those of the version `keep_sha256`."""
    for path in (collection / "thumbnails" / f"{media_id % 1000:03d}").glob(f"{media_id}-*.webp"):
        if keep_sha256 is None or not path.name.startswith(f"{media_id}-{keep_sha256[:12]}"):
            path.unlink(missing_ok=True)
    note_removed_thumbnails(collection, media_id, keep_sha256)


def orphaned_thumbnails(collection: Path, wanted: Iterable[Path]) -> Iterator[Path]:
    """Files below `thumbnails/` that are not `wanted`, including unfinished ones."""
    known = set(wanted)
    for path in (collection / "thumbnails").glob("*/*"):
        if path not in known and (_NAME.fullmatch(path.name) or path.name.endswith(PARTIAL)):
            yield path
