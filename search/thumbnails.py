"""Small pictures of hits: WebP files in the collection, addressed by media id and, for a moment of a video, its second."""

import io
import os
from pathlib import Path

from PIL import Image

LONG_SIDE = 320


def thumbnail_path(collection: Path, media_id: int, seconds: float | None) -> Path:
    """Where the thumbnail lies; a thousand folders keep each of them small."""
    moment = "" if seconds is None else f"-{round(seconds * 1000)}"
    return collection / "thumbnails" / f"{media_id % 1000:03d}" / f"{media_id}{moment}.webp"


def small_jpeg(picture: Image.Image) -> bytes:
    """An RGB picture as a JPEG no longer than `LONG_SIDE`: cheap to keep until it is known whether it is wanted."""
    small = picture.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_thumbnail(path: Path, jpeg: bytes) -> None:
    """Write the thumbnail, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.save(partial, "WEBP", quality=80)
    partial.replace(path)
