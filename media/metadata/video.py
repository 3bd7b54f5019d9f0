"""The metadata of a film, from the tags that FFmpeg finds in its container and its video stream."""

from collections.abc import Mapping
from typing import Any

from media.metadata.columns import columns_of
from media.metadata.taken import candidates, taken_columns
from media.metadata.texts import clean, plain
from media.metadata.xmp import xmp_tags


def video_metadata(tags: Mapping[str, str], *, width: int, height: int, duration_seconds: float) -> dict[str, Any]:
    """The metadata of a film: upright size in pixels, length in seconds, and the tags of its container and stream.

    `tags`: text that is not UTF-8 contains lone surrogates, as PyAV gives it with `metadata_errors="surrogateescape"`.
    """
    xmp = xmp_tags(tags["xmp"].encode(errors="surrogatepass")) if "xmp" in tags else {}
    texts = {f"QuickTime.{clean(name)}": text for name, value in tags.items() if name != "xmp" and (text := clean(value))}
    if "GoPro" in texts.get("QuickTime.handler_name", "") and (time := texts.pop("QuickTime.creation_time", "")):
        texts["QuickTime.gopro.creation_time"] = time.removesuffix("Z")  # the local time, written as if it were UTC
    known = xmp | texts
    size = {"width": width, "height": height, "duration_seconds": duration_seconds}
    return size | columns_of(known) | taken_columns(candidates(known)) | plain(known)
