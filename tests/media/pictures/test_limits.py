"""Large pictures: read at a reduced scale, within a limit of memory."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media.errors import PictureError
from media.pictures import limits
from media.pictures.picture import open_picture, read_picture
from tests.rare_pictures import encoded


def corners(width, height, mode="RGB"):
    """A picture whose quarters have four colours."""
    picture = Image.new("RGB", (width, height), "white")
    for colour, box in (("red", (0, 0)), ("lime", (width // 2, 0)), ("blue", (0, height // 2))):
        picture.paste(colour, (*box, box[0] + width // 2, box[1] + height // 2))
    return picture.convert(mode, dither=Image.Dither.NONE)


def of_quarters(picture):
    width, height = picture.size
    return [picture.getpixel((x, y)) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


@pytest.mark.parametrize(
    ("file_format", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG2000", "RGB", {}),
        ("HEIF", "RGB", {"quality": 90}),
    ],
)
@pytest.mark.parametrize("size", [(200, 120), (203, 117)])
def test_a_picture_with_too_many_pixels_is_reduced_by_a_whole_number(monkeypatch, file_format, mode, options, size):
    monkeypatch.setattr(limits, "MAX_PIXELS", 200 * 120 // 9 + 300)
    monkeypatch.setattr(limits, "_BAND_PIXELS", 1000)
    picture = corners(*size, mode)
    read = read_picture(encoded(picture, file_format, **options))
    assert (read.metadata["width"], read.metadata["height"], read.damaged) == (*size, False)
    scale = {"JPEG": 4, "JPEG2000": 4 if size[0] % 4 == 0 else 3}.get(file_format, 3)
    assert read.image.size == pytest.approx((size[0] / scale, size[1] / scale), abs=17 if file_format == "JPEG2000" else 1)
    expected = of_quarters(picture.convert("RGB"))
    np.testing.assert_allclose(of_quarters(read.image), expected, atol=6)


def test_deep_greys_keep_one_white_in_all_bands(monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 1000)
    monkeypatch.setattr(limits, "_BAND_PIXELS", 200)
    values = np.repeat(np.linspace(0, 60_000, 120).astype(np.uint16)[:, None], 40, axis=1)
    image = open_picture(encoded(Image.fromarray(values), "PNG"))
    shown = np.asarray(image)[:, 5, 0].astype(int)
    np.testing.assert_allclose(shown, np.linspace(0, 233, len(shown)), atol=3)


@pytest.mark.parametrize(("progressive", "allowed"), [(False, True), (True, False)])
def test_a_progressive_jpeg_needs_memory_for_all_its_coefficients(monkeypatch, progressive, allowed):
    data = encoded(corners(1600, 1200), "JPEG", progressive=progressive)
    monkeypatch.setattr(limits, "MAX_BYTES", 1600 * 1200)
    monkeypatch.setattr(limits, "MAX_PIXELS", 100_000)
    if allowed:
        assert open_picture(data).size == (200, 150)
    else:
        with pytest.raises(PictureError, match=r"too many pixels \(200x150\)"):
            open_picture(data)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of memory there")
def test_the_limits_hold_for_a_panorama():
    """270 megapixels in a program of its own, because the peak of memory is that of a whole process."""
    data = io.BytesIO()
    Image.new("L", (30_000, 9_000), 128).save(data, "JPEG", quality=30)
    program = (
        "import sys; from media.pictures.picture import read_picture\n"
        "picture = read_picture(sys.stdin.buffer.read(), min_side=336)\n"
        "print(*picture.image.size, picture.metadata['width'], open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], input=data.getvalue(), capture_output=True, check=True)
    width, height, full_width, kibibytes = map(int, done.stdout.split())
    assert (width, height, full_width) == (3750, 1125, 30_000)
    assert kibibytes < 300 * 1024
