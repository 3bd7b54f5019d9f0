import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from media.pictures import colour as media_colour
from media.pictures.colour import to_srgb

# Red, green and blue (columns) in XYZ under D50, as in the profiles of these names.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])


def icc(space, device, **tags):
    """A minimal profile: a header of 128 bytes, the tag table, and the tags (ICC.1:2022, section 7)."""
    pcs = b"Lab " if space == b"CMYK" else b"XYZ "
    head = struct.pack(">4xI4s4s4s12x4s28x3i", 0x02400000, device, space, pcs, b"acsp", 63190, 65536, 54061).ljust(124, b"\0")
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name.encode(), 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    return struct.pack(">I", 128 + len(table + body)) + head + table + body


def curve(gamma):
    return b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))


def rgb_profile(primaries, gamma):
    columns = np.round(primaries.T * 65536).astype(int)
    xyz = {f"{name}XYZ": b"XYZ " + struct.pack(">4x3i", *column) for name, column in zip("rgb", columns, strict=True)}
    return icc(b"RGB ", b"mntr", **xyz, **{f"{name}TRC": curve(gamma) for name in "rgb"})


def cmyk_profile():
    """A profile in which no ink is white, full cyan alone is middle grey (L* 53.7, sRGB 128), and any other full ink is black."""
    corners = np.full((16, 3), (0, 128, 128), dtype=np.uint8)
    corners[0b0000, 0], corners[0b1000, 0] = 255, 137
    ramp, identity = bytes(range(256)), (65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    head = b"mft1" + struct.pack(">4x4B9i", 4, 3, 2, 0, *identity)
    return icc(b"CMYK", b"prtr", A2B0=head + 4 * ramp + corners.tobytes() + 3 * ramp)


def tagged(picture, profile):
    picture.info["icc_profile"] = profile
    return picture


def in_srgb(colour, primaries, gamma):
    """Reference conversion: to linear light, to XYZ, to linear sRGB, to the curve of sRGB."""
    light = np.linalg.inv(SRGB) @ primaries @ (np.array(colour) / 255) ** gamma
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pixels(picture):
    return np.asarray(to_srgb(picture), dtype=int)


def grey(values):
    return np.repeat(np.asarray(values, dtype=int)[..., None], 3, axis=2)


def png(bits, colour_type, values, key=None):
    """A PNG of one row, in bit depths that Pillow cannot write. `key` is the transparent colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width = len(values)
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    rows = b"\0" + np.asarray(values, dtype=f">u{bits // 8}").tobytes()
    transparent = b"" if key is None else chunk(b"tRNS", np.asarray(key, dtype=">u2").tobytes())
    data = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBX", (10, 20, 30, 40), (10, 20, 30)),
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 51), (244, 224, 204)),  # 0.2 * colour + 0.8 * 255
        ("RGBa", (40, 20, 0, 51), (244, 224, 204)),  # the same, premultiplied
        ("LA", (100, 51), (224, 224, 224)),
        ("La", (20, 51), (224, 224, 224)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("CMYK", (0, 51, 0, 51), (204, 163, 204)),  # 255 * (1 - ink) * (1 - black)
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("LAB", (136, 128, 128), (128, 128, 128)),
    ],
)
def test_every_mode_is_converted_to_the_visible_colour(mode, colour, expected):
    picture = to_srgb(Image.new(mode, (3, 2), colour))
    assert picture.mode == "RGB"
    np.testing.assert_allclose(np.asarray(picture, dtype=int), np.broadcast_to(expected, (2, 3, 3)), atol=1)


@pytest.mark.parametrize(
    ("transparency", "expected"),
    [
        (0, [[255, 255, 255], [200, 100, 50]]),
        (1, [[10, 20, 30], [255, 255, 255]]),
        (b"\xff\x33", [[10, 20, 30], [244, 224, 214]]),  # 0.2 of the second colour
    ],
)
def test_transparent_palette_colours_become_white(transparency, expected):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    picture.info["transparency"] = transparency
    assert pixels(picture)[0].tolist() == expected


def test_a_palette_with_an_alpha_band_is_blended_with_white():
    picture = Image.new("PA", (1, 1), (1, 51))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    assert pixels(picture)[0].tolist() == [[244, 224, 214]]


@pytest.mark.parametrize(
    ("bits", "colour_type", "values", "key", "expected"),
    [
        (8, 2, [(1, 2, 3), (4, 5, 6)], (1, 2, 3), [(255, 255, 255), (4, 5, 6)]),
        (8, 0, [7, 9], 7, [(255, 255, 255), (9, 9, 9)]),
        (16, 0, [1000, 65535], 1000, [(255, 255, 255), (255, 255, 255)]),
        (16, 0, [0, 65535], 65535, [(0, 0, 0), (255, 255, 255)]),
        (16, 2, [(65535, 257 * 128, 255), (0, 1000, 60000)], None, [(255, 128, 0), (0, 3, 234)]),
        (16, 4, [(257 * 100, 257 * 51), (0, 65535)], None, [(224, 224, 224), (0, 0, 0)]),
        (16, 6, [(65535, 0, 0, 65535), (0, 0, 0, 0)], None, [(255, 0, 0), (255, 255, 255)]),
    ],
)
def test_deep_pngs_and_pngs_with_a_transparent_colour_are_converted_to_eight_bits(bits, colour_type, values, key, expected):
    np.testing.assert_allclose(pixels(png(bits, colour_type, values, key))[0], expected, atol=1)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_greys_are_scaled_and_not_clipped(mode):
    values = np.array([[0, 257, 128 * 257], [200 * 257, 254 * 257, 65535]])
    data = values.astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]).tobytes()
    np.testing.assert_array_equal(pixels(Image.frombytes(mode, (3, 2), data)), grey(values // 257))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 512, 1023], [0, 128, 255]),
        ([0, 1024, 2048], [0, 64, 128]),  # 12 bits
        ([0, 2048, 4095], [0, 128, 255]),
        ([0, 8192, 16383], [0, 128, 255]),
        ([0, 8192, 16384], [0, 32, 64]),  # 16 bits
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_white_is_the_maximum_of_the_smallest_bit_depth_that_holds_all_pixels(values, expected):
    np.testing.assert_array_equal(pixels(Image.fromarray(np.array([values], dtype=np.uint16))), grey([expected]))


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.int32, [0, 500_000, 1_000_000], [0, 128, 255]),
        (np.int32, [-1000, 0, 255], [0, 0, 255]),
        (np.float32, [0.0, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [0.0, 0.1, 0.2], [0, 26, 51]),
        (np.float32, [0.0, 0.75, 1.5], [0, 128, 255]),
        (np.float32, [0.0, 100.0, 255.0], [0, 100, 255]),
        (np.float32, [0.0, 500.0, 1000.0], [0, 128, 255]),
        (np.float32, [-9999.0, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [np.nan, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [np.inf, -np.inf, 1.0], [0, 0, 255]),
    ],
)
def test_other_integers_and_floats_are_scaled_by_their_range_and_invalid_ones_are_black(dtype, values, expected):
    np.testing.assert_allclose(pixels(Image.fromarray(np.array([values], dtype=dtype))), grey([expected]), atol=1)


@pytest.mark.parametrize("colour", [(200, 100, 50), (30, 200, 90), (120, 120, 120), (255, 255, 255), (10, 0, 5)])
@pytest.mark.parametrize(("primaries", "gamma"), [(DISPLAY_P3, 2.2), (ADOBE_RGB, 563 / 256)])
def test_an_rgb_profile_is_applied(primaries, gamma, colour):
    picture = tagged(Image.new("RGB", (1, 1), colour), rgb_profile(primaries, gamma))
    np.testing.assert_allclose(pixels(picture)[0, 0], in_srgb(colour, primaries, round(gamma * 256) / 256), atol=2)


def test_a_profile_changes_the_colours_and_not_the_transparency():
    palette = Image.new("P", (1, 1))
    palette.putpalette([200, 100, 50])
    opaque, profile = in_srgb((200, 100, 50), ADOBE_RGB, 2.2), rgb_profile(ADOBE_RGB, 2.2)
    np.testing.assert_allclose(pixels(tagged(palette, profile))[0, 0], opaque, atol=2)
    clear = tagged(Image.new("RGBA", (1, 1), (200, 100, 50, 51)), profile)
    np.testing.assert_allclose(pixels(clear)[0, 0], 0.2 * opaque + 0.8 * 255, atol=2)


@pytest.mark.parametrize(("mode", "colour"), [("L", 55), ("LA", (55, 255)), ("I;16", 55)])
@pytest.mark.parametrize("profile", [icc(b"GRAY", b"mntr", kTRC=curve(1.0)), rgb_profile(SRGB, 1.0)], ids=["grey", "rgb"])
def test_a_grey_picture_uses_a_grey_profile_or_the_greys_of_an_rgb_profile(mode, colour, profile):
    picture = tagged(Image.new(mode, (1, 1), colour), profile)
    np.testing.assert_allclose(pixels(picture)[0, 0], in_srgb((55, 55, 55), SRGB, 1.0), atol=2)


def test_a_cmyk_profile_is_applied():
    inks = Image.new("CMYK", (3, 1))
    inks.putdata([(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)])
    np.testing.assert_allclose(pixels(tagged(inks, cmyk_profile()))[0], grey([[255, 128, 0]])[0], atol=2)


BLACK = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("mode", "colour", "profile"),
    [
        ("RGB", (200, 100, 50), b""),
        ("RGB", (200, 100, 50), b"no profile"),
        ("RGB", (200, 100, 50), rgb_profile(DISPLAY_P3, 2.2)[:200]),
        ("RGB", (200, 100, 50), rgb_profile(BLACK, 2.2)),
        ("RGB", (200, 100, 50), icc(b"RGB ", b"mntr")),
        ("RGB", (200, 100, 50), icc(b"GRAY", b"mntr", kTRC=curve(1.0))),
        ("RGB", (200, 100, 50), cmyk_profile()),
        ("CMYK", (200, 100, 50, 0), rgb_profile(DISPLAY_P3, 2.2)),
        ("L", 77, cmyk_profile()),
        ("LAB", (136, 128, 128), rgb_profile(SRGB, 1.0)),
    ],
)
def test_a_broken_profile_or_one_for_other_channels_is_ignored(mode, colour, profile):
    picture = Image.new(mode, (2, 2), colour)
    expected = pixels(picture)
    np.testing.assert_array_equal(pixels(tagged(picture, profile)), expected)


def test_an_srgb_profile_needs_no_transform():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    np.testing.assert_array_equal(pixels(tagged(noise.copy(), profile)), np.asarray(noise))
    assert media_colour._transform(profile) is None


def test_one_profile_can_be_used_by_several_threads():
    profile = rgb_profile(DISPLAY_P3, 2.2)
    pictures = [tagged(Image.effect_noise((64, 64), 60 + i).convert("RGB"), profile) for i in range(8)]
    alone = [pixels(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(pixels, pictures * 4), alone * 4, strict=True):
            np.testing.assert_array_equal(together, expected)


def test_the_result_is_a_new_picture_without_metadata():
    picture = tagged(Image.new("RGB", (2, 2), (200, 100, 50)), rgb_profile(ADOBE_RGB, 2.2))
    picture.info["exif"] = b"Exif\0\0"
    once = to_srgb(picture)
    assert once.info == {}
    np.testing.assert_array_equal(np.asarray(to_srgb(once)), np.asarray(once))
    once.putpixel((0, 0), 0)
    assert picture.getpixel((0, 0)) == (200, 100, 50)
