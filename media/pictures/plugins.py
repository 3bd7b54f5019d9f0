"""Pillow's plugins for formats that need more than Pillow does: which page, which preview, where the metadata are."""

import io
import struct
from bisect import bisect_right
from contextlib import suppress
from itertools import accumulate
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngStream
from PIL.PsdImagePlugin import PsdImageFile
from PIL.TiffImagePlugin import TiffImageFile

from media.boxes import content_of, top_boxes
from media.errors import PictureError
from media.metadata.xmp import MAX_BYTES as MAX_XMP_BYTES
from media.pictures.colour import is_deep
from media.pictures.limits import check_size
from media.pictures.opened import Opened
from media.pictures.partial import DAMAGE

_MAX_PAGES = 64
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SEPARATE = 2  # of PlanarConfiguration
_PSB, _RGB, _COLOURS = 2, 3, {3: 3, 4: 4, 9: 3}  # Photoshop's version, mode, and numbers of colours of modes
_MOST_CHANNELS, _MOST_ROWS = 56, 300_000
_MERGED, _EXIF, _XMP = 1057, 1058, 1060  # numbers of Photoshop's image resources
_MOST_BYTES = 500_000_000  # of a PNG that is copied
_PNG_FRAMES = {b"acTL", b"fcTL", b"fdAT"}  # of animations
_JPEG_2000_METADATA = {b"JpgTiffExif->JP2": "exif", bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC"): "xmp"}


class Jpeg(JpegImageFile):
    """The first picture of a JPEG or MPO. Pillow reads EXIF here for a resolution that we do not use, and warns if it is damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass


def open_jpeg(stream: BinaryIO) -> Opened:
    return Opened(picture := Jpeg(stream, ""), picture.size)


class Png(PngImageFile):
    """A PNG. Chunks after the pixels cannot make it unreadable."""

    def load_end(self) -> None:
        if getattr(self, "is_animated", False):
            super().load_end()  # composes the frame
        else:
            with suppress(*DAMAGE):
                super().load_end()


def open_png(stream: BinaryIO) -> Opened:
    """A PNG. If Pillow refuses a chunk that is not needed, such as a long text or a wrong checksum, it is ignored, as in browsers."""
    try:
        picture = Png(stream, "")
    except DAMAGE:
        with suppress(*DAMAGE):
            return Opened(picture := Png(_without_refused_chunks(stream), ""), picture.size)
        raise
    return Opened(picture, picture.size)


def _without_refused_chunks(stream: BinaryIO) -> BinaryIO:
    """The PNG without the chunks that a decoder may ignore (their names begin with a small letter) and that Pillow's reader refuses."""
    stream.seek(0)
    data = memoryview(stream.read(_MOST_BYTES))
    kept, reader, at = [data[:8]], PngStream(io.BytesIO()), 8
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8])
        if kind[:1].isupper() or kind in _PNG_FRAMES or _accepts(reader, kind, data[at + 8 : stop]):
            kept.append(data[at:stop])
        at = stop
    return io.BytesIO(b"".join(kept))


def _accepts(reader: PngStream, kind: bytes, content: memoryview) -> bool:
    """`content` is that of a chunk, with its checksum."""
    reader.fp = io.BytesIO(content)
    try:
        reader.crc(kind, reader.call(kind, 0, len(content) - 4))
    except AttributeError:
        return True  # unknown chunks are skipped
    except DAMAGE:
        return False
    return True


class Tiff(TiffImageFile):
    """A TIFF. Where Pillow's reader is wrong, libtiff reads it: 16-bit colours that are uncompressed and one plane after the other."""

    def _setup(self) -> None:
        super()._setup()
        if self._planar_configuration == _SEPARATE and self.info["compression"] == "raw" and self.tag_v2.get(258, (8,))[0] == 16:
            self.use_load_libtiff = True
            self.tile = [ImageFile._Tile("libtiff", (0, 0, *self._tile_size), 0, (f"{self.mode};16N", False, self.tag_v2.offset))]
        self.info["min_is_white"] = is_deep(self.mode) and self.tag_v2.get(262) == 0


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
    picture = Tiff(stream, "")
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
    """Only the container says how an AVIF is turned (ISO 23000-22); Pillow writes that into EXIF, but would also ask the XMP.

    Pillow does not say which HDR curve and primaries it has. The decoder of HEIC reads them from the header.
    """
    from pi_heif.as_plugin import HeifImageFile

    picture = AvifImageFile(stream, "")
    with suppress(*DAMAGE):
        stream.seek(0)
        picture.info["nclx_profile"] = HeifImageFile(stream, "").info.get("nclx_profile")
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
    head = stream.read(26)
    version, channels, depth, mode = struct.unpack(">4xH6xH8xHH", head.ljust(26, b"\0"))
    stream.seek(0)
    if version == _PSB or depth > 8 or channels > _COLOURS.get(mode, 1):
        stream = _as_plain(stream.read())
    picture = PsdImageFile(stream, "")
    resources = {number: data for number, _, data in reversed(picture.resources)}
    if resources.get(_MERGED, b"\0\0\0\1\1")[4:5] == b"\0":
        raise PictureError("decode", "saved without its merged picture. Save it in Photoshop with 'Maximize compatibility', or as JPEG.")
    picture.info |= {name: resources[number] for number, name in ((_EXIF, "exif"), (_XMP, "xmp")) if number in resources}
    return Opened(picture, picture.size)


def _as_plain(data: bytes) -> BinaryIO:
    """A PSD or PSB as what Pillow reads: a PSD of 8 bits without layers, and without channels that are no colours.

    The fourth channel of RGB is transparency if the number of layers is negative. Otherwise it is a stored selection.
    """
    version, channels, height, width, depth, mode = struct.unpack_from(">4xH6xHIIHH", data)
    if channels > _MOST_CHANNELS or height > _MOST_ROWS:
        raise ValueError(f"{channels} channels of {height} rows")
    length, count = ("Q", "I") if version == _PSB else ("I", "H")
    layers = 26
    for _ in ("colours", "resources"):
        layers += 4 + int.from_bytes(data[layers : layers + 4], "big")
    size, layers_size, num_layers = struct.unpack_from(f">{length}{length}h", data[layers : layers + 18].ljust(18, b"\0"))
    merged = layers + struct.calcsize(length) + size
    is_transparent = mode == _RGB and size and layers_size and num_layers < 0
    kept = min(channels, _COLOURS.get(mode, 1) + bool(is_transparent))
    compression, pixels = data[merged : merged + 2], data[merged + 2 :]
    if compression == b"\0\1":  # the number of bytes of each row comes first
        counts = struct.unpack_from(f">{height * channels}{count}", pixels)
        pixels = pixels[struct.calcsize(count) * len(counts) :]
        counts = counts[: height * kept]
        if depth > 8:
            check_size("Photoshop", (width, height), more=kept * width * height * depth / 8)
            whole_rows = bisect_right(list(accumulate(counts)), len(pixels))
            compression, pixels = b"\0\0", _unpacked(pixels, (width * depth // 8, whole_rows))
        else:
            pixels = struct.pack(f">{len(counts)}H", *(min(number, 65535) for number in counts)) + pixels
    if depth == 16:
        pixels = pixels[::2]
    elif depth == 32:
        light = np.nan_to_num(np.frombuffer(pixels, ">f4", count=len(pixels) // 4)).clip(0, 1)
        pixels = np.rint(light * 255).astype(np.uint8).tobytes()
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, kept, height, width, min(depth, 8), mode)
    return io.BytesIO(head + data[26:layers] + bytes(4) + compression + pixels)


def _unpacked(pixels: bytes, size: tuple[int, int]) -> bytes:
    return Image.frombytes("L", size, pixels, "packbits", "L").tobytes() if min(size) else b""
