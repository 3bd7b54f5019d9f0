"""One frame of a video, without a worker process."""

import os

from PIL import Image

from media.errors import MediaError
from media.video import pyav_reader


def frame_at(path: str | os.PathLike[str], seconds: float | None = None, *, start: int = 0, length: int | None = None) -> Image.Image:
    """The frame that a video shows at a time, by default in the middle: RGB, upright. Raises MediaError."""
    name = os.fspath(path)
    if start:  # a stub until films are opened by ranges
        import tempfile
        from pathlib import Path

        with tempfile.NamedTemporaryFile(suffix=".mp4") as part, Path(name).open("rb") as whole:
            whole.seek(start)
            part.write(whole.read(-1 if length is None else length))
            part.flush()
            return frame_at(part.name, seconds)
    if seconds is None:
        seconds = pyav_reader.probe(name)["duration_seconds"] / 2
    for _, pixels in pyav_reader.read_frames(name, [seconds]):
        return Image.fromarray(pixels)
    raise MediaError("decode", f"no frame at {seconds:g} seconds")
