"""The checkpoint that ships: small, quick to load, and right about what everyone knows."""

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


def test_it_is_below_64_megabytes():
    assert find_checkpoint("default").weights.stat().st_size < 64_000_000


def test_to_load_it_takes_nothing_of_torchs_compiler_whose_import_takes_a_second():
    script = (
        "import sys, coca_model; coca_model.load().encode_texts(['a dog']); sys.exit(bool({'torch._dynamo', 'sympy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_it_tells_a_flower_from_a_building(encoder, pictures):
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


def test_captions_are_words_and_the_true_text_is_likelier_with_its_picture(encoder, pictures):
    captions = encoder.caption(pictures)
    assert all(len(caption.split()) >= 2 for caption in captions)
    texts = ["a flower", "a building by the water"]
    gain = encoder.score(pictures, texts) - encoder.score(None, texts)
    assert np.argmax(gain[:, 0]) == 1
