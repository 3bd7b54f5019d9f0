import io
import re
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from media.errors import PictureError
from media.pictures import limits
from media.pictures.picture import open_picture


def encoded(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def corners():
    """An upright picture, uint8 (12, 20, 3), with a different colour in each corner."""
    picture = np.full((12, 20, 3), 128, dtype=np.uint8)
    picture[:6, :6], picture[:6, -6:], picture[-6:, :6], picture[-6:, -6:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    return picture


def photo(width=1600, height=1200):
    """Smooth colours with waves, similar to a photograph."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [x, y, (x + y) / 2]
    return Image.fromarray(np.stack([127 * (1 + np.sin(7 * wave + i)) for i, wave in enumerate(waves)], axis=-1).astype(np.uint8))


# The pixels a camera stores for an upright picture, by EXIF orientation: 6 means "row 0 of the file is the right side".
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
def test_every_exif_orientation_is_turned_upright(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](corners())))
    data = encoded(stored, file_format, exif=exif, **({"lossless": True} if file_format == "WEBP" else {}))
    np.testing.assert_array_equal(np.asarray(open_picture(data)), corners())


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_invalid_orientation_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(open_picture(encoded(Image.fromarray(corners()), "PNG", exif=exif))), corners())


def test_a_damaged_exif_entry_does_not_lose_the_picture_or_its_orientation():
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHI4s", 0x011A, 2, 4, b"abc\0")  # a resolution that is text
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + bytes(4)
    assert open_picture(encoded(Image.new("RGB", (20, 12)), "JPEG", exif=exif)).size == (12, 20)


@pytest.mark.parametrize(
    "block",
    [
        b"garbage that is no EXIF",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0",  # announces five entries and ends
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_a_picture_with_invalid_exif_opens_without_rotation(file_format, block):
    assert open_picture(encoded(Image.new("RGB", (20, 12)), file_format, exif=block)).size == (20, 12)


def test_opening_twice_rotates_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    once = open_picture(encoded(photo(60, 40), "JPEG", exif=exif))
    assert once.size == (40, 60)
    np.testing.assert_array_equal(np.asarray(open_picture(once)), np.asarray(once))


def test_opening_twice_applies_a_profile_once():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"swap").replace(b"gXYZ", b"rXYZ").replace(b"swap", b"gXYZ")  # red is green, green is red
    once = open_picture(encoded(Image.new("RGB", (20, 12), (250, 20, 40)), "PNG", icc_profile=profile))
    np.testing.assert_allclose(once.getpixel((0, 0)), (20, 250, 40), atol=2)
    np.testing.assert_array_equal(np.asarray(open_picture(once)), np.asarray(once))


@pytest.mark.parametrize(
    ("mode", "colour", "file_format", "expected"),
    [
        ("RGBA", (200, 100, 0, 51), "PNG", (244, 224, 204)),
        ("RGBA", (200, 100, 0, 0), "WEBP", (255, 255, 255)),
        ("CMYK", (255, 0, 0, 0), "TIFF", (0, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),  # Adobe stores inverted values in the file
        ("LAB", (136, 128, 128), "TIFF", (128, 128, 128)),
        ("YCbCr", (76, 85, 255), "TIFF", (254, 0, 0)),
        ("I;16", 40_000, "TIFF", (156, 156, 156)),
        ("F", 0.5, "TIFF", (128, 128, 128)),
        ("1", 1, "BMP", (255, 255, 255)),
        ("P", 0, "GIF", (10, 20, 30)),
    ],
)
def test_every_mode_and_format_opens_with_the_visible_colours(mode, colour, file_format, expected):
    picture = Image.new(mode, (16, 8), colour)
    if mode == "P":
        picture.putpalette([10, 20, 30])
    opened = open_picture(encoded(picture, file_format))
    assert opened.mode == "RGB"
    np.testing.assert_allclose(np.asarray(opened, dtype=int), np.broadcast_to(expected, (8, 16, 3)), atol=1)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_an_animation_opens_as_its_first_frame(file_format):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    opened = open_picture(encoded(first, file_format, save_all=True, append_images=[second]))
    np.testing.assert_allclose(np.asarray(opened, dtype=int), np.asarray(first), atol=2)


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
        ("cut.jpg", encoded(photo(64, 48), "JPEG")[:300], r"cannot be decoded \("),
        ("cut.png", encoded(photo(64, 48), "PNG")[:60], r"cannot be decoded \("),
        (
            "letter.jpg",
            b"Dear Sir or Madam",
            r"not a picture that can be read\. It begins with b'Dear Sir or Mada'\. Use JPEG, .* AVIF or HEIC\.",
        ),
        ("empty.png", b"", "the file is empty"),
        ("byte.png", b"\n", "not a picture that can be read"),
        ("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture that can be read"),
        ("broken.avif", BROKEN_AVIF, r"cannot be decoded \(Failed to decode image"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, data, reason):
    (path := tmp_path / name).write_bytes(data)
    with pytest.raises(PictureError, match=rf"^{re.escape(str(path))}: {reason}"):
        open_picture(path)
    with pytest.raises(PictureError, match=rf"^picture: {reason}"):
        open_picture(data)


@pytest.mark.parametrize(("name", "reason"), [("nothing.jpg", "No such file or directory"), (".", "Is a directory")])
def test_a_path_without_a_file_is_named(tmp_path, name, reason):
    with pytest.raises(PictureError, match=rf"^{re.escape(str(tmp_path / name))}: cannot be read \({reason}\)\. Pass the path of"):
        open_picture(tmp_path / name)


def test_damage_that_pillow_warns_of_does_not_lose_the_picture_in_a_program_that_turns_warnings_into_errors():
    data = encoded(Image.new("RGB", (9, 9)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")  # Pillow warns of its end
    assert open_picture(data).size == (9, 9)


FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_picture_that_needs_too_much_memory_is_refused_before_it_is_decoded(monkeypatch, file_format):
    data = encoded(Image.fromarray(corners()), file_format)
    monkeypatch.setattr(limits, "MAX_BYTES", 239)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"^picture: too many pixels \(20x12\): they need .* GB of memory\. At most"):
        open_picture(data)


@pytest.mark.parametrize("pillow_limit", [1, 100, 239, None])
def test_pillows_own_limit_is_neither_used_nor_changed(monkeypatch, pillow_limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)
    assert open_picture(encoded(Image.fromarray(corners()), "PNG")).size == (20, 12)
    assert pillow_limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("sides", "min_side", "reduced"),
    [
        ((1600, 1200), 0, (1600, 1200)),
        ((1600, 1200), 601, (1600, 1200)),
        ((1600, 1200), 600, (800, 600)),
        ((1600, 1200), 64, (200, 150)),
        ((300, 1600), 100, (150, 800)),  # the shorter side counts
        ((1604, 1200), 64, (401, 300)),  # 8 does not divide both sides
        ((1602, 1200), 64, (801, 600)),
        ((1601, 1200), 64, (1601, 1200)),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_reduced_by_an_exact_divisor_down_to_min_side(mode, sides, min_side, reduced):
    assert open_picture(encoded(Image.new(mode, sides), "JPEG"), min_side=min_side).size == reduced


def test_other_formats_are_not_reduced():
    assert open_picture(encoded(Image.new("RGB", (64, 64)), "PNG"), min_side=8).size == (64, 64)
