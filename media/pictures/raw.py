"""Raw files of cameras: the picture that the camera itself made of them and put inside. The only file that imports rawpy."""

import io
import struct
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from media.errors import PictureError
from media.pictures.opened import Opened
from media.pictures.plugins import Jpeg

_TURNED = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's `flip` to the EXIF orientation
_LEAST_SIDE = 256  # pixels; a smaller preview is a thumbnail, so the sensor's data are developed instead
_METADATA_BYTES = 4 << 20  # the EXIF blocks are among the first bytes


class NotRawError(PictureError):
    """LibRaw does not know the file. It may be a plain TIFF under a suffix of raw files."""


def open_raw(stream: BinaryIO) -> Opened:
    """The preview, with the EXIF block of the raw file."""
    try:
        import rawpy
    except ImportError:
        raise PictureError("decode", "a raw file of a camera. To read it: pip install 'coca-search[raw]'") from None
    stream.seek(0)
    data = stream.read()
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            size, orientation = (raw.sizes.width, raw.sizes.height), _TURNED.get(raw.sizes.flip, 1)
            picture = _preview(rawpy, raw)
            if picture is None or min(picture.size) < min(_LEAST_SIDE, *size):
                developed = _developed(rawpy, raw)
                picture = developed or picture
                orientation, size = (1, _upright(size, orientation)) if developed else (orientation, size)
    except rawpy.LibRawError as error:
        kind = NotRawError if isinstance(error, rawpy.LibRawFileUnsupportedError) else PictureError
        raise kind("decode", f"the raw file cannot be read ({_text(error)})") from error
    if picture is None:
        raise PictureError("decode", "the raw file holds no preview, and its sensor data cannot be developed")
    picture.info["exif"] = _exif(data) or picture.info.get("exif", b"")
    return Opened(picture, size, orientation)


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation in {6, 8} else size


def _preview(rawpy: Any, raw: Any) -> Image.Image | None:
    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if preview.format == rawpy.ThumbFormat.JPEG:
        return Jpeg(io.BytesIO(preview.data), "")
    return Image.fromarray(preview.data)


def _developed(rawpy: Any, raw: Any) -> Image.Image | None:
    """The picture from the data of the sensor at half size, upright."""
    try:
        return Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))
    except rawpy.LibRawError:
        return None


def _exif(data: bytes) -> bytes:
    """The EXIF block: most raw files are TIFF, some under another number. Canon's CR3 has one block for each group of tags."""
    if data[:2] in {b"II", b"MM"} and data[2:4] != b"\x1a\0":
        number = struct.pack(("<" if data[:2] == b"II" else ">") + "H", 42)
        return data[:2] + number + data[4:_METADATA_BYTES]
    if data[4:12] == b"ftypcrx ":
        return _canon_exif(data[:_METADATA_BYTES])
    return b""


def _canon_exif(data: bytes) -> bytes:
    main, photo, place = (Image.Exif() for _ in range(3))
    for name, block in ((b"CMT1", main), (b"CMT2", photo), (b"CMT4", place)):
        if (at := data.find(name)) > 4:
            block.load(data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")])
    main.get_ifd(ExifTags.IFD.Exif).update(photo)
    main.get_ifd(ExifTags.IFD.GPSInfo).update(place)
    return main.tobytes()


def _text(error: Exception) -> str:
    """LibRaw's reasons come as bytes."""
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
