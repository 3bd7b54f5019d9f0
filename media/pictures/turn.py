"""Turns pictures upright, by the orientation of EXIF (CIPA DC-008, 4.6.5)."""

from PIL import Image

_OPERATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture upright; the same object if it is already."""
    operation = _OPERATIONS.get(orientation)
    return picture if operation is None else picture.transpose(operation)


def is_sideways(orientation: int) -> bool:
    """Whether width and height are swapped."""
    return orientation in {5, 6, 7, 8}
