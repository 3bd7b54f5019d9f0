import io
import re
import struct

import numpy as np
import pytest
from PIL import Image

from coca_model import preprocess
from coca_model.config import ImageConfig
from coca_model.errors import PictureError
from coca_model.preprocess import open_picture, to_square


def encoded(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def grey(values):
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


def corners():
    """An upright picture, uint8 (12, 20, 3), with a colour of its own in each corner."""
    picture = np.full((12, 20, 3), 128, dtype=np.uint8)
    picture[:6, :6], picture[:6, -6:], picture[-6:, :6], picture[-6:, -6:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    return picture


def photo(width=1600, height=1200):
    """Smooth colours with some waves, as a camera would see them."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [x, y, (x + y) / 2]
    return Image.fromarray(np.stack([127 * (1 + np.sin(7 * wave + i)) for i, wave in enumerate(waves)], axis=-1).astype(np.uint8))


# What a camera stores for an upright picture, by the EXIF standard: 6 says "row 0 of the file is the right side".
STORED = {
    1: lambda up: up,
    2: lambda up: up[:, ::-1],
    3: lambda up: up[::-1, ::-1],
    4: lambda up: up[::-1],
    5: lambda up: up.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda up: up[::-1, ::-1].transpose(1, 0, 2),
    8: lambda up: np.rot90(up, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_comes_out_upright(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](corners())))
    data = encoded(stored, file_format, exif=exif, **({"lossless": True} if file_format == "WEBP" else {}))
    np.testing.assert_array_equal(np.asarray(open_picture(data)), corners())


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(open_picture(encoded(Image.fromarray(corners()), "PNG", exif=exif))), corners())


def test_a_damaged_exif_entry_does_not_lose_the_picture_or_its_orientation():
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHI4s", 0x011A, 2, 4, b"abc\0")  # a resolution that is text
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + bytes(4)
    assert open_picture(encoded(Image.new("RGB", (20, 12)), "JPEG", exif=exif)).size == (12, 20)


@pytest.mark.parametrize(
    ("mode", "colour", "file_format", "expected"),
    [
        ("RGB", (10, 20, 30), "PNG", (10, 20, 30)),
        ("RGBA", (200, 100, 0, 0), "PNG", (255, 255, 255)),
        ("RGBA", (200, 100, 0, 255), "PNG", (200, 100, 0)),
        ("RGBA", (200, 100, 0, 51), "PNG", (244, 224, 204)),  # 0.2 * colour + 0.8 * 255
        ("LA", (100, 51), "PNG", (224, 224, 224)),
        ("L", 77, "PNG", (77, 77, 77)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 0, "PNG", (0, 0, 0)),
        ("CMYK", (255, 0, 0, 0), "TIFF", (0, 255, 255)),
        ("CMYK", (0, 51, 0, 51), "TIFF", (204, 163, 204)),  # 255 * (1 - ink) * (1 - black)
        ("YCbCr", (76, 85, 255), "TIFF", (254, 0, 0)),
        ("HSV", (0, 255, 255), None, (255, 0, 0)),
    ],
)
def test_every_mode_becomes_the_colour_one_sees(mode, colour, file_format, expected):
    picture = Image.new(mode, (3, 2), colour)
    opened = open_picture(encoded(picture, file_format) if file_format else picture)
    assert opened.mode == "RGB"
    np.testing.assert_allclose(np.asarray(opened, dtype=int), np.broadcast_to(expected, (2, 3, 3)), atol=1)


def test_a_transparent_palette_colour_becomes_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    for transparent, expected in ((0, [[255, 255, 255], [200, 100, 50]]), (1, [[10, 20, 30], [255, 255, 255]])):
        opened = open_picture(encoded(picture, "PNG", transparency=transparent))
        assert np.asarray(opened)[0].tolist() == expected


def test_a_colour_named_transparent_in_a_png_without_alpha_becomes_white():
    data = encoded(Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)), "PNG", transparency=(1, 2, 3))
    assert np.asarray(open_picture(data))[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize(("file_format", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_sixteen_bit_greys_are_scaled_and_not_clipped(file_format, dtype):
    values = np.array([[0, 257, 128 * 257], [200 * 257, 254 * 257, 65535]])
    opened = open_picture(encoded(Image.fromarray(values.astype(dtype)), file_format))
    np.testing.assert_allclose(np.asarray(opened, dtype=int), grey(values // 257), atol=1)


def test_big_endian_sixteen_bit_greys_are_scaled():
    values = np.array([[0, 128 * 257], [200 * 257, 65535]])
    picture = Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes())
    np.testing.assert_allclose(np.asarray(open_picture(picture), dtype=int), grey(values // 257), atol=1)


def test_eight_bit_values_in_a_sixteen_bit_file_stay_as_they_are():
    values = np.array([[0, 100, 200]], dtype=np.uint16)
    np.testing.assert_array_equal(np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF"))), grey(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 127, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 500.0, 1000.0], [0, 127, 255]),
        ([-1.0, 0.5, 1.0], [0, 127, 255]),
        ([np.nan, 0.5, 1.0], [0, 127, 255]),
        ([np.inf, -np.inf, 1.0], [0, 0, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_greys_are_scaled_by_their_range_and_holes_are_black(values, expected):
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    np.testing.assert_allclose(np.asarray(open_picture(data), dtype=int), grey([expected]), atol=1)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(file_format):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    data = encoded(first, file_format, save_all=True, append_images=[second], **({"lossless": True} if file_format == "WEBP" else {}))
    np.testing.assert_array_equal(np.asarray(open_picture(data)), np.asarray(first))


@pytest.mark.parametrize("as_source", [str, lambda path: path, lambda path: path.read_bytes(), Image.open])
def test_a_path_bytes_and_a_pillow_image_give_the_same_picture(tmp_path, as_source):
    (path := tmp_path / "corners.png").write_bytes(encoded(Image.fromarray(corners()), "PNG"))
    np.testing.assert_array_equal(np.asarray(open_picture(as_source(path))), corners())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_pillow_image_is_not_changed_and_not_shared(mode):
    picture = Image.new(mode, (4, 4))
    opened = open_picture(picture)
    opened.paste((9, 9, 9), (0, 0, 4, 4))
    assert picture.mode == mode
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(Image.new(mode, (4, 4))))


BROKEN_AVIF = encoded(Image.new("RGB", (8, 4)), "AVIF").replace(b"iloc", b"free")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.jpg", encoded(photo(64, 48), "JPEG")[:-300], r"cannot be decoded \(.*truncated"),
        ("cut.png", encoded(photo(64, 48), "PNG")[:-300], r"cannot be decoded \(.*truncated"),
        ("letter.jpg", b"Dear Sir or Madam", "not a picture that Pillow can read"),
        ("empty.png", b"", "not a picture that Pillow can read"),
        ("broken.avif", BROKEN_AVIF, r"cannot be decoded \(Failed to decode image"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, data, reason):
    (path := tmp_path / name).write_bytes(data)
    with pytest.raises(PictureError, match=rf"^{re.escape(str(path))}: {reason}"):
        open_picture(path)
    with pytest.raises(PictureError, match=rf"^picture: {reason}"):
        open_picture(data)


@pytest.mark.parametrize("name", ["nothing.jpg", "."])
def test_a_path_without_a_file_is_named(tmp_path, name):
    with pytest.raises(PictureError, match=rf"^{re.escape(str(tmp_path / name))}: cannot be decoded \(.*Errno"):
        open_picture(tmp_path / name)


@pytest.mark.parametrize(("limit", "opens"), [(239, False), (240, True)])
def test_a_picture_with_too_many_pixels_is_refused(monkeypatch, limit, opens):
    monkeypatch.setattr(preprocess, "MAX_PIXELS", limit)
    data = encoded(Image.fromarray(corners()), "PNG")
    if opens:
        assert open_picture(data).size == (20, 12)
    else:
        with pytest.raises(PictureError, match=r"^picture: too many pixels \(20x12\)\. At most 239 are opened\."):
            open_picture(data)


@pytest.mark.parametrize("pillow_limit", [100, 239, None])
def test_the_limit_of_pillow_does_not_come_before_ours(monkeypatch, pillow_limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    assert open_picture(encoded(Image.fromarray(corners()), "PNG")).size == (20, 12)


def test_squash_keeps_all_of_the_picture_and_crop_its_proportions():
    picture = Image.new("RGB", (90, 30), "green")
    picture.paste("red", (0, 0, 30, 30))
    picture.paste("blue", (60, 0, 90, 30))
    squashed, cropped = (to_square(picture, ImageConfig(30, 10, width=8, heads=2, resize=kind)) for kind in ("squash", "crop"))
    assert squashed.shape == cropped.shape == (30, 30, 3)
    assert squashed[15, [2, 15, 27]].tolist() == [[255, 0, 0], [0, 128, 0], [0, 0, 255]]
    np.testing.assert_array_equal(cropped, np.broadcast_to(np.array([0, 128, 0], np.uint8), (30, 30, 3)))


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (30, 30), (7, 5)])
def test_a_picture_of_any_size_becomes_the_square_of_the_tower(resize, size):
    pixels = to_square(Image.new("RGB", size, (1, 2, 3)), ImageConfig(30, 10, width=8, heads=2, resize=resize))
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([1, 2, 3], np.uint8), (30, 30, 3)))


def test_a_square_of_the_right_size_is_left_as_it_is():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))
    pixels = to_square(picture, ImageConfig(30, 10, width=8, heads=2, resize="squash"))
    np.testing.assert_array_equal(pixels, np.asarray(picture))
    assert pixels.flags.writeable  # torch warns about memory that is not


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_jpeg_decoded_at_a_reduced_scale_stays_close_to_the_exact_one(resize):
    data, config = encoded(photo(), "JPEG", quality=90), ImageConfig(64, 16, width=8, heads=2, resize=resize)
    reduced = open_picture(data, min_side=128)
    assert reduced.size == (200, 150)
    difference = np.abs(to_square(reduced, config).astype(int) - to_square(open_picture(data), config))
    assert difference.mean() < 1.5
    assert difference.max() < 12


@pytest.mark.parametrize(
    ("min_side", "size"), [(0, (1600, 1200)), (1200, (1600, 1200)), (601, (1600, 1200)), (600, (800, 600)), (64, (200, 150))]
)
def test_both_sides_of_a_reduced_jpeg_keep_the_least_that_was_asked(min_side, size):
    assert open_picture(encoded(photo(), "JPEG"), min_side=min_side).size == size
