"""Opens a picture as a viewer shows it, in RGB, for indexing, for queries and for training."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from media.errors import PictureError
from media.formats import Format
from media.metadata import Metadata, orientation_of, picture_metadata
from media.pictures.header import read_header
from media.pictures.limits import alone_if_large, check_size, coefficient_bytes, reduce_in_decoder, srgb_within_limit
from media.pictures.opened import Opened
from media.pictures.partial import DAMAGE, LostError, decode, whole
from media.pictures.turn import is_sideways, turned

PictureSource = str | PathLike[str] | bytes | Image.Image
Result = TypeVar("Result")
_warnings_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """An upright RGB picture in sRGB, and what its file says.

    Attributes:
        image: the pixels. Grey where a part is missing.
        metadata: `width` and `height` are those of the whole picture; `image` may be smaller.
        format: by the bytes, a name of `media.formats`; None if only Pillow knows the format.
        damaged: whether a part of the picture is missing.
    """

    image: Image.Image
    metadata: Metadata
    format: str | None
    damaged: bool


def open_picture(source: PictureSource, *, min_side: int = 0) -> Image.Image:
    """Open a picture upright and in sRGB: EXIF orientation and ICC profile applied, transparency on white, first frame of an animation.

    Args:
        source: path, encoded bytes, or a Pillow image (which is not changed).
        min_side: if not 0, a JPEG may be decoded at a reduced scale with at least this many pixels a side, several times as fast.

    Returns:
        A new picture, mode RGB, without metadata, so that opening it again changes nothing. A picture with more than
        `limits.MAX_PIXELS` is reduced by a whole number.

    Raises:
        PictureError: the source cannot be read, is not a picture, is lost nearly whole, or needs too much memory.
    """
    if isinstance(source, Image.Image):
        with _errors_of("picture"):
            source.load()
            return turned(srgb_within_limit(source), orientation_of(source))
    if isinstance(source, bytes):
        return read_picture(source, min_side=min_side).image
    name = fspath(source)
    try:
        with Path(source).open("rb") as stream:
            return read_picture(stream, min_side=min_side, name=name).image
    except OSError as error:
        raise PictureError("read", f"cannot be read ({error.strerror}). Pass the path of a readable picture.", name) from error


def read_picture(source: bytes | BinaryIO, *, min_side: int = 0, name: str = "picture") -> Picture:
    """Read a picture and its metadata in one parse of the encoded bytes, or of a stream that can seek.

    `name` is the file's name, for errors, and for formats that the bytes do not tell. `min_side` and the errors are those of
    `open_picture`.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    with _errors_of(name):
        return _without_warnings(lambda: _read(stream, min_side, name))


def _read(stream: BinaryIO, min_side: int, name: str) -> Picture:
    stream, is_cut = whole(stream)

    def opened() -> tuple[Opened, Format | None, tuple[int, int]]:
        header, known = read_header(stream, min_side=min_side, name=name)
        return header, known, reduce_in_decoder(header.picture, min_side)

    header, known, decoded_size = opened()
    picture = header.picture
    more = coefficient_bytes(picture, header.size)
    needed = check_size(known.name if known else "", decoded_size, mode=picture.mode, more=more)
    with alone_if_large(needed):
        picture, is_partial = decode(picture, lambda: opened()[0].picture)
        image = srgb_within_limit(picture)
    orientation = header.orientation or orientation_of(picture)
    width, height = reversed(header.size) if is_sideways(orientation) else header.size
    metadata = picture_metadata(picture, header.size) | {"width": width, "height": height}
    return Picture(turned(image, orientation), metadata, known.name if known else None, is_cut or is_partial)


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Errors of Pillow in the block become PictureErrors."""
    try:
        yield
    except PictureError as error:
        raise PictureError(error.stage, error.reason, name) from error
    except UnidentifiedImageError as error:
        raise PictureError("decode", f"not a picture that can be read. {error}", name) from error
    except LostError as error:
        raise PictureError("decode", "nearly all of the picture is missing. The file may be incomplete.", name) from error
    except (*DAMAGE, Image.DecompressionBombError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PictureError("decode", f"cannot be decoded ({error}). The file may be damaged or incomplete.", name) from error


def _without_warnings(work: Callable[[], Result]) -> Result:
    """The result of `work`, also in a program that turns warnings into errors, because Pillow warns of damage that does not matter.

    Filters of warnings are global to the program, so they are changed only where a warning would lose a picture.
    """
    try:
        return work()
    except Warning:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
