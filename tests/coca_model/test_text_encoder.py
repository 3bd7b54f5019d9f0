import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from coca_model import CheckpointError, load
from coca_model.architecture.coca import CoCa
from coca_model.checkpoints.read_write import save_checkpoint
from coca_model.encoder import Encoder
from coca_model.text_encoder import TextEncoder, text_encoder

TEXTS = ["a dog", "two dogs play with a red ball", "", "snow", "🐶", "a woman reads a book under", "!", "a dog"]


def assert_same(ours, name):
    assert isinstance(ours, TextEncoder)
    theirs = load(name, device="cpu", dtype=torch.float32)
    assert (ours.model_id, ours.preprocessing_id) == (theirs.model_id, theirs.preprocessing_id)
    vectors = ours.encode_texts(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, theirs.encode_texts(TEXTS), rtol=0, atol=1e-5)


def test_the_embedded_checkpoint_gives_the_vectors_of_torch():
    assert_same(text_encoder(), "default")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["paper", "open_clip"])
@pytest.mark.parametrize(("layers", "heads"), [(1, 4), (3, 1)])
def test_every_text_config_gives_the_vectors_of_torch(tmp_path, tiny_config, tiny_tokenizer, dtype, layout, layers, heads):
    text = dataclasses.replace(tiny_config.text, layout=layout, unimodal_layers=layers, heads=heads)
    model = CoCa(dataclasses.replace(tiny_config, text=text))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    save_checkpoint(tmp_path, model, tiny_tokenizer, dtype=dtype)
    assert_same(text_encoder(tmp_path), tmp_path)


def test_no_texts_give_no_rows_and_a_single_text_is_refused(tiny_checkpoint):
    ours = text_encoder(tiny_checkpoint)
    assert ours.encode_texts([]).shape == (0, 16)
    with pytest.raises(ValueError, match="This is a single text"):
        ours.encode_texts("a dog")


def test_a_text_longer_than_the_context_is_cut_with_a_warning(tiny_checkpoint):
    ours, text = text_encoder(tiny_checkpoint), "a dog " * 20
    with pytest.warns(UserWarning, match="is cut to the model's context of 12"):
        vector = ours.encode_texts([text])
    with pytest.warns(UserWarning, match="is cut"):
        np.testing.assert_allclose(vector, load(tiny_checkpoint, dtype=torch.float32).encode_texts([text]), atol=1e-5)


def test_weights_that_do_not_fit_raise_the_error_of_the_whole_encoder(tmp_path, tiny_config, tiny_tokenizer):
    save_checkpoint(tmp_path, CoCa(tiny_config), tiny_tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text"]["context_length"] = 13
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"unimodal\.position is of shape"):
        text_encoder(tmp_path)


def test_weights_that_only_torch_reads_give_the_whole_encoder(monkeypatch, tmp_path, tiny_encoder):
    torch.save({}, tmp_path / "model.bin")
    monkeypatch.setattr("coca_model.encoder.load", lambda name: tiny_encoder)
    assert isinstance(text_encoder(tmp_path / "model.bin"), Encoder)


@pytest.mark.parametrize("header", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_file_is_a_checkpoint_error(tmp_path, tiny_config, tiny_tokenizer, header):
    save_checkpoint(tmp_path, CoCa(tiny_config), tiny_tokenizer)
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        text_encoder(tmp_path)


def test_it_needs_no_torch():
    script = (
        "import sys; from coca_model.text_encoder import text_encoder as t; t().encode_texts(['a dog']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
