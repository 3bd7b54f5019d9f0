"""JPEG XL: the only file that imports pillow_jxl. Its plugin for Pillow decodes while it opens, so the size is read before."""

import io
from typing import BinaryIO

from PIL import Image

from media.boxes import content_of, top_boxes
from media.errors import PictureError
from media.pictures.limits import check_size
from media.pictures.opened import Opened
from media.pictures.plugins import Jpeg

_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height; 0: none. ISO 18181-1, table A.4


def open_jxl(stream: BinaryIO) -> Opened:
    """A decoded picture, with its metadata. Raises PictureError if it is damaged or too large."""
    from pillow_jxl import Decoder

    size, orientation = _header(stream)
    check_size("JPEG XL", size)
    stream.seek(0)
    try:
        from_jpeg, info, data, profile, boxes = Decoder(num_threads=1)(stream.read())
    except RuntimeError as error:
        raise PictureError("decode", "the JPEG XL data is damaged or incomplete") from error
    if from_jpeg:  # the bytes of the JPEG that it was made of, with metadata
        return Opened(jpeg := Jpeg(io.BytesIO(data), ""), jpeg.size)
    mode = "F" if info.mode == "F;16" else info.mode
    picture = Image.frombytes(mode, (info.width, info.height), data)
    found = {bytes(box.box_type): bytes(box.data) for box in reversed(boxes)}
    picture.info |= {"icc_profile": profile} if profile else {}
    picture.info |= {"xmp": found[b"xml "]} if b"xml " in found else {}
    if exif := found.get(b"Exif"):
        picture.info["exif"] = exif if exif[:2] in {b"II", b"MM"} else exif[4 + int.from_bytes(exif[:4], "big") :]
    # The decoder has turned the picture if the codestream says how. Some writers state the orientation only in EXIF.
    return Opened(picture, picture.size, None if orientation == 1 else 1)


def _header(stream: BinaryIO) -> tuple[tuple[int, int], int]:
    """Width, height and orientation (ISO 18181-1, A.2 and A.3), or of the first bytes of what is not one."""
    stream.seek(0)
    start = stream.read(64)
    if not start.startswith(b"\xff\x0a"):
        start = next((content_of(stream, box) for box in top_boxes(stream) if box.kind in {b"jxlc", b"jxlp"}), b"")
        start = start if start.startswith(b"\xff\x0a") else start[4:]
    bits = _Bits(start[2:64])
    small = bits.read(1)
    height = bits.side(small)
    across, down = _RATIOS[bits.read(3)]
    width = height * across // down if across else bits.side(small)
    plain = bits.read(1) or not bits.read(1)
    return (width, height), 1 if plain else bits.read(3) + 1


class _Bits:
    """Numbers from bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def read(self, count: int) -> int:
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value

    def side(self, small: int) -> int:
        return 8 * (self.read(5) + 1) if small else self.read((9, 13, 18, 30)[self.read(2)]) + 1
