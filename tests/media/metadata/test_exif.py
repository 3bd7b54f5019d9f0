import math
import struct

import pytest
from PIL.TiffImagePlugin import IFDRational

from media.metadata.exif import exif_stream, tiff_tags
from tests.media.metadata.builders import block, metadata_of, text, with_tags


@pytest.mark.parametrize(
    ("tag", "value", "name", "wanted"),
    [
        (0x9290, "12", "Exif.Photo.SubSecTime", "12"),
        (0xA002, 80, "Exif.Photo.PixelXDimension", 80),
        (0x9286, b"ASCII\0\0\0at the lake\0", "Exif.Photo.UserComment", "at the lake"),
        (0x9286, bytes(8) + "am See, schön".encode(), "Exif.Photo.UserComment", "am See, schön"),
        (0x9286, b"UNICODE\0" + "зима".encode("utf-16-le"), "Exif.Photo.UserComment", "зима"),
        (0x9286, b"UNICODE\0" + "winter".encode("utf-16-be"), "Exif.Photo.UserComment", "winter"),
        (0x9286, b"UNICODE\0\xfe\xff" + "зима".encode("utf-16-be"), "Exif.Photo.UserComment", "зима"),
        (0x9286, b"JIS\0\0\0\0\0" + "冬".encode("iso2022_jp"), "Exif.Photo.UserComment", "冬"),
        (0x9286, b"UNICODE\0\xff\xfe", "Exif.Photo.UserComment", None),
        (0x927C, b"\x01\x02\x03\x04\x05\x06", "Exif.Photo.MakerNote", None),
        (0x920A, IFDRational(5, 0), "Exif.Photo.FocalLength", None),
        (0xA432, (IFDRational(24), IFDRational(70), IFDRational(28, 10), IFDRational(4)), "Exif.Photo.LensSpecification", (24, 70, 2.8, 4)),
        (0xA432, (IFDRational(24), IFDRational(0, 0)), "Exif.Photo.LensSpecification", None),
        (0xEA7D, 7, "Exif.Photo.0xea7d", 7),
    ],
)
def test_raw_tags_have_exiv2_names_and_plain_values_or_are_left_out(tag, value, name, wanted):
    assert metadata_of(exif=with_tags(photo={tag: value})).get(name) == wanted


@pytest.mark.parametrize(
    ("tag", "value", "name", "wanted"),
    [
        (0x010E, " a dog \0", "Exif.Image.ImageDescription", "a dog"),
        (0x010E, "  ", "Exif.Image.ImageDescription", None),
        (0x010E, "Café".encode(), "Exif.Image.ImageDescription", "Café"),
        (0x010E, b"Caf\xe9", "Exif.Image.ImageDescription", "Café"),
        (0x010E, b"\x93quoted\x94", "Exif.Image.ImageDescription", "“quoted”"),
        (0x9C9B, "зима".encode("utf-16-le") + b"\0\0", "Exif.Image.XPTitle", "зима"),
        (0x9C9B, "зима".encode("utf-16-le") + b"\0\0rubbish!", "Exif.Image.XPTitle", "зима"),
        (0x9C9B, b"\x00\xd8\x00", "Exif.Image.XPTitle", None),
    ],
)
def test_text_is_read_in_all_common_encodings(tag, value, name, wanted):
    assert metadata_of(exif=with_tags({tag: value})).get(name) == wanted


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_types_of_numbers_are_read_in_both_byte_orders(order):
    packed = {
        0x0112: (3, 1, struct.pack(order + "H", 6)),
        0x0100: (4, 1, struct.pack(order + "I", 80)),
        0x011A: (5, 1, struct.pack(order + "II", 145, 2)),
        0x9203: (10, 1, struct.pack(order + "ii", -3, 2)),
        0xC000: (11, 1, struct.pack(order + "f", 1.5)),
        0xC001: (12, 1, struct.pack(order + "d", 2.5)),
        0xC002: (8, 2, struct.pack(order + "hh", -1, 2)),
    }
    found = tiff_tags(exif_stream(block(*((tag, *entry) for tag, entry in packed.items()), order=order)))
    assert list(found.values()) == [6, 80, 72.5, -1.5, 1.5, 2.5, (-1, 2)]


def test_a_rational_with_denominator_0_is_nan_for_those_who_know_what_it_means():
    found = tiff_tags(exif_stream(block((0x011A, 5, 1, bytes(8)))))
    assert math.isnan(found["Exif.Image.XResolution"])


def test_the_first_of_two_tags_with_one_number_counts():
    found = tiff_tags(exif_stream(block(text(0x0110, b"first\0"), text(0x0110, b"second\0"))))
    assert found == {"Exif.Image.Model": "first"}


def test_bigtiff_is_read():
    entry = struct.pack("<HHQ8s", 0x0110, 2, 4, b"X-1\0")
    data = b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + struct.pack("<Q", 1) + entry + bytes(8)
    assert tiff_tags(exif_stream(data)) == {"Exif.Image.Model": "X-1"}


def test_a_directory_that_points_to_itself_is_read_once():
    data = block((0x8769, 4, 1, struct.pack("<I", 8)), text(0x0110, b"X-1\0"))
    assert tiff_tags(exif_stream(data)) == {"Exif.Image.Model": "X-1", "Exif.Photo.Model": "X-1"}


def test_a_million_tags_cost_no_more_than_a_thousand():
    data = b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHI4s", 0x0110, 2, 1 << 16, bytes(4)) * 65535
    assert len(tiff_tags(exif_stream(data))) <= 1


@pytest.mark.parametrize(
    ("make", "model", "kind", "camera"),
    [
        (b"GoPro\0\0 \xfc\xcdx\0\0", b"HD2\0\4\0\0\3\0p\x18\0", 2, "GoPro HD2"),
        (b"WWL\0", b"ION230\0F", 2, "WWL ION230"),
        (b"Canon\0", b"EOS 5D\0", 7, "Canon EOS 5D"),
        (b"Canon\0", b"EOS 5D\0", 1, "Canon EOS 5D"),
        ("Société".encode() + b"\0", b"X1\0", 2, "Société X1"),
        (b"Soci\xe9t\xe9\0", b"X1\0", 2, "Société X1"),
        (b"Canon   \0", b"Canon EOS 5D   \0", 2, "Canon EOS 5D"),
        (b"\0\0\0\0\0", b"X1\0", 2, "X1"),
        (b"Maker\1\2\0", b"X1\x7f\0", 2, "Maker X1"),
        (b"     \0", b"     \0", 2, None),
    ],
)
def test_the_camera_has_no_rubbish(make, model, kind, camera):
    assert metadata_of(exif=block(text(271, make, kind), text(272, model, kind))).get("camera") == camera
