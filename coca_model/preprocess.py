"""The one door from a picture to pixels, used for indexing, for queries and for training.

A picture leaves here as uint8; the image tower scales it to its own range on the device, so that a quarter of the bytes
travel and no caller can normalise twice.
"""

import io
import struct
from contextlib import suppress
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from coca_model.architecture.config import ImageConfig
from coca_model.errors import PictureError
from coca_model.srgb import to_srgb

PictureSource = str | PathLike[str] | bytes | Image.Image
MAX_PIXELS = 250_000_000  # the 200 megapixels of a phone open; a decompression bomb does not
OVERSAMPLING = 3  # a reduced JPEG keeps so many times the square's side: measured, 2.5 is not enough for a cosine of 0.999
_NOT_PICTURES = {"EPS"}  # a program in PostScript, which Pillow would let Ghostscript run
# What Pillow raises over damaged files: RuntimeError for AVIF, Warning in programs that turn warnings into errors.
_DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, Warning, Image.DecompressionBombError)
_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(source: PictureSource, *, min_side: int = 0) -> Image.Image:
    """Open a picture upright and in sRGB: EXIF orientation and ICC profile applied, transparency on white, first frame of an animation.

    Args:
        source: path, encoded bytes, or a Pillow image (which is not changed).
        min_side: a JPEG may be decoded at a reduced scale, which is several times as fast, as long as both sides keep at least
            this many pixels; 0 decodes all. `OVERSAMPLING` times the square of `to_square` keeps the cosine between the
            embeddings of both at 0.999 or more.

    Returns:
        A picture of its own, mode RGB, without metadata, so that opening it once more changes nothing.

    Raises:
        PictureError: the source cannot be read, is no picture, is damaged, or has more than `MAX_PIXELS`.
    """
    name = "picture" if isinstance(source, bytes | Image.Image) else fspath(source)
    try:
        if isinstance(source, Image.Image):
            return _upright_srgb(source, name)
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream, identify(stream) as picture:
            return _upright_srgb(picture, name, min_side)
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture that Pillow can read. {error}") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise PictureError(f"{name}: cannot be read ({error.strerror}). The path of a readable picture file is needed.") from error
        raise PictureError(f"{name}: cannot be decoded ({error}). A whole, undamaged file is needed.") from error


def to_square(picture: Image.Image, config: ImageConfig) -> NDArray[np.uint8]:
    """Bring an RGB picture to the tower's input, by bicubic interpolation with antialiasing.

    `crop` is torchvision's `Resize(size)` of the shorter side and `CenterCrop(size)`, with their rounding, as open_clip and the
    published CoCa checkpoints have it. Both are one call here: a picture of 1 x 5000 would first become 224 x 1,120,000.

    Returns:
        uint8 (H, W, 3), 0..255, with H = W = `config.image_size`.
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


def identify(stream: BinaryIO) -> ImageFile.ImageFile:
    """The header of a picture: size, mode and metadata, no pixels decoded. Close it, or use it in a `with`.

    This is `Image.open` without its limit on pixels, which warns of 89 megapixels and refuses 179: that one belongs to the whole
    program, so a library may not raise it. `open_picture` has its own, `MAX_PIXELS`.

    Raises:
        UnidentifiedImageError: the stream holds no picture, or one that is a program (EPS).
    """
    Image.init()
    start = stream.read(16)
    for name in Image.ID:
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a plugin's ways to say "not mine"
            claim = accepts(start) if accepts else True  # a string tells why a format cannot be read here
            if claim and not isinstance(claim, str) and name not in _NOT_PICTURES:
                stream.seek(0)
                return factory(stream, "")
    raise UnidentifiedImageError(f"It begins with {start!r}; JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF are known.")


def _upright_srgb(picture: Image.Image, name: str, min_side: int = 0) -> Image.Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise PictureError(f"{name}: too many pixels ({picture.width}x{picture.height}). At most {MAX_PIXELS:,} are opened.")
    if min_side:
        _reduce(picture, min_side)
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    upright = to_srgb(picture)
    return upright if turn is None else upright.transpose(turn)


def _reduce(picture: Image.Image, min_side: int) -> None:
    """Let a JPEG not yet loaded be decoded at 1/2, 1/4 or 1/8; other formats are not changed.

    Only by a number that divides both sides, as it does those that cameras write: a last column that stands for less than the
    others would shift them all, and cost the embedding of a photograph up to 0.006 of cosine.
    """
    width, height = picture.size
    for scale in (8, 4, 2):
        if width % scale == height % scale == 0 and min(width, height) >= scale * min_side:
            picture.draft(None, (width // scale, height // scale))
            return


def _orientation(picture: Image.Image) -> int:
    """The EXIF (or XMP) orientation, 1 to 8; 1, as the picture lies, where the EXIF block is damaged."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error, Warning):
        return 1
