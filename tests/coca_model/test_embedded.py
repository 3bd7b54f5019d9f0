"""The embedded checkpoint: its size, its load time, and sanity checks of its answers."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from coca_model import load
from coca_model.checkpoints.find import find_checkpoint


@pytest.fixture(scope="module")
def encoder():
    return load()


@pytest.fixture(scope="module")
def pictures():
    china, flower = load_sample_images().images
    return [Image.fromarray(china), Image.fromarray(flower)]


def test_the_weights_are_below_64_megabytes():
    assert find_checkpoint("default").weights.stat().st_size < 64_000_000


def test_loading_does_not_import_the_slow_torch_compiler():
    script = (
        "import sys, coca_model; coca_model.load().encode_texts(['a dog']); sys.exit(bool({'torch._dynamo', 'sympy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_flower_and_a_building_match_their_texts(encoder, pictures):
    similarity = encoder.encode_images(pictures) @ encoder.encode_texts(["a building by the water", "a flower"]).T
    assert similarity.argmax(1).tolist() == [0, 1]


def test_the_fast_dtype_gives_the_vectors_of_float32(encoder, pictures):
    exact = load(dtype=torch.float32)
    assert (encoder.encode_images(pictures) * exact.encode_images(pictures)).sum(1).min() > 0.99
    words = ["a dog on the beach", "two men talking"]
    assert (encoder.encode_texts(words) * exact.encode_texts(words)).sum(1).min() > 0.99


def test_a_jpeg_decoded_at_reduced_scale_gives_nearly_the_same_vector(encoder, pictures):
    large = pictures[0].resize((2560, 1706), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    large.save(stream, "JPEG", quality=95)
    reduced = encoder.encode_images([stream.getvalue()])
    assert (reduced @ encoder.encode_images([large]).T).item() > 0.99


def test_captions_have_words_and_a_picture_raises_the_likelihood_of_its_text(encoder, pictures):
    captions = encoder.caption(pictures)
    assert all(len(caption.split()) >= 2 for caption in captions)
    texts = ["a flower", "a building by the water"]
    gain = encoder.score(pictures, texts) - encoder.score(None, texts)
    assert np.argmax(gain[:, 0]) == 1
