"""Parity with open_clip 3.3.0: `make parity` recorded the outputs of a tiny CoCa, and ours has the same weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from benchmarks.open_clip_side import random_weights
from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig
from coca_model.checkpoints.open_clip import convert_weights

CLOSE = {"rtol": 0, "atol": 1e-4}
CONFIG = CoCaConfig(
    ImageConfig(32, 8, width=128, layers=2, heads=2, mlp_width=512, mean=(0.0,) * 3, std=(1.0,) * 3, layout="open_clip"),
    PoolerConfig("open_clip", caption_queries=5, heads=2),
    TextConfig(24, 2, 2, heads=3, mlp_width=96, context_length=12, vocabulary_size=40, layout="open_clip", text_only=False),
    embedding_width=24,
)


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(Path(__file__).parent / "golden" / "open_clip_tiny.npz"))


@pytest.fixture(scope="module")
def model(golden):
    with torch.device("meta"):
        model = CoCa(CONFIG)
    model.load_state_dict(convert_weights(random_weights(json.loads(str(golden["shapes"])))), assign=True)
    return model.requires_grad_(False).eval()


@pytest.fixture
def texts(golden):
    ids = torch.from_numpy(golden["token_ids"])
    return ids, ids != 0


def test_image_embeddings_equal_open_clips(golden, model):
    embedding, _ = model.encode_image(torch.from_numpy(golden["pixels"]))
    assert_close(F.normalize(embedding, dim=-1), torch.from_numpy(golden["image_features"]), **CLOSE)


def test_text_embeddings_equal_open_clips_with_and_without_padding(golden, model, texts):
    expected = torch.from_numpy(golden["text_features"])
    assert_close(F.normalize(model.unimodal(*texts)[0], dim=-1), expected, **CLOSE)
    for row, (ids, valid) in enumerate(zip(*texts, strict=True)):
        alone = model.unimodal(ids[valid][None], valid[valid][None])[0]
        assert_close(F.normalize(alone, dim=-1)[0], expected[row], **CLOSE)


def test_caption_logits_equal_open_clips_on_every_word(golden, model, texts):
    _, caption_tokens = model.encode_image(torch.from_numpy(golden["pixels"]))
    logits = model.multimodal(model.unimodal(*texts)[1], caption_tokens)
    assert golden["logits"].std() > 0.5
    assert_close(logits[texts[1]], torch.from_numpy(golden["logits"])[texts[1]], **CLOSE)


@pytest.mark.parametrize("part", ["image", "text"])
def test_weights_of_open_clip_do_not_fit_the_layout_of_the_paper(golden, part):
    config = replace(CONFIG, **{part: replace(getattr(CONFIG, part), layout="paper")})
    weights = convert_weights(random_weights(json.loads(str(golden["shapes"]))))
    with pytest.raises(RuntimeError, match="state_dict"):
        CoCa(config).load_state_dict(weights)
