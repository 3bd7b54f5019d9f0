"""How much memory the pixels of a picture need, and how to stay below a limit: decode at a reduced scale, or refuse before decoding."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from media.errors import PictureError
from media.pictures.colour import is_deep, to_srgb, white_of

MAX_BYTES = 1_500_000_000  # for the pixels of one picture while it is decoded
MAX_PIXELS = 50_000_000  # of a picture that is returned; a larger one is reduced
_BAND_PIXELS = 4_000_000
_MANY_BYTES = 200_000_000
# Measured, with the buffers of the decoder. Pillow's own plugins need only the picture.
_BYTES_A_PIXEL = {"WebP": 16, "AVIF": 10, "HEIC": 7.4, "JPEG XL": 8, "JPEG 2000": 20}
_large = threading.Lock()  # huge pictures are decoded one after the other


def check_size(format_name: str, size: tuple[int, int], *, mode: str = "RGB", more: float = 0.0) -> float:
    """The bytes of memory to decode a picture. `size` is the decoded one, `more` are bytes that the decoder needs beside it.

    Raises:
        PictureError: they are more than `MAX_BYTES`.
    """
    needed = _BYTES_A_PIXEL.get(format_name, _bytes_of(mode)) * math.prod(size) + more
    if needed > MAX_BYTES:
        raise PictureError(
            "decode",
            f"too many pixels ({size[0]}x{size[1]}): they need {needed / 1e9:.1f} GB of memory. At most {MAX_BYTES / 1e9:.1f} GB are "
            "allowed. Save it smaller, or as a JPEG, which can be read at a reduced scale.",
        )
    return needed


def coefficient_bytes(picture: Image.Image, size: tuple[int, int]) -> float:
    """A progressive JPEG of this full size keeps all its coefficients until the last scan, 2 bytes each."""
    layers = [(rows, columns) for _, rows, columns, _ in getattr(picture, "layer", [])]
    if not layers or not picture.info.get("progressive"):
        return 0.0
    most = max(rows for rows, _ in layers) * max(columns for _, columns in layers)
    return 2 * math.prod(size) * sum(rows * columns for rows, columns in layers) / max(most, 1)


def _bytes_of(mode: str) -> float:
    return 1 if mode in {"1", "L", "P"} else 2 if mode.startswith("I;16") else 4.1


@contextmanager
def alone_if_large(needed: float) -> Iterator[None]:
    """While a picture that needs much memory is decoded, other such pictures wait."""
    if needed < _MANY_BYTES:
        yield
    else:
        with _large:
            yield


def reduce_in_decoder(picture: Image.Image, min_side: int) -> tuple[int, int]:
    """Make Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size, and a JPEG 2000 with too many pixels at a lower resolution.

    Returns the size of the decoded picture. For speed, the scale must divide both sides, as it does for the sizes of cameras. Otherwise
    the last column would contain fewer pixels than the others and shift them all, which changes the embedding of a photograph by up to
    0.006 of cosine. For a picture with too many pixels, that does not matter.
    """
    width, height = picture.size
    must = _factor(picture.size)
    if picture.format == "JPEG":
        for scale in (8, 4, 2):
            fits = min_side and width % scale == height % scale == 0 and min(width, height) >= scale * min_side
            if fits or scale < 2 * must:
                picture.draft(None, (max(1, width // scale), max(1, height // scale)))
                break
    elif picture.format == "JPEG2000" and must > 1:
        levels = min((must - 1).bit_length(), _levels(picture))
        while levels > 1 and any((side + (1 << levels - 1)) >> levels != -(-side >> levels) for side in (width, height)):
            levels -= 1  # Pillow rounds the size down where OpenJPEG rounds it up
        picture.reduce = levels  # type: ignore[method-assign, assignment]
        return -(-width >> levels), -(-height >> levels)
    return picture.size


def srgb_within_limit(picture: Image.Image) -> Image.Image:
    """A decoded picture in sRGB. With more than `MAX_PIXELS` it is reduced by a whole number, in bands, so that only a part is copied."""
    factor = _factor(picture.size)
    if factor == 1:
        return to_srgb(picture)
    width, height = picture.size
    rows = factor * max(1, _BAND_PIXELS // (width * factor))
    bands = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
    white = max(white_of(picture.crop(band)) or 0 for band in bands) if is_deep(picture.mode) else None
    small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    for band in bands:
        small.paste(to_srgb(picture.crop(band), white=white).reduce(factor), (0, band[1] // factor))
    return small


def _factor(size: tuple[int, int]) -> int:
    """By which whole number the sides must be divided to have at most `MAX_PIXELS`."""
    return max(1, math.ceil(math.sqrt(math.prod(size) / MAX_PIXELS)))


def _levels(picture: Image.Image) -> int:
    """How many times a JPEG 2000 can be halved: from the marker COD of its codestream (ISO 15444-1, A.6.1)."""
    stream = picture.fp  # type: ignore[attr-defined]
    stream.seek(0)
    start = stream.read(1 << 16)
    at = start.find(b"\xff\x52", max(0, start.find(b"\xff\x4f\xff\x51")))
    return min(start[at + 9], 32) if 0 <= at < len(start) - 9 else 0
