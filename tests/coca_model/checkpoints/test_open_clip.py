"""Checkpoints of open_clip, compared with recorded outputs of open_clip 3.3.0.

`golden/open_clip_names.json` holds the names and shapes of the weights of its two models ("{12}" stands for layers 0 to 11).
`golden/open_clip_vectors.json` holds the outputs of a tiny model with the weights of `weight()` for `pixels()` and a few texts. The
last text contains a "!" that has the token id of padding. Its likelihood is left out, because no model was trained to predict it.
"""

import json
import os
import pickle
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from coca_model import load
from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import COCA_VIT_B_32, COCA_VIT_L_14
from coca_model.checkpoints import open_clip
from coca_model.checkpoints.find import CheckpointFiles, find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint
from coca_model.errors import CheckpointError
from tests.hub_server import serving_hub, use_hub

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = replace(
    COCA_VIT_B_32,
    image=replace(COCA_VIT_B_32.image, image_size=32, patch_size=8, width=32, layers=2, heads=2, mlp_width=64),
    pooler=replace(COCA_VIT_B_32.pooler, caption_queries=5, heads=2),
    text=replace(COCA_VIT_B_32.text, width=8, unimodal_layers=2, multimodal_layers=2, heads=2, mlp_width=32),
    embedding_width=8,
)
# Side of a weight in coca_ViT-B-32 -> side in the tiny model: patches, queries, widths, MLPs and attention.
SMALLER = {50: 17, 32: 8, 256: 5, 768: 32, 512: 8, 3072: 64, 2048: 32, 2304: 96, 1536: 24}
TINY_JSON = {
    "model_cfg": {
        "vision_cfg": {"image_size": 32, "head_width": 64, "attn_pooler_heads": 2},
        "text_cfg": {"heads": 2},
        "multimodal_cfg": {"heads": 2},
    },
    "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic", "resize_mode": "squash"},
}


def names_and_shapes(model, *, layers=None):
    for name, shape in json.loads((GOLDEN / "open_clip_names.json").read_text())[model].items():
        stack = re.search(r"\{(\d+)\}", name)
        for layer in range((layers or int(stack[1])) if stack else 1):
            yield re.sub(r"\{\d+\}", str(layer), name), tuple(shape)


def weight(name, shape):
    values = 0.7 * np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape or 1).astype(np.float32)
    return torch.from_numpy(values).reshape(shape)


def pixels():
    return np.random.RandomState(0).randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def tiny_weights():
    smaller = ((name, tuple(SMALLER.get(side, side) for side in shape)) for name, shape in names_and_shapes("coca_ViT-B-32", layers=2))
    return {name: weight(name, shape) for name, shape in smaller}


@pytest.fixture
def weights(tiny_weights, monkeypatch):
    """The weights of a tiny model that counts as published. Add or remove entries, but do not change a tensor in place."""
    monkeypatch.setattr(open_clip, "PUBLISHED", {"coca_tiny": TINY})
    return dict(tiny_weights)


@pytest.fixture
def file(weights, tmp_path):
    save_file(weights, tmp_path / "coca.safetensors")
    return tmp_path / "coca.safetensors"


def read_state(path):
    return read_checkpoint(find_checkpoint(path))[0].state_dict()


def refuses(path, message):
    return pytest.raises(CheckpointError, match=rf"^{re.escape(str(path))}: {message}[^\n]*$")


# --- names and shapes


@pytest.mark.parametrize(("model", "config"), [("coca_ViT-B-32", COCA_VIT_B_32), ("coca_ViT-L-14", COCA_VIT_L_14)])
def test_converted_names_and_shapes_of_published_models_equal_ours(model, config):
    with torch.device("meta"):
        theirs = {name: torch.empty(shape) for name, shape in names_and_shapes(model)}
        ours = CoCa(config).state_dict()
    assert theirs.keys() >= open_clip.MARKS
    assert open_clip.published_config(theirs) is config
    converted = open_clip.convert_weights(theirs)
    assert {name: tensor.shape for name, tensor in converted.items()} == {name: tensor.shape for name, tensor in ours.items()}


@pytest.mark.parametrize(
    ("ours", "from_theirs"),
    [
        ("log_scale", lambda w: w["logit_scale"]),
        ("image_tower.stem.weight", lambda w: w["visual.conv1.weight"]),
        ("image_tower.norm.bias", lambda w: w["visual.ln_pre.bias"]),
        ("image_tower.blocks.1.attention.query.weight", lambda w: w["visual.transformer.resblocks.1.attn.in_proj_weight"][:32]),
        ("image_tower.blocks.1.attention.key_value.bias", lambda w: w["visual.transformer.resblocks.1.attn.in_proj_bias"][32:]),
        ("poolers.caption.attention.query.weight", lambda w: w["visual.attn_pool.attn.q_proj_weight"]),
        ("poolers.caption.attention.key_value.weight", lambda w: torch.cat([w[f"visual.attn_pool.attn.{x}_proj_weight"] for x in "kv"])),
        ("poolers.caption.context_norm.bias", lambda w: w["visual.attn_pool.ln_k.bias"]),
        ("poolers.caption.norm.weight", lambda w: w["visual.ln_post.weight"]),
        ("poolers.project.weight", lambda w: w["visual.proj"].T),
        ("unimodal.blocks.0.mlp.2.weight", lambda w: w["text.transformer.resblocks.0.mlp.c_proj.weight"]),
        ("unimodal.cls_norm.weight", lambda w: w["text.ln_final.weight"]),
        ("unimodal.project.weight", lambda w: w["text.text_projection"].T),
        ("multimodal.blocks.1.inner_mlp.3.weight", lambda w: w["text_decoder.resblocks.1.mlp.c_proj.weight"]),
        ("multimodal.blocks.1.cross_norm.weight", lambda w: w["text_decoder.cross_attn.1.ln_1.weight"]),
        ("multimodal.blocks.1.image_norm.weight", lambda w: w["text_decoder.cross_attn.1.ln_1_kv.weight"]),
        ("multimodal.blocks.1.cross_attention.key_value.weight", lambda w: w["text_decoder.cross_attn.1.attn.in_proj_weight"][8:]),
        ("multimodal.blocks.1.mlp.0.bias", lambda w: w["text_decoder.cross_attn.1.mlp.c_fc.bias"]),
        ("multimodal.output.weight", lambda w: w["text_decoder.text_projection"].T),
    ],
)
def test_each_kind_of_weight_is_converted_to_the_right_parameter(file, weights, ours, from_theirs):
    assert torch.equal(read_state(file)[ours], from_theirs(weights))


def test_conversion_keeps_every_value_exactly_once(file, weights):
    ours, theirs = (torch.cat([t.flatten() for t in state.values()]).sort().values for state in (read_state(file), weights))
    assert torch.equal(ours, theirs)


def masks():
    """The attention masks that older versions of open_clip saved with the weights."""
    return {"text.attn_mask": torch.full((77, 77), -torch.inf).triu(1), "text_decoder.attn_mask": torch.full((76, 76), -torch.inf).triu(1)}


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("coca.bin", lambda w: w),
        ("coca.pt", lambda w: w),
        ("coca.bin", lambda w: {name: torch.nn.Parameter(tensor) for name, tensor in w.items()}),
        ("coca.pt", lambda w: {"epoch": 3, "name": "a run", "state_dict": {f"module.{name}": tensor for name, tensor in w.items()}}),
        ("coca.bin", lambda w: w | masks()),
        ("coca.pt", lambda w: {"state_dict": {f"module.{name}": tensor for name, tensor in (w | masks()).items()}}),
        ("masked.safetensors", lambda w: w | masks()),
    ],
    ids=["bin", "pt", "parameters", "training run", "masks in bin", "masks of a training run", "masks in safetensors"],
)
def test_every_file_format_gives_the_same_model(file, weights, name, contents):
    expected, path = read_state(file), file.with_name(name)
    save_file(contents(weights), path) if path.suffix == ".safetensors" else torch.save(contents(weights), path)
    torch.testing.assert_close(read_state(path), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_read_as_float32(weights, tmp_path, dtype):
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, tmp_path / "coca.safetensors")
    stem = read_state(tmp_path / "coca.safetensors")["image_tower.stem.weight"]
    torch.testing.assert_close(stem, weights["visual.conv1.weight"].to(dtype).float(), rtol=0, atol=0)


# --- outputs of the model


@pytest.fixture
def encoder(file):
    return load(file, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def golden():
    return json.loads((GOLDEN / "open_clip_vectors.json").read_text())


def test_image_embeddings_equal_open_clips(encoder, golden):
    np.testing.assert_allclose(encoder.encode_pixels(pixels()), golden["image_vectors"], atol=1e-5)


def test_text_embeddings_equal_open_clips(encoder, golden):
    with pytest.warns(UserWarning, match=r"A text of 92 tokens is cut to the model's context of 76\."):
        vectors = encoder.encode_texts(golden["texts"])
    np.testing.assert_allclose(vectors, golden["text_vectors"], atol=1e-5)


@pytest.mark.filterwarnings("ignore:A text of 92 tokens")
@pytest.mark.parametrize("text", range(5))
def test_the_embedding_of_a_text_alone_equals_open_clips(encoder, golden, text):
    np.testing.assert_allclose(encoder.encode_texts([golden["texts"][text]])[0], golden["text_vectors"][text], atol=1e-5)


@pytest.mark.filterwarnings("ignore:A text of 92 tokens")
def test_log_likelihoods_equal_open_clips(encoder, golden):
    scores = encoder.score([Image.fromarray(picture) for picture in pixels()], golden["texts"][:4])
    np.testing.assert_allclose(scores, golden["log_likelihood"], rtol=1e-5)


def test_a_repository_of_open_clip_loads_from_the_hub_as_from_its_file(file, weights, monkeypatch, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps(TINY_JSON))
    local = load(file, device="cpu", dtype=torch.float32)
    files = {"open_clip_config.json": json.dumps(TINY_JSON).encode(), "open_clip_model.safetensors": file.read_bytes()}
    with serving_hub({"someone/CoCa-tiny": files}) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        encoder = load("someone/CoCa-tiny", device="cpu", dtype=torch.float32)
    again = load("someone/CoCa-tiny", device="cpu", dtype=torch.float32)
    assert encoder.model_id == again.model_id == f"CoCa-tiny@{local.model_id.split('@')[1]}"
    assert encoder.config == again.config == local.config
    for one in (encoder, again):
        np.testing.assert_array_equal(one.encode_pixels(pixels()), local.encode_pixels(pixels()))


# --- open_clip_config.json


def with_config(file, section, key, value):
    """Write the tiny model's config beside `file` with one value changed, or removed if `value` is None."""
    raw = json.loads(json.dumps(TINY_JSON))
    part = raw
    for name in section.split("."):
        part = part[name]
    part.pop(key, None) if value is None else part.update({key: value})
    path = file.with_name("open_clip_config.json")
    path.write_text(json.dumps(raw))
    return path


def test_without_a_config_the_preprocessing_is_the_default_of_open_clip(encoder):
    assert encoder.config == TINY
    assert encoder.config.image.resize == "crop"


def test_the_preprocessing_follows_the_config_beside_the_weights(file):
    file.with_name("open_clip_config.json").write_text(json.dumps(TINY_JSON))
    expected = replace(TINY.image, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize="squash")
    assert read_checkpoint(find_checkpoint(file))[0].config == replace(TINY, image=expected)


@pytest.mark.parametrize(("mode", "white_columns"), [("squash", 8), ("shortest", 0), (None, 0)])
def test_the_resize_mode_squashes_or_crops_a_wide_picture(file, mode, white_columns):
    with_config(file, "preprocess_cfg", "resize_mode", mode)
    wide = np.zeros((32, 128, 3), np.uint8)
    wide[:, :32] = 255
    square = load(file, device="cpu", dtype=torch.float32).preprocess(wide)
    assert (square[16] > 127).all(axis=-1).sum() == white_columns


def test_a_config_without_preprocessing_means_the_default_of_open_clip(file):
    file.with_name("open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_JSON["model_cfg"]}))
    assert read_checkpoint(find_checkpoint(file))[0].config == TINY


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("model_cfg.vision_cfg", "head_width", 32, "64"),
        ("model_cfg.vision_cfg", "attn_pooler_heads", 4, "2"),
        ("model_cfg.vision_cfg", "image_size", 64, "32"),
        ("model_cfg.vision_cfg", "image_size", None, "32"),
        ("model_cfg.text_cfg", "heads", 4, "2"),
        ("model_cfg.text_cfg", "heads", None, "2"),
        ("model_cfg.multimodal_cfg", "heads", 4, "2"),
        ("model_cfg", "quick_gelu", True, "False"),
        ("preprocess_cfg", "interpolation", "bilinear", "bicubic"),
        ("preprocess_cfg", "resize_mode", "longest", "shortest, squash"),
    ],
)
def test_a_config_that_does_not_match_the_weights_is_refused(file, section, key, value, allowed):
    path = with_config(file, section, key, value)
    found = "" if value is None else re.escape(repr(value))
    with refuses(path, rf"not the config of a published CoCa \(.*{key} (differs|is) .*{found}.*Allowed: '?{allowed}"):
        load(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [("mean", [0.5]), ("mean", 0.5), ("mean", ["a", "b", "c"]), ("std", [0.5, 0.5]), ("std", [0.3, 0.0, 0.3]), ("std", [0.3, 0.3, "NaN"])],
)
def test_an_invalid_mean_or_standard_deviation_is_refused(file, key, value):
    path = with_config(file, "preprocess_cfg", key, value)
    path.write_text(path.read_text().replace('"NaN"', "NaN"))  # Python's json module writes and reads NaN
    with refuses(path, ""):
        load(file)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"model_cfg": 3}', b'{"model_cfg": {"vision_cfg": {}}}', b"\xff\xfe", b"null"]
)
def test_a_broken_config_is_named(file, content):
    path = file.with_name("open_clip_config.json")
    path.write_bytes(content)
    with refuses(path, r"not the config of a published CoCa \(.+\)\."):
        load(file)


# --- refusals


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("suffix", [".bin", ".pt"])
@pytest.mark.parametrize(
    "wrap", [lambda trap, w: trap, lambda trap, w: {**w, "more": trap}, lambda trap, w: {"state_dict": w, "hook": trap}]
)
def test_a_file_that_would_run_code_is_refused_and_does_not_run_it(weights, tmp_path, suffix, wrap):
    path, folder = tmp_path / f"coca{suffix}", tmp_path / "made by the file"
    torch.save(wrap(Trap(folder), weights), path)
    with refuses(path, r"not a plain file of weights\. It may run code when it is read, so it was not loaded\. Use \.safetensors\."):
        load(path)
    assert not folder.exists()
    torch.load(path, weights_only=False)
    assert folder.exists()


def test_a_bare_pickle_that_would_run_code_is_refused_and_does_not_run_it(tmp_path):
    path, folder = tmp_path / "coca.bin", tmp_path / "made by the file"
    path.write_bytes(pickle.dumps(Trap(folder), protocol=2))
    with refuses(path, "not a plain file of weights"):
        load(path)
    assert not folder.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
@pytest.mark.parametrize("keep_bytes", [0, 1, 4, 100, 5000, -5000, -1])
def test_a_truncated_file_is_named(file, weights, suffix, keep_bytes):
    path = file.with_name(f"again{suffix}")
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with refuses(path, r"(damaged \(.+\)|not a plain file of weights)\. \S+"):
        load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"<!doctype html><html>",
        b"hello",
        b"a",
        b"{}",
        b"\x80",
        b"\n",
    ],
)
def test_a_file_with_other_content_is_named(tmp_path, suffix, content):
    path = tmp_path / f"coca{suffix}"
    path.write_bytes(content)
    with refuses(path, r"(damaged \(.+\)|not a plain file of weights)\. \S+"):
        load(path)


@pytest.mark.parametrize(
    "content", [None, 3, [torch.zeros(2)], torch.zeros(2), {"a": {"b": torch.zeros(2)}}, {"state_dict": 3}, {7: torch.zeros(2)}]
)
def test_a_file_without_named_weights_is_named(tmp_path, content):
    torch.save(content, tmp_path / "coca.bin")
    with refuses(tmp_path / "coca.bin", r"damaged \(.+\)\."):
        load(tmp_path / "coca.bin")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("names", [["visual.conv1.weight", "text_projection", "logit_scale"], []], ids=["plain CLIP", "none"])
def test_weights_of_another_model_type_are_named(tmp_path, suffix, names):
    path, others = tmp_path / f"clip{suffix}", {name: torch.zeros(2, 2) for name in names}
    save_file(others, path) if suffix == ".safetensors" else torch.save(others, path)
    with refuses(path, r"not weights of open_clip's CoCa \(.*\)\. Pass a file of one of coca_ViT-B-32, coca_ViT-L-14, or the folder"):
        load(path)


@pytest.mark.parametrize("name", ["visual.conv1.weight", "text.cls_emb"])
def test_a_model_of_unknown_size_is_named_with_the_known_sizes(weights, tmp_path, name):
    save_file(weights | {name: torch.zeros(9, *weights[name].shape[1:])}, tmp_path / "coca.safetensors")
    with refuses(tmp_path / "coca.safetensors", r"not the weights of a published CoCa \(.*unknown size\. Known: coca_tiny\."):
        load(tmp_path / "coca.safetensors")


ONE_OF_EACH_KIND = [
    "logit_scale",
    "visual.conv1.weight",
    "visual.proj",
    "visual.attn_pool.query",
    "visual.attn_pool.attn.q_proj_weight",
    "visual.attn_pool.attn.k_proj_weight",
    "visual.attn_pool.attn.in_proj_bias",
    "visual.transformer.resblocks.1.attn.in_proj_weight",
    "visual.transformer.resblocks.1.attn.in_proj_bias",
    "text.cls_emb",
    "text.positional_embedding",
    "text_decoder.cross_attn.0.ln_1_kv.bias",
    "text_decoder.text_projection",
]


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_a_missing_weight_is_refused(weights, tmp_path, name):
    del weights[name]
    save_file(weights, tmp_path / "coca.safetensors")
    with refuses(tmp_path / "coca.safetensors", ""):
        load(tmp_path / "coca.safetensors")


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
@pytest.mark.parametrize("shape", [(), (3,), (5, 7), (2, 3, 4)], ids=str)
def test_a_weight_of_another_shape_is_refused(weights, tmp_path, name, shape):
    weights[name] = torch.zeros(shape if shape or name != "logit_scale" else 1)
    save_file(weights, tmp_path / "coca.safetensors")
    with refuses(tmp_path / "coca.safetensors", ""):
        load(tmp_path / "coca.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"visual.positional_embedding": (50, 32)},
            r"image_tower\.position is of shape \(50, 32\)\. The config asks for shape \(17, 32\)\.",
        ),
        ({"text.token_embedding.weight": (100, 8)}, r"unimodal\.token_embedding\.weight is of shape \(100, 8\)\."),
        ({"visual.attn_pool.contrast.query": (1, 8)}, r"\S*contrast\S* is of shape \(1, 8\)\. The config asks for none\."),
        ({"logit_bias": ()}, r"logit_bias is of shape \(\)\. The config asks for none\."),
        (
            {"visual.transformer.resblocks.2.ln_1.bias": (32,)},
            r"image_tower\.blocks\.2\.\S+ is of shape \(32,\)\. The config asks for none\.",
        ),
        ({"log_scale": ()}, r"not the weights of a published CoCa \(.*log_scale is given twice"),
        ({"module.logit_scale": ()}, r"\S*logit_scale "),
    ],
    ids=["more patches", "fewer words", "a second pooler", "a bias", "a layer more", "one of our names too", "a name twice"],
)
def test_unexpected_weights_are_refused_not_resized_renamed_or_skipped(weights, tmp_path, change, message):
    save_file(weights | {name: torch.zeros(shape) for name, shape in change.items()}, tmp_path / "coca.safetensors")
    with refuses(tmp_path / "coca.safetensors", message):
        load(tmp_path / "coca.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["visual.proj", "text.transformer.resblocks.0.attn.in_proj_bias", "logit_scale"])
def test_a_weight_that_is_not_finite_is_refused(weights, tmp_path, name, value):
    weights[name] = weights[name].clone()
    weights[name].view(-1)[-1] = value
    torch.save(weights, tmp_path / "coca.bin")
    with refuses(tmp_path / "coca.bin", r"\S+ holds NaN or infinity\."):
        load(tmp_path / "coca.bin")


def test_the_tokenizer_is_clips_and_reads_76_tokens(file):
    _, tokenizer, _ = read_checkpoint(CheckpointFiles("coca", file, None, None))
    assert (tokenizer.vocabulary_size, tokenizer.context_length, *tokenizer.special) == (49408, 76, 0, 49406, 49407)
