import io

import numpy as np
import pytest
from PIL import Image

from coca_model import PictureError, open_picture
from coca_model.architecture.config import ImageConfig
from coca_model.preprocess import to_square
from training.cache.views import PLAIN, view

SQUASH, CROP = (ImageConfig(32, 8, width=8, heads=2, resize=resize) for resize in ("squash", "crop"))


def encoded(picture, file_format="PNG"):
    stream = io.BytesIO()
    picture.save(stream, file_format)
    return stream.getvalue()


def noise(size, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC)


def ramp(width, height):
    """A picture whose red value encodes the column of a pixel and green its row, each from 0 to 250."""
    columns, rows = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, 128)], axis=-1).round().astype(np.uint8))


@pytest.fixture
def unchanged_colours(monkeypatch):
    """Turn off the change of brightness, so that colours give the position of a pixel."""
    monkeypatch.setattr("training.cache.views._COLOUR", (1.0, 1.0))


def seen_of(pixels, width, height):
    """The width and height, in pixels of the ramp, of the part of a `ramp` that a view shows."""
    shares = [np.ptp(pixels[..., channel].astype(float)) / 250 for channel in (0, 1)]
    return shares[0] * width * 32 / 31, shares[1] * height * 32 / 31


@pytest.mark.parametrize("config", [SQUASH, CROP], ids=["squash", "crop"])
@pytest.mark.parametrize(("size", "file_format"), [((90, 70), "PNG"), ((90, 70), "JPEG"), ((1200, 900), "JPEG")])
def test_view_0_equals_the_preprocessing_of_inference(tiny_encoder, config, size, file_format):
    data = encoded(noise(size), file_format)
    pixels = view(data, PLAIN, config, seed=(5,))
    np.testing.assert_array_equal(pixels, to_square(open_picture(data, min_side=tiny_encoder.min_side), config))
    if config is SQUASH:
        np.testing.assert_array_equal(pixels, tiny_encoder.preprocess(data))


@pytest.mark.parametrize("config", [SQUASH, CROP], ids=["squash", "crop"])
def test_views_depend_only_on_number_and_seed(config):
    data = encoded(noise((90, 70)))
    pairs = [(0, (7, 1)), (1, (7, 1)), (2, (7, 1)), (1, (8, 1)), (1, (7, 2)), (2**31, (7, 1))]
    views = [view(data, number, config, seed=seed) for number, seed in pairs]
    assert all((one.shape, one.dtype) == ((32, 32, 3), np.uint8) for one in views)
    assert len({one.tobytes() for one in views}) == len(pairs)
    for (number, seed), one in zip(pairs, views, strict=True):
        np.testing.assert_array_equal(view(data, number, config, seed=seed), one)


def test_the_plain_view_is_the_same_for_all_seeds():
    data = encoded(noise((90, 70)))
    np.testing.assert_array_equal(view(data, PLAIN, SQUASH, seed=(1,)), view(data, PLAIN, SQUASH, seed=(2, 3)))


@pytest.mark.parametrize(("width", "height"), [(400, 200), (200, 400), (300, 300)])
@pytest.mark.parametrize("config", [SQUASH, CROP], ids=["squash", "crop"])
@pytest.mark.usefixtures("unchanged_colours")
def test_views_show_at_least_40_percent_of_the_plain_view_in_similar_proportions(config, width, height):
    """Models with squash see the whole picture as a square. Models with crop see a square of its shorter side."""
    whole = (width, height) if config is SQUASH else (min(width, height),) * 2
    data, shares = encoded(ramp(width, height)), []
    for number in range(1, 60):
        wide, high = seen_of(view(data, number, config, seed=(0,)), width, height)
        assert 0.73 < (wide / whole[0]) / (high / whole[1]) < 1.37
        shares.append(wide * high / (whole[0] * whole[1]))
    assert 0.36 < min(shares) < 0.5
    assert 0.85 < max(shares) < 1.05


@pytest.mark.usefixtures("unchanged_colours")
def test_about_half_of_the_views_are_mirrored_and_none_is_upside_down():
    data = encoded(ramp(100, 80))
    views = [view(data, number, SQUASH, seed=(0,)).astype(int) for number in range(1, 101)]
    assert 35 <= sum(one[:, -1, 0].mean() < one[:, 0, 0].mean() for one in views) <= 65
    assert all(one[-1, :, 1].mean() > one[0, :, 1].mean() for one in views)


@pytest.mark.usefixtures("unchanged_colours")
def test_crops_of_a_long_picture_cover_all_of_it():
    data = encoded(ramp(600, 100))
    centres = [view(data, number, CROP, seed=(0,))[..., 0].mean() for number in range(1, 60)]
    assert min(centres) < 60
    assert max(centres) > 190


def test_brightness_changes_by_at_most_20_percent():
    data = encoded(Image.new("RGB", (64, 64), (100, 100, 100)))
    means = [view(data, number, SQUASH, seed=(0,)).mean() for number in range(1, 60)]
    assert 79 <= min(means) < 90
    assert 110 < max(means) <= 121


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("config", [SQUASH, CROP], ids=["squash", "crop"])
def test_a_file_that_is_not_a_picture_is_refused(number, config):
    with pytest.raises(PictureError, match="not a picture"):
        view(b"Dear Sir or Madam", number, config, seed=(0,))


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
@pytest.mark.parametrize("config", [SQUASH, CROP], ids=["squash", "crop"])
def test_tiny_and_thin_pictures_have_views(config, size):
    data = encoded(Image.new("RGB", size, "red"))
    assert [view(data, number, config, seed=(0,)).shape for number in range(9)] == [(32, 32, 3)] * 9
