"""One frame of a video, without a worker process."""

import os

from PIL import Image

from media.errors import MediaError
from media.video import pyav_reader


def frame_at(path: str | os.PathLike[str], seconds: float) -> Image.Image:
    """The frame that a video shows at a time, RGB, upright. Raises MediaError."""
    for _, pixels in pyav_reader.read_frames(os.fspath(path), [seconds]):
        return Image.fromarray(pixels)
    raise MediaError("decode", f"no frame at {seconds:g} seconds")
