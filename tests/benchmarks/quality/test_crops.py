import random
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality import breadth, crops
from coca_model.architecture.config import ImageConfig

ENCODER = SimpleNamespace(config=SimpleNamespace(image=ImageConfig(image_size=36, patch_size=18, mean=(0, 0, 1))))


@pytest.fixture
def half_red():
    """A wide picture, red on the left and white on the right."""
    picture = Image.new("RGB", (120, 60), "white")
    picture.paste("red", (0, 0, 60, 60))
    return picture


def test_the_views_are_the_parts_that_their_names_say(half_red):
    red = [view[..., 1].mean() < 128 for view in crops.views(half_red, ENCODER, random.Random(0))]
    assert red[crops.CORNERS] == [True, False, True, False]
    assert red[crops.HALVES] == [True, False]
    _, centre, padded = crops.views(half_red, ENCODER, random.Random(0))[:3]
    assert centre[:, 0].tolist() == [[255, 0, 0]] * 36
    assert padded[0].tolist() == [[0, 0, 255]] * 36


def test_a_square_picture_has_one_shape():
    squashed, centre, padded = crops.views(Image.effect_noise((50, 50), 90).convert("RGB"), ENCODER, random.Random(0))[:3]
    assert (squashed == centre).all()
    assert (squashed == padded).all()


def test_the_nearest_of_several_vectors_counts():
    images = np.eye(4, dtype=np.float32).reshape(2, 2, 4)
    assert breadth.cosines(np.array([[0, 0.6, 0.8, 0]], np.float32), images).tolist() == [[np.float32(0.6), np.float32(0.8)]]


def test_full_whitening_leaves_no_correlations():
    random_ = np.random.default_rng(0)
    images = (random_.normal(size=(4000, 8)) @ (np.eye(8) + 0.5) + 1).astype(np.float32)
    white = crops.whitening(images, 1, 1, 0.5)(images)
    assert np.allclose(np.cov(white, rowvar=False), np.eye(8) / 8, atol=0.02)
    assert crops.whitening(images, 4, 3, 0.5)(images).shape == (4000, 24)


def test_the_picture_itself_is_not_counted_as_found():
    kind = breadth.Kind("any", True, {"cat": frozenset({0, 1}), "dog": frozenset({2, 3})})
    vectors = crops.unit(np.array([[1, 0.1], [1, 0], [0, 1], [1, 0.3]]))
    assert crops.same_label([kind], vectors, vectors) == 75  # the second dog finds a cat
