"""Which picture of a file is read, how it is turned, and what its metadata are, for formats that need more than Pillow's plugin."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from media.errors import PictureError
from media.metadata import picture_metadata
from media.pictures.header import read_header
from media.pictures.jxl import _header
from media.pictures.picture import open_picture, read_picture
from media.pictures.raw import _exif
from tests.media.metadata.builders import xmp
from tests.rare_pictures import encoded, raw_of_camera

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def flag(width=96, height=64):
    picture = Image.new("RGB", (width, height), "black")
    picture.paste("red", (0, 0, width, height // 4))
    return picture


def pages(*sizes, **options):
    pictures = [Image.new("RGB", size, colour) for size, colour in zip(sizes, ("red", "lime", "blue", "white"), strict=False)]
    return encoded(pictures[0], "TIFF", save_all=True, append_images=pictures[1:], **options)


@pytest.mark.parametrize(
    ("sizes", "main"),
    [
        ([(40, 30)], 0),
        ([(40, 30), (40, 30)], 0),
        ([(40, 30), (50, 30)], 0),
        ([(10, 8), (40, 30)], 1),
        ([(40, 30), (20, 15), (10, 8)], 0),
        ([(10, 8), (40, 30), (80, 60)], 2),
    ],
)
def test_the_main_page_of_a_tiff_is_shown(sizes, main):
    read = read_picture(pages(*sizes))
    assert (read.image.size, (read.metadata["width"], read.metadata["height"])) == (sizes[main], sizes[main])
    assert read.image.getpixel((1, 1)) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)][main]


def png_with(kind, content, *, behind=False, checksum=None):
    """A PNG with EXIF (turned) and one more chunk, before or behind its pixels."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(flag(), "PNG", exif=exif)
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content) if checksum is None else checksum)
    at = data.index(b"IEND" if behind else b"eXIf") - 4
    return data[:at] + chunk + data[at:]


LONG_TEXT = zlib.compress(bytes(3_000_000))


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "checksum"),
    [
        (b"zTXt", b"workflow\0\0" + LONG_TEXT, None),
        (b"iTXt", b"workflow\0\1\0\0\0" + LONG_TEXT, None),
        (b"iCCP", b"profile\0\0" + LONG_TEXT, None),
        (b"iCCP", b"profile\0\7" + b"unknown", None),
        (b"gAMA", b"\0", None),
        (b"tEXt", b"Title\0wrong", 1),
    ],
)
def test_a_chunk_that_pillow_refuses_does_not_lose_a_png(kind, content, checksum, behind):
    """Browsers and ImageMagick show these pictures. Pillow limits texts and profiles to 1 MB."""
    read = read_picture(png_with(kind, content, behind=behind, checksum=checksum))
    assert (read.format, read.damaged, read.image.size) == ("PNG", False, (64, 96))
    assert (read.image.getpixel((60, 50)), read.image.getpixel((5, 50))) == ((255, 0, 0), (0, 0, 0))


def test_a_png_with_a_damaged_header_fails_with_the_first_reason():
    data = encoded(flag(), "PNG")
    with pytest.raises(PictureError, match="bad header checksum in b'IHDR'"):
        read_picture(data.replace(b"IHDR\0\0\0\x60", b"IHDR\0\0\0\x61"))


def plain_tiff(pixels, *, order="<", planes=False, photometric=2):
    """An uncompressed TIFF of uint8 or uint16 (H, W, S), with the samples of a pixel together, or one plane after the other."""
    height, width, samples = pixels.shape
    data = (pixels.transpose(2, 0, 1) if planes else pixels).astype(pixels.dtype.newbyteorder(order)).tobytes()
    strips = samples if planes else 1
    tags = {256: width, 257: height, 258: [8 * pixels.itemsize] * samples, 259: 1, 262: photometric, 273: [0] * strips, 277: samples}
    tags |= {278: height, 279: [len(data) // strips] * strips, 284: 2 if planes else 1}
    size = 8 + 2 + 12 * len(tags) + 4
    at = size + sum(4 * len(value) for value in tags.values() if isinstance(value, list) and len(value) > 1)
    tags[273] = [at + strip * len(data) // strips for strip in range(strips)]
    entries = more = b""
    for tag, value in tags.items():
        values = struct.pack(f"{order}{len(value)}I", *value) if isinstance(value, list) else struct.pack(order + "I", value)
        where = values if len(values) == 4 else struct.pack(order + "I", size + len(more))
        more += values if len(values) > 4 else b""
        entries += struct.pack(order + "HHI", tag, 4, len(values) // 4) + where
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + entries + bytes(4) + more + data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_may_have_one_plane_after_the_other(kind, planes, order):
    """Photoshop calls this "per channel". Pillow mixes up 16-bit values that are uncompressed."""
    pixels = np.zeros((40, 60, 3), kind)
    pixels[:, :30], pixels[:, 30:] = np.array([200, 100, 50], kind), np.array([10, 250, 130], kind)
    picture = open_picture(plain_tiff(pixels * (257 if kind == np.uint16 else 1), order=order, planes=planes))
    assert (picture.getpixel((5, 5)), picture.getpixel((55, 35))) == ((200, 100, 50), (10, 250, 130))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(("photometric", "shown"), [(0, (255, 55)), (1, (0, 200))])
def test_zero_may_be_white_in_a_tiff(kind, photometric, shown):
    pixels = np.zeros((40, 60, 1), kind)
    pixels[:, 30:] = 200 * (257 if kind == np.uint16 else 1)
    picture = open_picture(plain_tiff(pixels, photometric=photometric))
    assert (picture.getpixel((5, 5))[0], picture.getpixel((55, 35))[0]) == shown


@pytest.mark.parametrize("subfile_type", [1, 4, 5])
def test_a_thumbnail_or_mask_is_not_the_main_page_of_a_tiff(subfile_type):
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, True) as writer:
        for colour, size, kind in (("red", (80, 60), subfile_type), ("lime", (40, 30), 0)):
            Image.new("RGB", size, colour).save(writer, "TIFF", tiffinfo={254: kind})
            writer.newFrame()
        data = buffer.getvalue()
    assert open_picture(data).getpixel((1, 1)) == (0, 255, 0)
    only_page = encoded(Image.new("RGB", (80, 60), "red"), "TIFF", tiffinfo={254: subfile_type})
    assert open_picture(only_page).getpixel((1, 1)) == (255, 0, 0)


def test_a_raw_file_gives_its_preview_turned_upright_with_its_metadata():
    read = read_picture(raw_of_camera(flag().rotate(90, expand=True), orientation=6), name="a.dng")
    assert (read.format, read.image.size, read.metadata["width"]) == ("Camera raw", (96, 64), 96)
    np.testing.assert_allclose(read.image.getpixel((40, 5)), (255, 0, 0), atol=12)
    assert read.metadata["camera"] == "Maker Model"


def test_a_raw_file_without_a_preview_is_developed():
    read = read_picture(raw_of_camera(flag(), preview=False), name="a.dng")
    assert (read.image.size, read.metadata["width"], read.metadata["height"]) == ((48, 32), 96, 64)
    red, black = read.image.getpixel((20, 3)), read.image.getpixel((20, 25))
    assert red[0] > 100 > max(red[1:])
    assert max(black) < 30


def test_a_raw_file_without_rawpy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(PictureError, match=r"^a\.nef: a raw file of a camera\. To read it: pip install 'coca-search\[raw\]'$"):
        read_picture(raw_of_camera(flag()), name="a.nef")


@pytest.mark.parametrize("data", [b"FUJIFILMCCD-RAW 0201FF383501", b"II*\0\x10\0\0\0CR\2\0" + bytes(50), b"IIRO\x08\0\0\0" + bytes(90)])
def test_a_damaged_raw_file_is_refused(data):
    with pytest.raises(PictureError, match=r"^a\.cr2: the raw file cannot be read \("):
        read_picture(data, name="a.cr2")


def tiff_block(tags):
    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()[6:]


def test_the_exif_blocks_of_olympus_panasonic_and_canon_are_found():
    block = tiff_block({271: "Maker"})
    little = b"II*\0" if block[:2] == b"II" else b"MM\0*"
    for mark in (b"IIRO", b"IIU\0"):
        found = Image.Exif()
        found.load(_exif(mark[:2] + mark[2:] + block[4:] if block[:2] == b"II" else little + block[4:]))
        assert found[271] == "Maker"

    def box(kind, data):
        return struct.pack(">I4s", len(data) + 8, kind) + data

    when = ExifTags.Base.DateTimeOriginal
    data = box(b"ftyp", b"crx \0\0\0\1") + box(b"moov", box(b"CMT1", block) + box(b"CMT2", tiff_block({when: "2024:05:06 07:08:09"})))
    found = Image.Exif()
    found.load(_exif(data))
    assert found[271] == "Maker"
    assert found.get_ifd(ExifTags.IFD.Exif)[when] == "2024:05:06 07:08:09"


@pytest.mark.parametrize("frames", [1, 3])
def test_the_xmp_of_a_gif_is_read(frames):
    colours = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")[:frames]]
    stream = io.BytesIO()
    colours[0].save(stream, "GIF", save_all=True, append_images=colours[1:], duration=500)
    data = stream.getvalue()
    palette = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    trailer = b"\1" + bytes(range(255, -1, -1)) + b"\0"
    packet = xmp('xmp:Rating="4"')
    with_xmp = data[:palette] + b"!\xff\x0bXMP DataXMP" + packet + trailer + data[palette:]
    opened, _ = read_header(io.BytesIO(with_xmp))
    assert opened.picture.info["xmp"] == packet
    assert picture_metadata(opened.picture, opened.size)["rating"] == 4
    assert opened.picture.n_frames == frames


def test_jpeg_2000_has_metadata_in_boxes():
    data = encoded(flag(), "JPEG2000")
    uuids = {"exif": b"JpgTiffExif->JP2", "xmp": bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")}
    contents = {"exif": tiff_block({271: "Maker"}), "xmp": XMP}
    boxes = b"".join(struct.pack(">I4s", 24 + len(contents[name]), b"uuid") + uuids[name] + contents[name] for name in uuids)
    opened, known = read_header(io.BytesIO(data + boxes))
    assert known.name == "JPEG 2000"
    assert {name: opened.picture.info[name] for name in contents} == contents


def test_jpeg_xl_has_metadata_in_boxes():
    exif = Image.Exif()
    exif[271] = "Maker"
    opened, known = read_header(io.BytesIO(encoded(flag(), "JXL", exif=exif, xmp=XMP)))
    assert (known.name, opened.picture.info["xmp"]) == ("JPEG XL", XMP)
    assert opened.picture.getexif()[271] == "Maker"


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (256, 256), (300, 200), (100, 700), (640, 480), (5667, 3)])
def test_the_header_of_a_jpeg_xl_gives_its_size(size):
    assert _header(io.BytesIO(encoded(Image.new("L", size), "JXL"))) == (size, 1)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # small, height / 8 - 1, ratio 1:1; not all default, extra fields, orientation - 1
        ("1 11111 100 0 1 101", ((256, 256), 6)),
        ("1 00000 000 10000 1", ((16, 8), 1)),
        ("0 00 111111111 000 01 1111111111111 0 0", ((8192, 512), 1)),
    ],
)
def test_the_orientation_of_a_jpeg_xl_is_in_its_header(bits, expected):
    number = int(bits.replace(" ", "")[::-1], 2)  # the first bit is the lowest
    assert _header(io.BytesIO(b"\xff\x0a" + number.to_bytes(8, "little"))) == expected


def test_a_heic_with_several_pictures_shows_its_primary_one():
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("blue", "red", "white")]
    data = encoded(pictures[0], "HEIF", save_all=True, append_images=pictures[1:], primary_index=1)
    np.testing.assert_allclose(open_picture(data).getpixel((9, 9)), (255, 0, 0), atol=6)


def test_a_heic_that_says_twice_how_it_is_turned_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = flag().rotate(90, expand=True)
    said_in_exif = read_picture(encoded(stored, "HEIF", exif=exif))  # the encoder knows only bytes, so the container says nothing
    said_twice = read_picture(encoded(stored, "HEIF", exif=exif.tobytes()))
    for read in (said_in_exif, said_twice):
        assert (read.image.size, read.metadata["width"], read.metadata["height"]) == ((96, 64), 96, 64)
        np.testing.assert_allclose(read.image.getpixel((40, 5)), (255, 0, 0), atol=12)


def test_an_avif_is_turned_by_its_container_only():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    read = read_picture(encoded(flag(), "AVIF", xmp=xmp))
    np.testing.assert_allclose(read.image.getpixel((40, 5)), (255, 0, 0), atol=12)


def test_the_largest_picture_of_an_icon_is_shown():
    data = encoded(flag(64, 64), "ICO", sizes=[(16, 16), (64, 64), (32, 32)])
    assert open_picture(data).size == (64, 64)


def test_the_first_picture_of_a_stereo_pair_is_shown():
    data = encoded(flag(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64), "blue")])
    read = read_picture(data)
    assert (read.format, read.image.size) == ("JPEG", (96, 64))
    np.testing.assert_allclose(read.image.getpixel((40, 50)), (0, 0, 0), atol=6)


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypmp42" + bytes(12), b"\x1aE\xdf\xa3" + bytes(20), b"FLV\1" + bytes(20)])
def test_a_film_is_named_as_such(head):
    with pytest.raises(PictureError, match=r"^a\.jpg: a video \(.*\), not a picture$"):
        read_picture(head, name="a.jpg")


def test_pixels_that_are_not_square_stay_as_in_browsers():
    """JPEG, PNG and TIFF can state the shape of a pixel. Browsers and exiftool's ImageSize do not apply it to pictures."""
    for file_format, options in (("JPEG", {"dpi": (72, 144)}), ("PNG", {"dpi": (72, 144)}), ("TIFF", {"dpi": (72, 144)})):
        assert open_picture(encoded(flag(), file_format, **options)).size == (96, 64)
