"""Pictures that lack bytes, or have wrong ones."""

import io
import random
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image, ImageFile

from media.errors import PictureError
from media.pictures import partial
from media.pictures.animation import read_animation
from media.pictures.motion_photo import find_film
from media.pictures.picture import open_picture, read_picture
from tests.rare_pictures import encoded, photoshop, raw_of_camera


def noisy(width=160, height=120, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def share_of_right_rows(picture, truth):
    difference = np.abs(np.asarray(picture, dtype=int) - np.asarray(truth, dtype=int)).mean((1, 2))
    return float((difference < 40).mean())


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"quality": 90, "subsampling": 0}),
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("QOI", {}),
        ("WEBP", {"quality": 95}),
        ("HEIF", {"quality": 90}),
    ],
)
def test_what_is_there_of_a_cut_picture_is_shown(file_format, options, share):
    truth = noisy()
    data = encoded(truth.quantize(64) if file_format == "GIF" else truth, file_format, **options)
    whole = read_picture(data)
    assert not whole.damaged
    cut = read_picture(data[: int(len(data) * share)])
    assert cut.damaged
    assert (cut.image.size, cut.metadata["width"], cut.metadata["height"]) == ((160, 120), 160, 120)
    right = share_of_right_rows(cut.image, whole.image)
    assert right > share - 0.25
    assert right < share + 0.1 or file_format == "HEIF"  # rows behind the cut resemble those before it


def test_a_progressive_jpeg_gets_blurred_but_stays_whole():
    truth = Image.effect_mandelbrot((400, 300), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    data = encoded(truth, "JPEG", progressive=True)
    cut = read_picture(data[: len(data) // 2])
    assert cut.damaged
    assert share_of_right_rows(cut.image, truth) > 0.9


@pytest.mark.parametrize("colour", ["black", "white", (128, 128, 128), (127, 129, 127), "red"])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP"])
def test_a_plain_picture_without_its_last_bytes_is_damaged_but_not_lost(file_format, colour):
    data = encoded(Image.new("RGB", (320, 240), colour), file_format)
    if file_format == "BMP" and colour == (127, 129, 127):
        pytest.skip("the one colour that cannot be told from missing pixels")
    cut = read_picture(data[:-2])
    assert cut.damaged
    np.testing.assert_allclose(cut.image.getpixel((5, 100)), Image.new("RGB", (1, 1), colour).getpixel((0, 0)), atol=2)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_bytes_behind_a_picture_are_no_damage(file_format):
    data = encoded(noisy(), file_format)
    for behind in (b"\0", b"\0" * 100_000, b"<?xpacket end='w'?>", data):
        assert not read_picture(data + behind).damaged


@pytest.mark.parametrize(("file_format", "share"), [("JPEG", 0.03), ("PNG", 0.05), ("WEBP", 0.1), ("HEIF", 0.1), ("BMP", 0.05)])
def test_a_picture_of_which_nearly_nothing_is_left_fails(file_format, share):
    data = encoded(noisy(), file_format, **({"quality": 95} if file_format == "JPEG" else {}))
    with pytest.raises(PictureError, match=r"may be (damaged or )?incomplete"):
        open_picture(data[: int(len(data) * share)])


def test_a_cut_tiff_is_turned_once():
    upright = Image.new("RGB", (40, 80), "black")
    upright.paste("red", (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(upright.transpose(Image.Transpose.ROTATE_90), "TIFF", exif=exif)
    picture = read_picture(data[:-100])
    assert (picture.damaged, picture.image.size, picture.metadata["width"]) == (True, (40, 80), 40)
    assert picture.image.getpixel((20, 5)) == (255, 0, 0)


def test_pillows_setting_for_the_whole_program_does_not_change():
    open_picture(encoded(noisy(), "JPEG")[:-100])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


WHOLE = {
    "jpeg": lambda: encoded(noisy(48, 32), "JPEG"),
    "progressive": lambda: encoded(noisy(48, 32), "JPEG", progressive=True),
    "cmyk": lambda: encoded(noisy(48, 32).convert("CMYK"), "JPEG"),
    "png": lambda: encoded(noisy(48, 32), "PNG"),
    "palette": lambda: encoded(noisy(48, 32).quantize(16), "PNG"),
    "webp": lambda: encoded(noisy(48, 32), "WEBP"),
    "avif": lambda: encoded(noisy(48, 32), "AVIF"),
    "heic": lambda: encoded(noisy(48, 32), "HEIF"),
    "jxl": lambda: encoded(noisy(48, 32), "JXL"),
    "jp2": lambda: encoded(noisy(48, 32), "JPEG2000"),
    "tiff": lambda: encoded(noisy(48, 32), "TIFF"),
    "lzw": lambda: encoded(noisy(48, 32), "TIFF", compression="tiff_lzw"),
    "bmp": lambda: encoded(noisy(48, 32), "BMP"),
    "ico": lambda: encoded(noisy(48, 48), "ICO"),
    "icns": lambda: encoded(noisy(64, 64), "ICNS"),
    "tga": lambda: encoded(noisy(48, 32), "TGA"),
    "qoi": lambda: encoded(noisy(48, 32), "QOI"),
    "psd": lambda: photoshop(noisy(48, 32)),
    "psb": lambda: photoshop(noisy(48, 32), big=True, packed=True),
    "dng": lambda: raw_of_camera(noisy(96, 64)),
    "moving.gif": lambda: moving("GIF"),
    "moving.webp": lambda: moving("WEBP"),
    "moving.png": lambda: moving("PNG"),
    "moving.avif": lambda: moving("AVIF"),
}


def moving(file_format):
    frames = [noisy(48, 32, seed) for seed in range(3)]
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)


def spoilt(data, dice):
    """The data cut, changed, or with bytes inserted."""
    spoiled = bytearray(data[: dice.randrange(len(data))] if dice.random() < 0.3 else data)
    where = min(len(spoiled), 80) if dice.random() < 0.4 else len(spoiled)  # often in the header
    for _ in range(dice.choice([0, 1, 1, 3, 20])):
        if where:
            spoiled[dice.randrange(where)] = dice.choice([0, 1, 127, 255, dice.randrange(256)])
    if dice.random() < 0.2:
        at = dice.randrange(len(spoiled) + 1)
        spoiled[at:at] = dice.randbytes(dice.choice([1, 4, 100]))
    return bytes(spoiled)


@pytest.mark.parametrize("name", WHOLE)
def test_spoilt_bytes_give_a_picture_or_a_picture_error(name):
    dice = random.Random(name)
    data = WHOLE[name]()
    for _ in range(40):
        spoiled = spoilt(data, dice)
        find_film(io.BytesIO(spoiled))
        if animation := read_animation(io.BytesIO(spoiled)):
            assert list(animation.frames)
        with suppress(PictureError):
            assert read_picture(spoiled, min_side=dice.choice([0, 16]), name=f"a.{name}").image.mode == "RGB"


@pytest.mark.parametrize(("decoded", "is_enough"), [(0, False), (5, False), (6, True), (60, True)])
def test_the_decoded_share_is_measured_in_bands(decoded, is_enough, monkeypatch):
    monkeypatch.setattr(partial, "_BAND_PIXELS", 100)
    picture = Image.new("RGB", (40, 60), (127, 129, 127))
    picture.paste("red", (0, 60 - decoded, 40, 60))
    assert partial._is_enough(picture, (127, 129, 127)) == is_enough
