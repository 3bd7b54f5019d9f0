"""What an opener of a picture format returns."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Opened:
    """A picture that is usually not decoded yet.

    Attributes:
        picture: Pillow's object. Its `load` decodes the pixels.
        size: width and height of the whole picture, before it is turned. `picture` may be smaller, such as the preview of a raw file.
        orientation: 1 to 8, as in EXIF, where the container says it; None: as EXIF or XMP say. Of a TIFF, Pillow states the size as
            turned, turns the pixels in `load`, and then removes the tag.
    """

    picture: Image.Image
    size: tuple[int, int]
    orientation: int | None = None
