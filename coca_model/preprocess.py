"""From an RGB picture to the pixels that the image tower reads.

A picture leaves here as uint8; the image tower scales it to its own range on the device, so that a quarter of the bytes
travel and no caller can normalise twice.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model.architecture.config import ImageConfig
from media.picture import open_picture

__all__ = ["OVERSAMPLING", "open_picture", "to_square"]

OVERSAMPLING = 3  # a reduced JPEG keeps so many times the square's side: measured, 2.5 is not enough for a cosine of 0.999


def to_square(picture: Image.Image, config: ImageConfig) -> NDArray[np.uint8]:
    """Bring an RGB picture to the tower's input, by bicubic interpolation with antialiasing.

    `crop` is torchvision's `Resize(size)` of the shorter side and `CenterCrop(size)`, with their rounding, as open_clip and the
    published CoCa checkpoints have it. Both are one call here: a picture of 1 x 5000 would first become 224 x 1,120,000.
    Returns uint8 (H, W, 3), 0..255, with H = W = `config.image_size`.
    """
    size = config.image_size
    box = _centre(picture.size, size) if config.resize == "crop" else None
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box), dtype=np.uint8)  # a copy that torch may write to


def _centre(sides: tuple[int, int], size: int) -> tuple[float, float, float, float]:
    """The part (left, top, right, bottom) of a picture that torchvision's resize and centre crop leave, in its own pixels."""
    short = min(sides)
    spans = []
    for side in sides:
        resized = int(size * side / short)
        start = round((resized - size) / 2)
        spans.append((start * side / resized, min((start + size) * side / resized, side)))
    (left, right), (top, bottom) = spans
    return left, top, right, bottom
