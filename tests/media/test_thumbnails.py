import io

import pytest
from PIL import Image

from media.thumbnails import make_thumbnail


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((640, 480), (320, 240)), ((480, 640), (240, 320)), ((5000, 1), (320, 1)), ((100, 50), (100, 50)), ((1, 1), (1, 1))],
)
def test_a_thumbnail_is_a_webp_of_at_most_320_pixels(size, wanted):
    with Image.open(io.BytesIO(make_thumbnail(Image.new("RGB", size, (220, 20, 20))))) as picture:
        assert (picture.format, picture.size) == ("WEBP", wanted)
        assert all(abs(a - b) < 12 for a, b in zip(picture.convert("RGB").getpixel((0, 0)), (220, 20, 20), strict=True))
