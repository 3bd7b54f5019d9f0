import io

import imagehash
import numpy as np
import pytest
from PIL import Image

from media.thumbnails import make_thumbnail, perceptual_hash, shrink


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((640, 480), (320, 240)), ((480, 640), (240, 320)), ((5000, 1), (320, 1)), ((100, 50), (100, 50)), ((1, 1), (1, 1))],
)
def test_a_thumbnail_is_a_webp_of_at_most_320_pixels(size, wanted):
    with Image.open(io.BytesIO(make_thumbnail(Image.new("RGB", size, (220, 20, 20))))) as picture:
        assert (picture.format, picture.size) == ("WEBP", wanted)
        assert all(abs(a - b) < 12 for a, b in zip(picture.convert("RGB").getpixel((0, 0)), (220, 20, 20), strict=True))


def scene(seed, size=(1200, 800)):
    """A picture of soft blobs, as different for each seed as photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def distance(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("seed", range(6))
def test_the_hash_of_a_thumbnail_is_that_of_the_picture(seed):
    picture = scene(seed)
    whole, small = perceptual_hash(picture), perceptual_hash(shrink(picture))
    assert len(small) == 16
    assert distance(whole, small) <= 2
    assert whole == str(imagehash.phash(picture))


def test_look_alikes_differ_in_few_bits_and_others_in_many():
    picture = scene(0)
    jpeg = io.BytesIO()
    picture.resize((600, 400)).save(jpeg, "JPEG", quality=40)
    with Image.open(jpeg) as copy:
        assert distance(perceptual_hash(picture), perceptual_hash(copy)) <= 4
    assert all(distance(perceptual_hash(picture), perceptual_hash(scene(seed))) > 15 for seed in range(1, 6))


def test_every_size_has_a_hash():
    for size in ((1, 1), (1, 5000), (5000, 1), (3, 2)):
        assert len(perceptual_hash(shrink(Image.new("RGB", size, "red")))) == 16
