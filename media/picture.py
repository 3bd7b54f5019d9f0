"""Opens a picture as a viewer shows it, in RGB, for indexing, for queries and for training."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from media.colour import to_srgb
from media.errors import PictureError
from media.metadata import Metadata, orientation_of, picture_metadata

PictureSource = str | PathLike[str] | bytes | Image.Image
MAX_PIXELS = 250_000_000  # allows the 200 megapixels of a phone, but no decompression bomb
_NOT_PICTURES = {"EPS"}  # a PostScript program: Pillow would run it in Ghostscript
# Pillow raises these for damaged files: RuntimeError for AVIF, Warning where warnings are errors.
_DAMAGE = (OSError, ValueError, SyntaxError, RuntimeError, Warning, Image.DecompressionBombError)


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture in sRGB, and the metadata of its file."""

    image: Image.Image
    metadata: Metadata


def open_picture(source: PictureSource, *, min_side: int = 0) -> Image.Image:
    """Open a picture upright and in sRGB: EXIF orientation and ICC profile applied, transparency on white, first frame of an animation.

    Args:
        source: path, encoded bytes, or a Pillow image (which is not changed).
        min_side: if not 0, a JPEG may be decoded at a reduced scale with at least this many pixels a side, several times as fast.

    Returns:
        A new picture, mode RGB, without metadata, so that opening it again changes nothing.

    Raises:
        PictureError: the source cannot be read, is not a picture, is damaged, or has more than `MAX_PIXELS`.
    """
    name = "picture" if isinstance(source, bytes | Image.Image) else fspath(source)
    with _identified(source, name) as picture:
        return _upright_srgb(picture, name, 0 if picture is source else min_side)


def read_picture(data: bytes, *, min_side: int = 0, name: str = "picture") -> Picture:
    """Read a picture and its metadata in one parse of the encoded bytes. `name` is the file's name, for errors.

    `min_side` and the errors are those of `open_picture`. `width` and `height` in the metadata are those of the full scale.
    """
    with _identified(data, name) as picture:
        size = picture.size  # before a reduced scale changes it
        return Picture(_upright_srgb(picture, name, min_side), picture_metadata(picture, size))


def identify(stream: BinaryIO) -> ImageFile.ImageFile:
    """The header of a picture: size, mode and metadata. No pixels are decoded. Close it, or use it in a `with`.

    This is `Image.open` without its limit on pixels, which warns at 89 megapixels and refuses 179. That limit is global to the
    program, so a library must not change it. `open_picture` allows `MAX_PIXELS`.

    Raises:
        UnidentifiedImageError: the stream contains no picture, or a program (EPS).
    """
    Image.init()
    start = stream.read(16)
    for name in Image.ID:
        factory, accepts = Image.OPEN[name]
        with suppress(SyntaxError, IndexError, TypeError, struct.error):  # a plugin raises these if a file is not of its format
            claim = accepts(start) if accepts else True  # a string is the reason why this Pillow cannot read the format
            if claim and not isinstance(claim, str) and name not in _NOT_PICTURES:
                stream.seek(0)
                return factory(stream, "")
    raise UnidentifiedImageError(f"It begins with {start!r}. Use JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF.")


@contextmanager
def _identified(source: PictureSource, name: str) -> Iterator[Image.Image]:
    """The source as a Pillow image, usually not decoded yet. Errors of Pillow in the block become PictureErrors."""
    try:
        if isinstance(source, Image.Image):
            yield source
        else:
            with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream, identify(stream) as picture:
                yield picture
    except UnidentifiedImageError as error:
        raise PictureError("decode", f"not a picture that Pillow can read. {error}", name) from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise PictureError("read", f"cannot be read ({error.strerror}). Pass the path of a readable picture.", name) from error
        raise PictureError("decode", f"cannot be decoded ({error}). The file may be damaged or incomplete.", name) from error


def _upright_srgb(picture: Image.Image, name: str, min_side: int) -> Image.Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise PictureError("decode", f"too many pixels ({picture.width}x{picture.height}). At most {MAX_PIXELS:,} are allowed.", name)
    if min_side:
        _reduce(picture, min_side)
    picture.load()
    upright = to_srgb(picture)
    if (orientation := orientation_of(picture)) != 1:
        # The new picture has no other metadata, so exif_transpose cannot stumble over damaged tags.
        upright.getexif()[ExifTags.Base.Orientation] = orientation
        ImageOps.exif_transpose(upright, in_place=True)
    return upright


def _reduce(picture: Image.Image, min_side: int) -> None:
    """Make Pillow decode a JPEG at 1/2, 1/4 or 1/8 of its size. Other formats do not change.

    The scale must divide both sides, as it does for the sizes of cameras. Otherwise the last column would contain fewer pixels than the
    others and shift them all, which changes the embedding of a photograph by up to 0.006 of cosine.
    """
    width, height = picture.size
    for scale in (8, 4, 2):
        if width % scale == height % scale == 0 and min(width, height) >= scale * min_side:
            picture.draft(None, (width // scale, height // scale))
            return
