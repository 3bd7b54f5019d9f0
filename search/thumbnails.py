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


def small_webp(picture: Image.Image) -> bytes:
    """An RGB picture as a WebP no longer than `LONG_SIDE`.

    Shrunk by whole numbers first, down to one and a half times the size: a third of the time, and no eye sees it. Method 2 takes
    half the time of the library's default for 3 % more bytes.
    """
    scale = min(1.0, LONG_SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    stream = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.5).save(stream, "WEBP", quality=80, method=2)
    return stream.getvalue()


def write_thumbnail(path: Path, webp: bytes) -> None:
    """Write the thumbnail, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(webp)
    partial.replace(path)
