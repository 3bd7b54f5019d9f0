import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coca_model import PictureError, load
from coca_model.encoder import fast_dtype
from coca_model.generate import log_likelihood

TEXTS = ["a dog", "two dogs play with a red ball", "", "snow", "🐶", "a woman reads a book under"]


def noise(count, size=(40, 30)):
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]


def as_png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def assert_rows_belong(batch, one_by_one):
    """Each row equals its own within the noise of float32, which is far less than what lies between two rows."""
    np.testing.assert_allclose(batch, one_by_one, rtol=0, atol=2e-6)
    between = np.abs(one_by_one[:, None] - one_by_one[None]).max(-1) + np.eye(len(one_by_one))
    assert between.min() > 1e-4


@pytest.mark.parametrize("num_images", [1, 31, 32, 33, 65])
def test_images_keep_their_order_across_batches(tiny_encoder, num_images):
    images = noise(num_images)
    vectors = tiny_encoder.encode_images(images)
    assert_rows_belong(vectors, np.concatenate([tiny_encoder.encode_images([image]) for image in images]))
    assert (vectors.shape, vectors.dtype) == ((num_images, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(num_images), atol=1e-6)


@pytest.mark.parametrize("num_texts", [1, 255, 257])
def test_texts_keep_their_order_across_batches(tiny_encoder, num_texts):
    texts = [f"{'a dog ' * (i % 2)}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(num_texts)]
    vectors = tiny_encoder.encode_texts(texts)
    assert_rows_belong(vectors, np.concatenate([tiny_encoder.encode_texts([text]) for text in texts]))
    assert (vectors.shape, vectors.dtype) == ((num_texts, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(num_texts), atol=1e-6)


def test_nothing_gives_no_rows(tiny_encoder):
    for vectors in (
        tiny_encoder.encode_images([]),
        tiny_encoder.encode_texts([]),
        tiny_encoder.encode_pixels(np.zeros((0, 32, 32, 3), np.uint8)),
    ):
        assert (vectors.shape, vectors.dtype) == ((0, 16), np.float32)
    assert tiny_encoder.caption([]) == []


def test_embeddings_are_the_normalised_ones_of_the_model(tiny_encoder):
    pixels = np.stack([tiny_encoder.preprocess(image) for image in noise(3)])
    with torch.inference_mode():
        expected = tiny_encoder._model.encode_image(torch.from_numpy(pixels))[0].numpy()
    np.testing.assert_allclose(tiny_encoder.encode_pixels(pixels), expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_a_path_bytes_a_pillow_image_and_an_array_give_the_same_vector(tiny_encoder, tmp_path):
    (image,) = noise(1)
    (path := tmp_path / "noise.png").write_bytes(as_png(image))
    sources = [path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(image), image]
    expected = np.repeat(tiny_encoder.encode_images([image]), len(sources), axis=0)
    np.testing.assert_allclose(tiny_encoder.encode_images(sources), expected, rtol=0, atol=1e-6)
    for source in sources:
        np.testing.assert_array_equal(tiny_encoder.preprocess(source), tiny_encoder.preprocess(image))


def test_preprocessed_pixels_can_be_encoded_as_they_are(tiny_encoder):
    (image,) = noise(1)
    pixels = tiny_encoder.preprocess(image)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    np.testing.assert_array_equal(tiny_encoder.encode_pixels(pixels[None]), tiny_encoder.encode_images([image]))


@pytest.mark.parametrize("method", ["encode_images", "caption"])
def test_a_file_that_is_no_picture_is_named(tiny_encoder, tmp_path, method):
    (good := tmp_path / "good.png").write_bytes(as_png(noise(1)[0]))
    (bad := tmp_path / "letter.jpg").write_text("Dear Sir or Madam")
    with pytest.raises(PictureError, match=rf"^{re.escape(str(bad))}: not a picture"):
        getattr(tiny_encoder, method)([good, bad])


@pytest.mark.parametrize("typed", ["A dog", "  a dog ", "a dog.", "a dog ..."])
def test_how_a_query_is_typed_does_not_change_it(tiny_encoder, typed):
    np.testing.assert_allclose(tiny_encoder.encode_texts([typed]), tiny_encoder.encode_texts(["a dog"]), rtol=0, atol=1e-6)


def test_scores_are_the_log_likelihoods_of_each_text_for_each_image(tiny_encoder):
    images, model = noise(33), tiny_encoder._model
    ids, valid = tiny_encoder._tokenizer.encode(TEXTS)
    with torch.inference_mode():
        tokens = model.encode_image(torch.from_numpy(np.stack([tiny_encoder.preprocess(image) for image in images])))[1]
        expected = log_likelihood(model, tokens, ids, valid), log_likelihood(model, None, ids, valid)
    scores = tiny_encoder.score(images, TEXTS), tiny_encoder.score(None, TEXTS)
    for score, wanted in zip(scores, expected, strict=True):
        assert score.dtype == np.float32
        np.testing.assert_allclose(score, wanted.numpy(), rtol=0, atol=1e-4)
    assert scores[0].shape == (33, 6)


@pytest.mark.parametrize(("num_images", "num_texts"), [(0, 2), (2, 0), (0, 0)])
def test_scores_of_nothing_are_empty(tiny_encoder, num_images, num_texts):
    assert tiny_encoder.score(noise(2)[:num_images], TEXTS[:num_texts]).shape == (num_images, num_texts)
    assert tiny_encoder.score(None, TEXTS[:num_texts]).shape == (num_texts,)


@pytest.mark.parametrize("beams", [1, 4])
def test_every_image_gets_a_caption(tiny_encoder, beams):
    images = noise(33)
    captions = tiny_encoder.caption(images, beams=beams)
    assert len(captions) == 33
    assert all(isinstance(caption, str) and "<" not in caption for caption in captions)
    assert [captions[0], captions[32]] == [tiny_encoder.caption([images[i]], beams=beams)[0] for i in (0, 32)]


def test_model_id_names_the_folder_and_changes_with_a_single_weight(tiny_encoder, tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny-coca"))
    weights = load_file(folder / "model.safetensors")
    weights["log_scale"] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert re.fullmatch(r"tiny-coca@[0-9a-f]{16}", tiny_encoder.model_id)
    assert load(tiny_checkpoint).model_id == tiny_encoder.model_id
    assert load(folder).model_id.startswith("tiny-coca@")
    assert load(folder).model_id != tiny_encoder.model_id


def test_what_a_collection_must_know_of_the_pixels_is_stated(tiny_encoder):
    assert tiny_encoder.preprocessing_id == "squash-32-bicubic"
    assert tiny_encoder.min_side == 64


def test_bfloat16_gives_nearly_the_same_float32_vectors(tiny_encoder, tiny_checkpoint):
    half = load(tiny_checkpoint, device="cpu", dtype=torch.bfloat16)
    for one, other in (
        (half.encode_images(noise(3)), tiny_encoder.encode_images(noise(3))),
        (half.encode_texts(TEXTS), tiny_encoder.encode_texts(TEXTS)),
    ):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.bfloat16), ({"avx512_f": True, "amx_bf16": False}, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_only_where_that_is_fast(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_dtype(torch.device("cpu")) is dtype
    assert fast_dtype(torch.device("cuda")) is torch.bfloat16
