"""HDR curves, the gamma of PNG, and unused alpha channels, in sRGB."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from media.pictures.colour import to_srgb
from media.pictures.picture import open_picture
from tests.rare_pictures import encoded


def hdr_picture(file_format, nits, *, curve, primaries=9):
    """An AVIF or HEIC of one colour in BT.2020, given in linear BT.709. The encoders state sRGB, so the statement is replaced."""
    y = (nits @ np.array([(0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956)]).T / 10_000) ** 0.1593017578125
    codes = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375  # SMPTE ST 2084
    colour = tuple(np.rint(255 * codes).astype(int).tolist())
    data = encoded(Image.new("RGB", (64, 64), colour), file_format, quality=100)
    stated = b"colrnclx" + bytes((0, 1, 0, 13))
    assert data.count(stated) == 1
    return data.replace(stated, b"colrnclx" + bytes((0, primaries, 0, curve)))


@pytest.mark.parametrize("file_format", ["AVIF", "HEIF"])
def test_hdr_pictures_look_like_sdr(file_format):
    """A diffuse white has 203 nits (BT.2408). Darker colours are as in SDR, brighter ones are compressed."""
    shown = [
        open_picture(hdr_picture(file_format, np.array(light) * 203.0, curve=16)).getpixel((32, 32))
        for light in ((0.5, 0.1, 0.03), (0.03, 0.3, 0.1), (1.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    ]
    expected = [(191, 98, 59), (59, 154, 98), (239, 239, 239), (255, 255, 255)]
    assert np.abs(np.array(shown) - expected).max() <= 8
    assert min(shown[3]) > max(shown[2])


def test_hlg_pictures_are_converted_and_a_profile_counts_more():
    three_quarters = encoded(Image.new("RGB", (64, 64), (191, 191, 191)), "AVIF", quality=100)
    hlg = three_quarters.replace(b"colrnclx" + bytes((0, 1, 0, 13)), b"colrnclx" + bytes((0, 9, 0, 18)))
    assert min(open_picture(hlg).getpixel((32, 32))) >= 230  # 203 nits
    picture = Image.new("RGB", (2, 2), (148, 148, 148))
    picture.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.info["nclx_profile"] = {"transfer_characteristics": 16, "color_primaries": 9}
    assert to_srgb(picture).getpixel((0, 0)) == (148, 148, 148)


def test_wide_gamut_without_a_profile_is_converted():
    picture = Image.new("RGB", (2, 2), (200, 100, 50))
    picture.info["nclx_profile"] = {"transfer_characteristics": 13, "color_primaries": 12}
    assert np.abs(np.array(to_srgb(picture).getpixel((0, 0))) - (215, 93, 31)).max() <= 12


@pytest.mark.parametrize(
    ("gamma", "also", "shown"),
    [
        (1.0, {}, 188),  # linear light
        (1 / 1.8, {}, 145),  # an old Macintosh
        (1 / 2.2, {}, 128),
        (1.0, {"srgb": 0}, 128),
        (1.0, {"icc_profile": b"damaged"}, 128),
        (1e-5, {}, 128),
        (0.0, {}, 128),
    ],
)
def test_the_gamma_of_a_png_is_applied_as_in_browsers(gamma, also, shown):
    picture = Image.new("RGB", (2, 2), (128, 0, 255))
    picture.info |= {"gamma": gamma} | also
    assert np.abs(np.array(to_srgb(picture).getpixel((0, 0))) - (shown, 0, 255)).max() <= 1


def bmp_with_alpha(picture):
    """A BMP with a header of version 4 that states masks of red, green, blue and alpha. Pillow writes no such file."""
    pixels = np.asarray(picture)[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    about = struct.pack("<IiiHHIIiiII", 108, picture.width, picture.height, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks
    header = about.ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(pixels), 0, 0, 14 + 108) + header + pixels


@pytest.mark.parametrize("write", [bmp_with_alpha, lambda picture: encoded(picture, "TGA")], ids=["BMP", "TGA"])
def test_an_alpha_of_zero_everywhere_is_unused_in_bmp_and_tga(write):
    """Many programs leave it at 0. In a PNG, such a picture is white."""
    picture = Image.new("RGBA", (8, 8), (9, 99, 199, 0))
    assert open_picture(write(picture)).getpixel((4, 4)) == (9, 99, 199)
    assert open_picture(encoded(picture, "PNG")).getpixel((4, 4)) == (255, 255, 255)
    picture.putpixel((0, 0), (0, 0, 0, 255))
    assert open_picture(write(picture)).getpixel((4, 4)) == (255, 255, 255)
