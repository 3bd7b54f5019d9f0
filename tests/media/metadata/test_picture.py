import datetime
import io
import zlib

import pytest
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from media import read_picture
from media.metadata import orientation_of, picture_metadata
from tests.media.metadata.builders import EXIF, block, columns, iim, metadata_of, photoshop, picture, text, with_tags, xmp

UTC = datetime.UTC
PHOTOGRAPH = with_tags(
    {0x010F: "Maker", 0x0110: "Model 1", 0x0112: 6},
    {0x9003: "2021:07:03 10:11:12", 0x9011: "+02:00", 0x9291: "25", 0xA434: "50mm F1.8", 0x829A: IFDRational(1, 250), 0x9000: b"0230"},
    {1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 36.0), 6: 12.5},
)


def png(**texts):
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key.replace("_", " "), value)
    return metadata_of("PNG", pnginfo=info)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_time_position_camera_and_lens_of_a_photograph_are_read(file_format):
    found = metadata_of(file_format, exif=PHOTOGRAPH.tobytes())
    assert (found["width"], found["height"], found["camera"], found["lens"]) == (40, 80, "Maker Model 1", "50mm F1.8")
    assert found["taken_at"] == datetime.datetime(2021, 7, 3, 8, 11, 12, 250000, tzinfo=UTC)
    assert (found["taken_local"], found["utc_offset_minutes"]) == (datetime.datetime(2021, 7, 3, 10, 11, 12, 250000), 120)
    assert found["taken_at_source"] == "Exif.Photo.DateTimeOriginal"
    assert (found["latitude"], found["longitude"]) == (pytest.approx(-33.5), pytest.approx(151.26))
    raw = {
        "Exif.Image.Make": "Maker",
        "Exif.Photo.ExposureTime": pytest.approx(1 / 250),
        "Exif.Photo.ExifVersion": "0230",
        "Exif.GPSInfo.GPSLatitudeRef": "S",
        "Exif.GPSInfo.GPSLatitude": (33.0, 30.0, 0.0),
        "Exif.GPSInfo.GPSAltitude": 12.5,
    }
    assert {name: found[name] for name in raw} == raw


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_picture_without_metadata_has_its_size_only(file_format):
    found = metadata_of(file_format)
    assert {name: value for name, value in found.items() if "." not in name} == {"width": 80, "height": 40}


def test_the_size_is_the_full_size_even_at_a_reduced_scale():
    opened = read_picture(picture(exif=with_tags({0x0112: 8}), size=(800, 400)), min_side=50)
    assert opened.image.size == (50, 100)
    assert (opened.metadata["width"], opened.metadata["height"]) == (400, 800)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG", "AVIF", "TIFF"])
def test_xmp_is_read_in_all_formats(file_format):
    packet = xmp('xmp:Rating="4" xmp:CreateDate="2020-05-06T07:08:09+02:00"')
    if file_format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        found = metadata_of("PNG", pnginfo=info)
    else:
        found = metadata_of(file_format, **({"tiffinfo": {700: packet}} if file_format == "TIFF" else {"xmp": packet}))
    assert (found["rating"], found["utc_offset_minutes"], found["taken_at_source"]) == (4, 120, "Xmp.xmp.CreateDate")


def test_iptc_is_read_in_jpeg_tiff_and_png():
    block_ = iim((5, "Title"), (25, "one"), (25, "two"))
    wanted = {"title": "Title", "keywords": ("one", "two")}
    assert columns(metadata_of(iptc=block_)) == wanted
    assert columns(metadata_of("TIFF", tiffinfo={33723: block_})) == wanted
    assert columns(metadata_of("TIFF", tiffinfo={34377: photoshop(block_)})) == wanted
    padded = block_ + bytes(-len(block_) % 4)  # Photoshop declares the bytes as numbers of four bytes
    assert columns(metadata_of("WEBP", exif=block((33723, 4, len(padded) // 4, padded)))) == wanted
    for data in (block_, photoshop(block_)):
        assert columns(png(**{"Raw profile type iptc": f"\niptc\n{len(data):8}\n{data.hex()}\n"})) == wanted


@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_exif_that_imagemagick_wrote_into_png_is_read(kind):
    data = with_tags({0x0110: "X-1", 0x0112: 6}).tobytes()
    found = png(**{f"Raw profile type {kind}": f"\n{kind}\n{len(data):8}\n{data.hex()}\n"})
    assert (found["camera"], found["width"]) == ("X-1", 40)


def test_xmp_that_imagemagick_wrote_into_png_is_read():
    data = b"http://ns.adobe.com/xap/1.0/\0" + xmp('xmp:Rating="3"')
    assert png(**{"Raw profile type APP1": f"\nAPP1\n{len(data):8}\n{data.hex()}\n"})["rating"] == 3
    assert png(**{"Raw profile type xmp": f"\nxmp\n{len(data):8}\n{data[29:].hex()}\n"})["rating"] == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Creation Time", "2020:05:06 07:08:09"),
        ("Creation Time", "Wed, 06 May 2020 07:08:09"),
        ("creation time", "2020-05-06T07:08:09"),
        ("exif:DateTimeOriginal", "2020:05:06 07:08:09"),
    ],
)
def test_the_time_in_the_text_of_a_png_is_read(key, value):
    found = png(**{key: value, "date:create": "2024-01-01T00:00:00+00:00"})  # when ImageMagick read the file
    assert found["taken_local"] == datetime.datetime(2020, 5, 6, 7, 8, 9)
    assert found["taken_at_source"].lower() == f"png.{key}".lower()


def test_the_texts_of_a_png_are_read_in_both_encodings():
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"Title\0" + "Zürich".encode())  # PNG prescribes Latin-1
    info.add(b"zTXt", b"Description\0\0" + zlib.compress("Café".encode("latin-1")))
    info.add_itxt("Comment", "зима")
    found = metadata_of("PNG", pnginfo=info)
    assert (found["title"], found["description"], found["PNG.Comment"]) == ("Zürich", "Café", "зима")


@pytest.mark.parametrize(("value", "wanted"), [(1, 1), (6, 6), (8, 8), (0, 1), (9, 1), (65535, 1)])
def test_only_1_to_8_are_orientations(value, wanted):
    assert orientation_of(Image.open(io.BytesIO(picture(exif=with_tags({0x0112: value}))))) == wanted


@pytest.mark.parametrize(
    "entry", [(0x0112, 3, 2, b"\6\0\6\0"), (0x0112, 2, 2, b"6\0"), (0x0112, 3, 1, b""), (0x0112, 5, 1, bytes(8)), (0x0112, 99, 1, b"\6\0")]
)
def test_an_orientation_that_is_not_one_number_is_none(entry):
    assert orientation_of(Image.open(io.BytesIO(picture(exif=block(entry))))) == 1


def test_an_orientation_in_xmp_counts_if_exif_has_none():
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    found = read_picture(picture(xmp=packet))
    assert (found.image.size, found.metadata["width"], found.metadata["height"]) == ((40, 80), 40, 80)
    assert read_picture(picture(xmp=packet, exif=with_tags({0x0112: 1}))).image.size == (80, 40)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_the_size_of_a_tiff_that_pillow_rotates_is_upright(compression, orientation):
    exif = with_tags({0x0112: orientation, 0x0110: "X-1", 0x0132: "2020:05:06 07:08:09"})
    opened = read_picture(picture("TIFF", exif=exif.tobytes(), compression=compression))
    size = (40, 80) if orientation == 6 else (80, 40)
    assert (opened.image.size, opened.metadata["width"], opened.metadata["height"]) == (size, *size)
    assert (opened.metadata["camera"], opened.metadata["taken_at"].year) == ("X-1", 2020)


def test_a_damaged_tag_and_a_damaged_group_do_not_hide_the_others():
    bad = [(0x011A, 5, 1, b"abc"), (EXIF, 4, 1, b"\xff\xff\xff\0"), (0x8825, 2, 4, b"abc\0"), (0x010F, 2, 1 << 31, b"abcd")]
    found = metadata_of("PNG", exif=block(text(0x0110, b"X-1\0"), *bad, text(0x010E, b"a dog\0")))
    assert (found["camera"], found["description"], found["width"]) == ("X-1", "a dog", 80)


@pytest.mark.parametrize(
    "data", [b"garbage that is no EXIF", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_a_picture_with_invalid_exif_has_its_size(data):
    assert metadata_of("WEBP", exif=data) == {"width": 80, "height": 40}


def test_a_picture_without_a_file_has_its_size():
    assert picture_metadata(Image.new("RGB", (3, 2)), (3, 2)) == {"width": 3, "height": 2}


def test_reading_a_picture_with_metadata_decodes_it_once(monkeypatch):
    decoded = []
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_end", lambda picture: decoded.append(picture))  # noqa: PLW0108
    assert metadata_of("PNG")["width"] == 80
    assert len(decoded) == 1
