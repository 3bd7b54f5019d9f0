"""One frame of a video, without a worker process."""

import os

from PIL import Image

from media.errors import MediaError
from media.video import pyav_reader


def frame_at(path: str | os.PathLike[str], seconds: float | None = None) -> Image.Image:
    """The frame that a video shows at a time, by default in the middle: RGB, upright. Raises MediaError."""
    name = os.fspath(path)
    if seconds is None:
        seconds = pyav_reader.probe(name)["duration_seconds"] / 2
    for _, pixels in pyav_reader.read_frames(name, [seconds]):
        return Image.fromarray(pixels)
    raise MediaError("decode", f"no frame at {seconds:g} seconds")
