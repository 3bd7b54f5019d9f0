import dataclasses
import io
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coca_model import PictureError, load
from coca_model import encoder as encoder_module
from coca_model.architecture.coca import CoCa
from coca_model.checkpoints.find import CLIP_MERGES, shipped
from coca_model.decoding.generate import CachedDecoder, GuidedDecoder, generate
from coca_model.decoding.likelihood import log_likelihood
from coca_model.decoding.options import CaptionOptions
from coca_model.encoder import Encoder
from coca_model.machine import fast_dtype
from coca_model.tokenizer import clip_tokenizer

TEXTS = ["a dog", "two dogs play with a red ball", "", "snow", "🐶", "a woman reads a book under", "a dog"]
SHORT = CaptionOptions(max_tokens=6)
WAYS = [SHORT, *(dataclasses.replace(SHORT, method=method) for method in ("greedy", "sample", "contrastive"))]


def noise(count, size=(40, 30)):
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]


def as_png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def build_encoder(config, tokenizer):
    """An encoder with random weights. The cross-attention is large enough that the picture changes the captions."""
    model = CoCa(config).requires_grad_(False).eval()
    for block in model.multimodal.blocks:
        torch.nn.init.normal_(block.cross_attention.output.weight)
    encoder = Encoder(model, tokenizer, model_id="random", device=torch.device("cpu"), dtype=torch.float32)
    encoder.batch_size = 3
    return encoder


@pytest.fixture
def encoder(tiny_config, tiny_tokenizer):
    """A new encoder for each test, with batches of three pictures."""
    return build_encoder(tiny_config, tiny_tokenizer)


@pytest.fixture
def blind_encoder(tiny_config, tiny_tokenizer):
    """An encoder whose decoder was never trained without a picture."""
    image = dataclasses.replace(tiny_config.image, mean=(0.4, 0.5, 0.61))
    text = dataclasses.replace(tiny_config.text, text_only=False)
    return build_encoder(dataclasses.replace(tiny_config, image=image, text=text), tiny_tokenizer)


GREY = np.full((32, 32, 3), [102, 128, 156], np.uint8)  # 255 times the mean of `blind_encoder`


def pictures_read(encoder):
    """A list that receives the number of pictures of each later pass through the image tower."""
    counts = []
    encoder._model.image_tower.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    return counts


def assert_rows_match(batch, one_by_one):
    """Check that row i of `batch` equals row i of `one_by_one` up to float32 noise, and that different rows differ by much more."""
    np.testing.assert_allclose(batch, one_by_one, rtol=0, atol=2e-6)
    between = np.abs(one_by_one[:, None] - one_by_one[None]).max(-1) + np.eye(len(one_by_one))
    assert between.min() > 1e-4


@pytest.mark.parametrize("num_images", [1, 31, 32, 33, 65])
def test_images_keep_their_order_across_batches(tiny_encoder, num_images):
    images = noise(num_images)
    vectors = tiny_encoder.encode_images(images)
    assert_rows_match(vectors, np.concatenate([tiny_encoder.encode_images([image]) for image in images]))
    assert (vectors.shape, vectors.dtype) == ((num_images, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(num_images), atol=1e-6)


@pytest.mark.parametrize("num_texts", [1, 255, 257])
def test_texts_keep_their_order_across_batches(tiny_encoder, num_texts):
    texts = [f"{'a dog ' * (i % 2)}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(num_texts)]
    vectors = tiny_encoder.encode_texts(texts)
    assert_rows_match(vectors, np.concatenate([tiny_encoder.encode_texts([text]) for text in texts]))
    assert (vectors.shape, vectors.dtype) == ((num_texts, 16), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(num_texts), atol=1e-6)


@pytest.mark.parametrize("text_only", [True, False])
def test_empty_input_gives_no_rows(tiny_encoder, blind_encoder, text_only):
    encoder = tiny_encoder if text_only else blind_encoder
    for vectors in (
        encoder.encode_images([]),
        encoder.encode_texts([]),
        encoder.encode_pixels(np.zeros((0, 32, 32, 3), np.uint8)),
    ):
        assert (vectors.shape, vectors.dtype) == ((0, 16), np.float32)
    nothing = encoder.encode_image_tokens([])
    assert (len(nothing), nothing.shape) == (0, (0, 4, 32))
    for options in (None, dataclasses.replace(SHORT, guidance=2.0)):
        assert encoder.caption([], options) == encoder.caption(nothing, options) == []


@pytest.mark.parametrize("kind", ["cascade", "parallel", "open_clip"])
def test_encode_images_and_encode_image_tokens_agree_with_the_model(tiny_config, tiny_tokenizer, kind):
    config = dataclasses.replace(tiny_config, pooler=dataclasses.replace(tiny_config.pooler, kind=kind))
    encoder = build_encoder(config, tiny_tokenizer)
    pixels = torch.from_numpy(np.stack([encoder.preprocess(image) for image in noise(5)]))
    embedding, tokens = encoder._model.encode_image(pixels)
    assert torch.allclose(encoder._model.poolers.embed(encoder._model.image_tower(pixels)), embedding, rtol=0, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_images(noise(5)), torch.nn.functional.normalize(embedding, dim=-1), rtol=0, atol=1e-6)
    assert torch.allclose(encoder.encode_image_tokens(noise(5)), tokens, rtol=0, atol=1e-6)


def test_embeddings_are_the_normalised_outputs_of_the_model(tiny_encoder):
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


def test_preprocessed_pixels_give_the_same_vector_as_their_image(tiny_encoder):
    (image,) = noise(1)
    pixels = tiny_encoder.preprocess(image)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
    np.testing.assert_array_equal(tiny_encoder.encode_pixels(pixels[None]), tiny_encoder.encode_images([image]))


@pytest.mark.parametrize("method", ["encode_images", "caption"])
def test_a_file_that_is_not_a_picture_is_named(tiny_encoder, tmp_path, method):
    (good := tmp_path / "good.png").write_bytes(as_png(noise(1)[0]))
    (bad := tmp_path / "letter.jpg").write_text("Dear Sir or Madam")
    with pytest.raises(PictureError, match=rf"^{re.escape(str(bad))}: not a picture"):
        getattr(tiny_encoder, method)([good, bad])


@pytest.mark.parametrize("typed", ["A dog", "  a dog ", "a dog.", "a dog ..."])
def test_case_spaces_and_final_dots_do_not_change_a_query(tiny_encoder, typed):
    np.testing.assert_allclose(tiny_encoder.encode_texts([typed]), tiny_encoder.encode_texts(["a dog"]), rtol=0, atol=1e-6)


def test_scores_are_the_log_likelihoods_of_each_text_for_each_image(tiny_encoder):
    images, model = noise(33), tiny_encoder._model
    ids, valid = map(torch.from_numpy, tiny_encoder._tokenizer.encode(TEXTS))
    with torch.inference_mode():
        tokens = model.encode_image(torch.from_numpy(np.stack([tiny_encoder.preprocess(image) for image in images])))[1]
        expected = log_likelihood(model, tokens, ids, valid), log_likelihood(model, None, ids, valid)
    scores = tiny_encoder.score(images, TEXTS), tiny_encoder.score(None, TEXTS)
    for score, wanted in zip(scores, expected, strict=True):
        assert score.dtype == np.float32
        np.testing.assert_allclose(score, wanted.numpy(), rtol=0, atol=1e-4)
    assert scores[0].shape == (33, 7)


@pytest.mark.parametrize(("num_images", "num_texts"), [(0, 2), (2, 0), (0, 0)])
def test_scores_of_empty_input_are_empty(tiny_encoder, blind_encoder, num_images, num_texts):
    for encoder in (tiny_encoder, blind_encoder):
        assert encoder.score(noise(2)[:num_images], TEXTS[:num_texts]).shape == (num_images, num_texts)
        assert encoder.score(None, TEXTS[:num_texts]).shape == (num_texts,)


MANY = [f"{'a dog ' * (7 * i % 5)}{'abcdefgh'[i % 8]}" for i in range(20)] + TEXTS


@pytest.mark.parametrize("together", [1, 4, 256])
@pytest.mark.filterwarnings("ignore:A text of")
def test_scores_and_vectors_keep_the_order_of_texts_of_mixed_lengths(encoder, monkeypatch, together):
    images, default = noise(4), encoder_module.TEXT_BATCH
    expected = [
        np.concatenate([method([text]) for text in MANY], axis=-1)
        for method in (lambda texts: encoder.score(images, texts), lambda texts: encoder.score(None, texts))
    ]
    vectors = np.concatenate([encoder.encode_texts([text]) for text in MANY])
    monkeypatch.setattr(encoder_module, "TEXT_BATCH", together)
    assert together <= default
    np.testing.assert_allclose(encoder.score(images, MANY), expected[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(encoder.score(None, MANY), expected[1], rtol=0, atol=1e-4)
    np.testing.assert_allclose(encoder.encode_texts(MANY), vectors, rtol=0, atol=2e-6)


def test_equal_texts_have_equal_scores(encoder):
    scores = encoder.score(noise(2), [*MANY, *MANY])
    np.testing.assert_allclose(scores[:, : len(MANY)], scores[:, len(MANY) :], rtol=0, atol=1e-4)


def test_image_tokens_give_the_same_scores_and_captions_as_their_images(encoder):
    images = noise(7)
    tokens = encoder.encode_image_tokens(images)
    assert isinstance(tokens, torch.Tensor)
    assert (len(tokens), tokens.shape) == (7, (7, 4, 32))
    np.testing.assert_array_equal(encoder.score(tokens, TEXTS), encoder.score(images, TEXTS))
    for options in (None, *WAYS):
        assert encoder.caption(tokens, options) == encoder.caption(images, options)


def test_a_picture_is_encoded_once_for_any_number_of_captions_and_texts(encoder, monkeypatch):
    monkeypatch.setattr(encoder_module, "TEXT_BATCH", 2)
    counts = pictures_read(encoder)
    tokens = encoder.encode_image_tokens(noise(7))
    assert counts == [3, 3, 1]
    for _ in range(2):
        encoder.score(tokens, TEXTS)
        encoder.caption(tokens, SHORT)
    assert counts == [3, 3, 1]
    encoder.score(noise(4), TEXTS)
    assert counts == [3, 3, 1, 3, 1]


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_decoder_trained_without_pictures_gets_no_picture_when_there_is_none(encoder, guidance):
    tokens, counts = encoder.encode_image_tokens(noise(4)), pictures_read(encoder)
    encoder.caption(tokens, dataclasses.replace(SHORT, guidance=guidance))
    ids, valid = map(torch.from_numpy, encoder._tokenizer.encode(TEXTS))
    np.testing.assert_allclose(encoder.score(None, TEXTS), log_likelihood(encoder._model, None, ids, valid), rtol=0, atol=1e-4)
    assert counts == []


def test_a_decoder_always_trained_with_pictures_gets_a_grey_one_when_there_is_none(blind_encoder):
    score = blind_encoder.score(None, TEXTS)
    np.testing.assert_allclose(score, blind_encoder.score([GREY], TEXTS)[0], rtol=0, atol=1e-4)
    ids, valid = map(torch.from_numpy, blind_encoder._tokenizer.encode(TEXTS))
    assert np.abs(score - log_likelihood(blind_encoder._model, None, ids, valid).numpy()).max() > 0.01


def test_the_grey_picture_is_encoded_once(blind_encoder):
    tokens, counts = blind_encoder.encode_image_tokens(noise(4)), pictures_read(blind_encoder)
    for _ in range(2):
        blind_encoder.score(None, TEXTS)
        blind_encoder.caption(tokens, dataclasses.replace(SHORT, guidance=2.0))
    assert counts == [1]


@pytest.mark.parametrize("options", WAYS, ids=lambda options: options.method)
@pytest.mark.parametrize("guidance", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("text_only", [True, False])
def test_captions_are_the_decoded_output_of_generate(encoder, blind_encoder, options, guidance, text_only):
    encoder = encoder if text_only else blind_encoder
    options = dataclasses.replace(options, guidance=guidance)
    decoder = CachedDecoder(encoder._model, encoder.encode_image_tokens(noise(3)))
    if guidance != 1:
        blind = CachedDecoder(encoder._model, None if text_only else encoder.encode_image_tokens([GREY]))
        decoder = GuidedDecoder(decoder, blind, weight=guidance)
    expected = [encoder._tokenizer.decode(ids) for ids in generate(decoder, 3, encoder._tokenizer.special, options)]
    assert encoder.caption(noise(3), options) == expected
    assert len(set(expected)) > 1


def test_guidance_is_on_by_default_for_a_decoder_trained_without_pictures(encoder, blind_encoder):
    assert [one.caption_options().guidance for one in (encoder, blind_encoder)] == [1.5, 1.0]
    asked = dataclasses.replace(SHORT, guidance=0.7)
    assert [one.caption_options(asked).guidance for one in (encoder, blind_encoder)] == [0.7, 0.7]
    for one, guidance in ((encoder, 1.5), (blind_encoder, 1.0)):
        assert one.caption(noise(4), SHORT) == one.caption(noise(4), dataclasses.replace(SHORT, guidance=guidance))


@pytest.mark.parametrize("options", [None, *WAYS], ids=lambda options: options and options.method)
def test_every_image_gets_a_caption(tiny_encoder, options):
    captions = tiny_encoder.caption(noise(33), options)
    assert len(captions) == 33
    assert all(isinstance(caption, str) and "<" not in caption for caption in captions)


@pytest.mark.parametrize("options", [None, *(options for options in WAYS if options.method != "sample")])
def test_captions_keep_the_order_of_their_images_across_batches(encoder, options):
    images = noise(7)
    together = encoder.caption(images, options)
    assert together == [encoder.caption([image], options)[0] for image in images]
    assert len(set(together)) > 2


@pytest.mark.parametrize("method", ["beam", "greedy", "sample", "contrastive"])
def test_a_caption_ends_at_the_end_of_the_context(encoder, method):
    options = CaptionOptions(method, max_tokens=100, min_tokens=11, guidance=1.0)  # START takes one of the 12 tokens of the context
    steps = []
    encoder._model.unimodal.blocks[0].attention.query.register_forward_hook(lambda *_: steps.append(1))
    encoder.caption(noise(2), options)
    assert len(steps) == 11 + (method == "contrastive")


@pytest.mark.parametrize("texts", ["", "a dog"])
def test_a_string_instead_of_a_list_of_texts_is_refused(tiny_encoder, texts):
    message = f"^{re.escape(f'This is a single text ({texts!r}). Pass a list of texts.')}$"
    for images in (None, noise(1)):
        with pytest.raises(ValueError, match=message):
            tiny_encoder.score(images, texts)
    with pytest.raises(ValueError, match=message):
        tiny_encoder.encode_texts(texts)


def test_a_text_longer_than_the_context_is_cut_with_one_warning(tiny_checkpoint):
    encoder = load(tiny_checkpoint, device="cpu", dtype=torch.float32)
    with pytest.warns(UserWarning, match=r"^A text of 22 tokens is cut to the model's context of 12\.$"):
        vectors = encoder.encode_texts(["a dog " * 10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(encoder.encode_texts(["a dog " * 10]), vectors)
        encoder.score(None, ["a dog " * 10])


def test_a_padding_token_inside_a_text_does_not_cut_it(tiny_config):
    """CLIP uses id 0 for padding and for a "!" inside a word, as in "a != b"."""
    tokenizer = clip_tokenizer(shipped(CLIP_MERGES), 12)
    text = dataclasses.replace(tiny_config.text, vocabulary_size=49408, layout="open_clip", text_only=False)
    encoder = build_encoder(dataclasses.replace(tiny_config, text=text), tokenizer)
    ids, valid = map(torch.from_numpy, tokenizer.encode(["a != b"]))
    assert tokenizer.special.pad in ids[0, 1:-1]
    expected = torch.nn.functional.normalize(encoder._model.unimodal(ids, valid)[0], dim=-1)
    np.testing.assert_allclose(encoder.encode_texts(["a != b"]), expected, rtol=0, atol=1e-6)


def test_model_id_names_the_folder_and_changes_with_a_single_weight(tiny_encoder, tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny-coca"))
    weights = load_file(folder / "model.safetensors")
    weights["log_scale"] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert re.fullmatch(r"tiny-coca@[0-9a-f]{16}", tiny_encoder.model_id)
    assert load(tiny_checkpoint).model_id == tiny_encoder.model_id
    assert load(folder).model_id.startswith("tiny-coca@")
    assert load(folder).model_id != tiny_encoder.model_id


def test_the_encoder_states_its_preprocessing_id_and_min_side(tiny_encoder):
    assert tiny_encoder.preprocessing_id == "squash-32-bicubic-srgb"
    assert tiny_encoder.min_side == 96


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
def test_a_cpu_uses_bfloat16_only_where_it_is_fast(monkeypatch, capabilities, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_dtype(torch.device("cpu")) is dtype
    assert fast_dtype(torch.device("cuda")) is torch.bfloat16


@pytest.mark.parametrize(
    "one", [np.zeros((32, 32, 3), np.uint8), Image.new("RGB", (8, 8)), "a.png", b"bytes"], ids=["array", "Pillow", "name", "bytes"]
)
def test_one_picture_instead_of_a_list_is_refused(tiny_encoder, one):
    with pytest.raises(ValueError, match=r"(?s)This is a single image .* Pass a list of images\."):
        tiny_encoder.encode_images(one)
