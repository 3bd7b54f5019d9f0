"""The one door from a picture to pixels, used for indexing, for queries and for training.

A picture leaves here as uint8; the image tower scales it to its own range on the device, so that a quarter of the bytes
travel and no caller can normalise twice.
"""

import io
from os import PathLike, fspath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from coca_model.config import ImageConfig
from coca_model.errors import PictureError

PictureSource = str | PathLike[str] | bytes | Image.Image
MAX_PIXELS = 250_000_000  # a 250-megapixel panorama opens; a decompression bomb does not
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
    """Open a picture as upright RGB: EXIF orientation applied, transparency on white, first frame of an animation.

    Args:
        source: path, encoded bytes, or a Pillow image (which is not changed).
        min_side: a JPEG may be decoded at a reduced scale as long as both sides keep at least this many pixels; 0 decodes all.

    Raises:
        PictureError: the source cannot be read, is no picture, is truncated, or has more than `MAX_PIXELS`.
    """
    name = "picture" if isinstance(source, bytes | Image.Image) else fspath(source)
    try:
        if isinstance(source, Image.Image):
            return _upright_rgb(source)
        if Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < MAX_PIXELS:
            Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit would warn at 89 and refuse at 179 megapixels
        stream: str | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else fspath(source)
        with Image.open(stream) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise PictureError(f"{name}: too many pixels ({picture.width}x{picture.height}). At most {MAX_PIXELS:,} are opened.")
            if min_side:
                picture.draft("RGB", (min_side, min_side))
            return _upright_rgb(picture)
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture that Pillow can read.") from error
    except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:  # RuntimeError: AVIF
        raise PictureError(f"{name}: cannot be decoded ({error}).") from error


def to_square(picture: Image.Image, config: ImageConfig) -> NDArray[np.uint8]:
    """Bring an RGB picture to the tower's input. Returns uint8 (H, W, 3) with H = W = `config.image_size`."""
    size = config.image_size
    if config.resize == "crop":
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    elif picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.array(picture, dtype=np.uint8)  # a copy: Pillow's own memory is read-only, which torch warns about


def _upright_rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    if turn is not None:  # ImageOps.exif_transpose also rewrites the EXIF block, which fails where that is damaged
        picture = picture.transpose(turn)
    if picture.mode.startswith("I") or picture.mode == "F":
        return _eight_bit(picture).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("RGB")
    return picture.convert("RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Pillow clips 16-bit and float greys when converting; scale them by their own range instead."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32), posinf=0.0, neginf=0.0)  # height maps mark holes with NaN
    top = 65535.0 if picture.mode.startswith("I") and values.max(initial=0) > 255 else max(float(values.max(initial=0)), 1.0)
    return Image.fromarray(np.clip(values * (255.0 / max(top, 255.0) if top > 1 else 255.0), 0, 255).astype(np.uint8))
