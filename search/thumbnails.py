"""Thumbnails of hits: WebP files in the collection, addressed by media id and, for a moment of a video, its second."""

from pathlib import Path

from media.atomic_write import atomic_write
from media.thumbnails import make_thumbnail as small_webp

__all__ = ["small_webp", "thumbnail_path", "write_thumbnail"]


def thumbnail_path(collection: Path, media_id: int, seconds: float | None) -> Path:
    """Where the thumbnail lies; a thousand folders keep each of them small."""
    moment = "" if seconds is None else f"-{round(seconds * 1000)}"
    return collection / "thumbnails" / f"{media_id % 1000:03d}" / f"{media_id}{moment}.webp"


def write_thumbnail(path: Path, webp: bytes) -> None:
    """Write the thumbnail, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, webp, sync=False)
