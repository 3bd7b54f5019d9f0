"""Pillow's plugins for formats that need more than Pillow does: which page, which preview, where the metadata are."""

import io
import struct
from contextlib import suppress
from typing import BinaryIO

from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PsdImagePlugin import PsdImageFile
from PIL.TiffImagePlugin import TiffImageFile

from media.boxes import content_of, top_boxes
from media.errors import PictureError
from media.metadata.xmp import MAX_BYTES as MAX_XMP_BYTES
from media.pictures.opened import Opened

_MAX_PAGES = 64
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MERGED, _EXIF, _XMP = 1057, 1058, 1060  # numbers of Photoshop's image resources
_JPEG_2000_METADATA = {b"JpgTiffExif->JP2": "exif", bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC"): "xmp"}


class Jpeg(JpegImageFile):
    """The first picture of a JPEG or MPO. Pillow reads EXIF here for a resolution that we do not use, and warns if it is damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass


def open_jpeg(stream: BinaryIO) -> Opened:
    return Opened(picture := Jpeg(stream, ""), picture.size)


def open_gif(stream: BinaryIO) -> Opened:
    """A GIF with its XMP, which lies behind the name of its extension, and ends with a trailer (XMP specification 3, 1.1.2)."""
    picture = GifImageFile(stream, "")
    name, start = picture.info.get("extension", (b"", 0))
    if name == b"XMP DataXMP":
        behind = stream.tell()
        stream.seek(start)
        picture.info["xmp"] = stream.read(MAX_XMP_BYTES).partition(b"\x01\xff\xfe\xfd")[0]
        stream.seek(behind)
    return Opened(picture, picture.size)


def open_tiff(stream: BinaryIO) -> Opened:
    """The main page: the first one, but no thumbnail or mask; and not one with less than half of the pixels of another."""
    picture = TiffImageFile(stream, "")
    pixels = {}
    with suppress(EOFError):
        for page in range(_MAX_PAGES):
            picture.seek(page)
            if not int(picture.tag_v2.get(254, 0)) & (_REDUCED | _MASK):
                pixels[page] = picture.width * picture.height
    most = max(pixels.values(), default=0)
    picture.seek(next((page for page, number in pixels.items() if 2 * number >= most), 0))
    return Opened(picture, picture.size)


def open_avif(stream: BinaryIO) -> Opened:
    """Only the container says how an AVIF is turned (ISO 23000-22); Pillow writes that into EXIF, but would also ask the XMP."""
    picture = AvifImageFile(stream, "")
    exif = Image.Exif()
    exif.load(picture.info.get("exif", b""))
    return Opened(picture, picture.size, exif.get(ExifTags.Base.Orientation, 1))


def open_heic(stream: BinaryIO) -> Opened:
    """The primary picture of a HEIC. The decoder turns it as the container says; some writers state the orientation only in EXIF."""
    from pi_heif.as_plugin import HeifImageFile  # `register_heif_opener` would change Pillow for the whole program

    picture = HeifImageFile(stream, "")
    about = next((content_of(stream, box) for box in top_boxes(stream) if box.kind == b"meta"), b"")
    is_turned = b"irot" in about or b"imir" in about
    return Opened(picture, picture.size, 1 if is_turned else picture.info.get("original_orientation") or 1)


def open_jpeg_2000(stream: BinaryIO) -> Opened:
    picture = Jpeg2KImageFile(stream, "")
    for box in top_boxes(stream):
        if box.kind == b"uuid" and box.stop - box.start < 1 << 24:
            content = content_of(stream, box)
            if name := _JPEG_2000_METADATA.get(content[:16]):
                picture.info[name] = content[16:]
    return Opened(picture, picture.size)


def open_photoshop(stream: BinaryIO) -> Opened:
    """The merged picture of a PSD or PSB, with its metadata.

    Raises:
        PictureError: there is no merged picture. Photoshop leaves it blank unless it saves with "Maximize compatibility".
    """
    stream = _as_psd(stream.read()) if stream.read(6)[4:] == b"\0\2" else stream
    stream.seek(0)
    picture = PsdImageFile(stream, "")
    resources = {number: data for number, _, data in reversed(picture.resources)}
    if resources.get(_MERGED, b"\0\0\0\1\1")[4:5] == b"\0":
        raise PictureError("decode", "saved without its merged picture. Save it in Photoshop with 'Maximize compatibility', or as JPEG.")
    picture.info |= {name: resources[number] for number, name in ((_EXIF, "exif"), (_XMP, "xmp")) if number in resources}
    return Opened(picture, picture.size)


def _as_psd(behind_version: bytes) -> BinaryIO:
    """A PSB, from behind its version on, as a PSD without layers, which is what Pillow reads. Some lengths have twice as many bytes."""
    data = b"8BPS\0\1" + behind_version
    height, channels = int.from_bytes(data[14:18], "big"), int.from_bytes(data[12:14], "big")
    layers = 26
    for _ in ("colours", "resources"):
        layers += 4 + int.from_bytes(data[layers : layers + 4], "big")
    merged = layers + 8 + int.from_bytes(data[layers : layers + 8], "big")
    compression, rest = data[merged : merged + 2], data[merged + 2 :]
    if compression == b"\0\1":  # the number of bytes of each row comes first
        counts = struct.unpack_from(f">{height * channels}I", rest)
        rest = struct.pack(f">{len(counts)}H", *(min(count, 65535) for count in counts)) + rest[4 * len(counts) :]
    return io.BytesIO(data[:layers] + bytes(4) + compression + rest)
