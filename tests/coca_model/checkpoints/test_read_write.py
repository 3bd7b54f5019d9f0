import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from coca_model import load
from coca_model.architecture.coca import CoCa
from coca_model.checkpoints.find import find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint, save_checkpoint
from coca_model.errors import CheckpointError
from coca_model.tokenizer import train_tokenizer
from media.hashing import sha256_of_file


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "tiny-coca"))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def change_config(folder, part, key, value):
    raw = json.loads((folder / "config.json").read_text())
    (raw[part] if part else raw)[key] = value
    (folder / "config.json").write_text(json.dumps(raw))


def read(folder):
    return read_checkpoint(find_checkpoint(folder))


def refuses(folder, file, message):
    return pytest.raises(CheckpointError, match=rf"^{re.escape(str(folder / file))}: {message}")


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_gives_back_every_tensor_and_the_same_embeddings(tiny_encoder, tmp_path, tied):
    config = dataclasses.replace(tiny_encoder.config, text=dataclasses.replace(tiny_encoder.config.text, tied_output=tied))
    model = CoCa(config).requires_grad_(False).eval()
    save_checkpoint(tmp_path, model, tiny_encoder._tokenizer, dtype=torch.float32)
    loaded, _, sha256 = read(tmp_path)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(loaded.encode_image(pixels)[0], model.encode_image(pixels)[0])
    assert sha256 == sha256_of_file(tmp_path / "model.safetensors")
    assert ("multimodal.output.weight" in load_file(tmp_path / "model.safetensors")) is not tied


def test_a_checkpoint_in_half_precision_is_read_as_float32(tiny_encoder, tmp_path):
    save_checkpoint(tmp_path, tiny_encoder._model, tiny_encoder._tokenizer)
    expected = {name: tensor.half().float() for name, tensor in tiny_encoder._model.state_dict().items()}
    torch.testing.assert_close(read(tmp_path)[0].state_dict(), expected, rtol=0, atol=0)


def test_a_copied_checkpoint_gives_the_same_embeddings(folder, tiny_encoder):
    again = load(folder, device="cpu", dtype=torch.float32)
    assert again.model_id == tiny_encoder.model_id
    np.testing.assert_array_equal(again.encode_texts(["a dog"]), tiny_encoder.encode_texts(["a dog"]))


def test_a_stored_copy_of_a_tied_weight_is_ignored(folder, tiny_encoder):
    change_weights(folder, lambda weights: weights.update({"multimodal.output.weight": torch.zeros(3)}))
    torch.testing.assert_close(read(folder)[0].state_dict(), tiny_encoder._model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("keep_bytes", [0, 4, 1000, -1])
def test_damaged_weights_are_named(folder, keep_bytes):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with refuses(folder, "model.safetensors", r"damaged \(.+\)\. Copy, download or train the checkpoint again\."):
        load(folder)


def test_weights_of_ours_without_their_folder_are_refused(folder):
    path = folder / "model.safetensors"
    path.rename(folder / "alone.safetensors")
    with refuses(
        folder, "alone.safetensors", r"not weights of open_clip's CoCa \(.+ \.\.\.\)\. Pass .+, or the folder of a coca-search checkpoint\."
    ):
        load(folder / "alone.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_named(folder, value):
    change_weights(folder, lambda weights: weights["image_tower.norm.bias"].__setitem__(7, value))
    with refuses(folder, "model.safetensors", r"image_tower\.norm\.bias holds NaN or infinity"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.update({"unimodal.cls": torch.zeros(5)}), r"unimodal\.cls is of shape \(5,\)\. The config asks for shape \(32,\)\."),
        (lambda w: w.pop("unimodal.cls"), r"unimodal\.cls is absent\. The config asks for shape \(32,\)\."),
        (lambda w: w.pop("unimodal.token_embedding.weight"), r"unimodal\.token_embedding\.weight is absent\."),
        (lambda w: w.update({"extra": torch.zeros(2, 3)}), r"extra is of shape \(2, 3\)\. The config asks for none\."),
    ],
    ids=["shape", "missing", "missing and tied", "extra"],
)
def test_a_tensor_that_does_not_fit_the_config_is_named(folder, change, message):
    change_weights(folder, change)
    with refuses(folder, "model.safetensors", message):
        load(folder)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("image", "stem", "resnet", r"not a CoCa config \(.*resnet"),
        ("pooler", "heads", 3, r"not a CoCa config \(.*3, 32"),
        ("image", "layers", "two", r"no CoCa has this config \(.*str"),
        (None, "embedding_width", -1, r"no CoCa has this config \(.*-1"),
    ],
)
def test_an_invalid_config_is_named(folder, part, key, value, message):
    change_config(folder, part, key, value)
    with refuses(folder, "config.json", message):
        load(folder)


def test_weights_that_do_not_fit_the_size_in_the_config_are_refused(folder):
    change_config(folder, None, "embedding_width", 8)
    with refuses(folder, "model.safetensors", r"poolers\.project\.weight is of shape \(16, 32\)\. The config asks for shape \(8, 32\)\."):
        load(folder)


def test_an_invalid_tokenizer_is_named(folder):
    (folder / "tokenizer.json").write_text("{}")
    with refuses(folder, "tokenizer.json", "not a tokenizer"):
        load(folder)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder, tiny_config):
    texts = [f"{a}{b}{c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"]
    train_tokenizer(texts, vocabulary_size=600, context_length=12).save(folder / "tokenizer.json")
    with refuses(folder, "tokenizer.json", rf"has 600 tokens\. The config allows {tiny_config.text.vocabulary_size}\."):
        load(folder)
