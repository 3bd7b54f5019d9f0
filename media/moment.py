"""The picture that a row of a collection shows."""

import os

from PIL import Image

from media.errors import MediaError
from media.formats import HEAD_BYTES, true_format
from media.pictures.animation import read_animation
from media.pictures.motion_photo import find_film
from media.pictures.picture import read_picture
from media.sources.choose import source_of
from media.video.frame_at import frame_at


def picture_at(path: str | os.PathLike[str], seconds: float | None) -> Image.Image:
    """A picture (`seconds` is None), or the frame that a film shows then: of a film, an animated picture, or a motion photo.

    Raises MediaError, or OSError if the file cannot be read.
    """
    with source_of(path).open(os.fspath(path)) as file:
        known = true_format(path, file.read(HEAD_BYTES))
        if seconds is None:
            return read_picture(file, name=os.fspath(path)).image
        if known is None or known.kind == "video":
            return frame_at(path, seconds)
        if animation := read_animation(file):
            frames = {frame.pts_seconds: frame.pixels for frame in animation.frames}
            return Image.fromarray(frames[max((start for start in frames if start <= seconds), default=min(frames))])
        if place := find_film(file):
            return frame_at(path, seconds, start=place[0], length=place[1])
    raise MediaError("decode", "a picture without a film")
