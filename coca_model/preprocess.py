"""From an RGB picture to the pixels that the image tower reads.

The pixels are uint8. The image tower normalises them on the device, so only a quarter of the bytes are transferred, and no
caller can normalise twice.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model.architecture.config import ImageConfig
from media.pictures.picture import open_picture

__all__ = ["OVERSAMPLING", "open_picture", "to_square"]

OVERSAMPLING = 3  # the least size of a reduced JPEG, in sides of the square; with 2.5 the cosine falls below 0.999


def to_square(picture: Image.Image, config: ImageConfig) -> NDArray[np.uint8]:
    """Bring an RGB picture to the tower's input, by bicubic interpolation with antialiasing.

    `crop` is torchvision's `Resize(size)` of the shorter side and `CenterCrop(size)`, with their rounding, as for open_clip's
    published CoCa checkpoints. One call does both, because a picture of 1 x 5000 would first become 224 x 1,120,000.
    Returns uint8 (H, W, 3), 0..255, with H = W = `config.image_size`.
    """
    size = config.image_size
    box = _centre(picture.size, size) if config.resize == "crop" else None
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box), dtype=np.uint8)  # a copy that torch may write to


def _centre(sides: tuple[int, int], size: int) -> tuple[float, float, float, float]:
    """The part of a picture that torchvision's resize and centre crop keep: left, top, right, bottom, in its pixels."""
    short = min(sides)
    spans = []
    for side in sides:
        resized = int(size * side / short)
        start = round((resized - size) / 2)
        spans.append((start * side / resized, min((start + size) * side / resized, side)))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom
