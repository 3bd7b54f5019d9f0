import dataclasses
import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from coca_model import load
from coca_model.architecture.config import ImageConfig
from coca_model.preprocess import OVERSAMPLING, to_square
from media.pictures.picture import open_picture


@pytest.fixture(scope="module")
def photographs():
    return {
        name: Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in ("coffee", "rocket", "gravel", "hubble_deep_field")
    }


@pytest.fixture(scope="module")
def embedded():
    return load(device="cpu", dtype=torch.float32)


def test_squash_keeps_the_whole_picture_and_crop_keeps_its_proportions():
    picture = Image.new("RGB", (90, 30), "green")
    picture.paste("red", (0, 0, 30, 30))
    picture.paste("blue", (60, 0, 90, 30))
    squashed, cropped = (to_square(picture, ImageConfig(30, 10, width=8, heads=2, resize=kind)) for kind in ("squash", "crop"))
    assert squashed.shape == cropped.shape == (30, 30, 3)
    assert squashed[15, [2, 15, 27]].tolist() == [[255, 0, 0], [0, 128, 0], [0, 0, 255]]
    np.testing.assert_array_equal(cropped, np.broadcast_to(np.array([0, 128, 0], np.uint8), (30, 30, 3)))


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (30, 30), (7, 5)])
def test_a_picture_of_any_size_becomes_a_square_of_the_model_size(resize, size):
    pixels = to_square(Image.new("RGB", size, (1, 2, 3)), ImageConfig(30, 10, width=8, heads=2, resize=resize))
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([1, 2, 3], np.uint8), (30, 30, 3)))


def test_a_square_of_the_right_size_is_unchanged():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))
    pixels = to_square(picture, ImageConfig(30, 10, width=8, heads=2, resize="squash"))
    np.testing.assert_array_equal(pixels, np.asarray(picture))
    assert pixels.flags.writeable  # torch warns about arrays that are read-only


def resize_and_centre_crop(picture, size):
    """open_clip's evaluation transform (torchvision 0.27: Resize(size, BICUBIC), CenterCrop(size)) as Pillow calls."""
    width, height = picture.size
    wide, high = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    left, top = round((wide - size) / 2.0), round((high - size) / 2.0)
    return np.asarray(picture.resize((wide, high), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (449, 299), (227, 224), (224, 397), (300, 300), (401, 230), (100, 60), (41, 97)])
def test_crop_agrees_with_open_clip(photographs, size):
    config = ImageConfig(224, 16, width=8, heads=2, resize="crop")
    for photograph in photographs.values():
        picture = photograph.resize(size)
        difference = np.abs(to_square(picture, config).astype(int) - resize_and_centre_crop(picture, 224))
        assert difference.mean() < 0.3  # of 255; the difference is rounding, because Pillow resizes rows before columns
        assert difference.max() < 10


@pytest.mark.parametrize("turned", [False, True])
def test_crop_of_a_one_pixel_strip_shows_its_middle(turned):
    thread = np.zeros((1, 5000, 3), np.uint8)
    thread[:, 2495:2505] = 200
    picture = Image.fromarray(thread.transpose(1, 0, 2) if turned else thread)
    pixels = to_square(picture, ImageConfig(30, 10, width=8, heads=2, resize="crop"))
    np.testing.assert_array_equal(pixels, np.full((30, 30, 3), 200))


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_photograph_decoded_at_a_reduced_scale_has_nearly_the_same_embedding(photographs, embedded, resize):
    config = dataclasses.replace(embedded.config.image, resize=resize)
    least, exact, fast = OVERSAMPLING * config.image_size, [], []
    for photograph in photographs.values():
        sides = [2 * round(least * side / min(photograph.size)) for side in photograph.size]  # just large enough
        photograph.resize(sides, Image.Resampling.LANCZOS).save(stream := io.BytesIO(), "JPEG", quality=90)
        data = stream.getvalue()
        reduced = open_picture(data, min_side=least)
        assert min(reduced.size) == least
        exact.append(to_square(open_picture(data), config))
        fast.append(to_square(reduced, config))
    cosines = (embedded.encode_pixels(np.stack(exact)) * embedded.encode_pixels(np.stack(fast))).sum(axis=1)
    assert cosines.min() >= 0.999
