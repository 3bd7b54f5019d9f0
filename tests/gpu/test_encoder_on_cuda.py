"""The encoder on CUDA agrees with the CPU: closely in float32, roughly in bfloat16."""

import dataclasses

import numpy as np
import pytest
import torch

from coca_model import CaptionOptions, load
from coca_model.machine import fast_dtype

pytestmark = pytest.mark.gpu
TEXTS = ["a dog", "two dogs play with a red ball", "", "a woman reads a book under", "snow", "a black cat looks out of the window"]
SHORT = CaptionOptions(max_tokens=8)
WAYS = [
    SHORT,
    *(dataclasses.replace(SHORT, method=method) for method in ("greedy", "contrastive")),
    dataclasses.replace(SHORT, guidance=2.0),
]


@pytest.fixture(autouse=True)
def _no_tf32():
    """Turn TF32 off. Convolutions use it by default, and it has only 10 bits of precision."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def checkpoint(request):
    """A tiny ViT with random weights, and the embedded checkpoint with its convolutional stem."""
    if request.param == "tiny":
        return request.getfixturevalue("tiny_checkpoint")
    from coca_model.checkpoints.find import find_checkpoint

    return find_checkpoint("default").weights.parent


@pytest.fixture(scope="module")
def on_cpu(checkpoint):
    return load(checkpoint, device="cpu", dtype=torch.float32)


def pictures(count=37):
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [np.kron(one, np.ones((12, 12, 1), np.uint8)) for one in small]


def assert_cosines(one, other, least):
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert (one * other).sum(1).min() > least


def test_cuda_and_bfloat16_are_the_default(checkpoint):
    encoder = load(checkpoint)
    assert (encoder.device.type, encoder.dtype) == ("cuda", torch.bfloat16)
    assert fast_dtype(torch.device("cuda")) is torch.bfloat16


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 0.999995), (torch.bfloat16, 0.98)])
def test_vectors_agree_with_the_cpu(checkpoint, on_cpu, dtype, least):
    encoder = load(checkpoint, device="cuda", dtype=dtype)
    encoder.batch_size = 16  # the last batch is smaller
    assert_cosines(encoder.encode_images(pictures()), on_cpu.encode_images(pictures()), least)
    assert_cosines(encoder.encode_texts(TEXTS * 50), on_cpu.encode_texts(TEXTS * 50), least)
    assert encoder.encode_images([]).shape == (0, on_cpu.config.embedding_width)


def test_float32_vectors_do_not_depend_on_the_batch(checkpoint):
    encoder = load(checkpoint, device="cuda", dtype=torch.float32)
    together = encoder.encode_images(pictures(9))
    alone = np.concatenate([encoder.encode_images([one]) for one in pictures(9)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", WAYS, ids=["beam", "greedy", "contrastive", "guided"])
def test_captions_agree_with_the_cpu(checkpoint, on_cpu, options):
    """Rounding may change the choice between two nearly equal words, so one picture in ten may differ."""
    captions = load(checkpoint, device="cuda", dtype=torch.float32).caption(pictures(20), options)
    same = sum(one == other for one, other in zip(captions, on_cpu.caption(pictures(20), options), strict=True))
    assert same >= 18


def test_sampling_with_a_seed_is_repeatable(checkpoint):
    encoder, options = load(checkpoint, device="cuda"), dataclasses.replace(SHORT, method="sample", seed=3)
    captions = encoder.caption(pictures(4), options)
    assert captions == encoder.caption(pictures(4), options)
    assert len(captions) == 4


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_scores_agree_with_the_cpu(checkpoint, on_cpu, dtype, relative):
    encoder = load(checkpoint, device="cuda", dtype=dtype)
    tokens = encoder.encode_image_tokens(pictures(5))
    assert tokens.device.type == "cuda"
    np.testing.assert_allclose(encoder.score(tokens, TEXTS), on_cpu.score(pictures(5), TEXTS), rtol=relative, atol=1e-3)
    np.testing.assert_allclose(encoder.score(None, TEXTS), on_cpu.score(None, TEXTS), rtol=relative, atol=1e-3)
