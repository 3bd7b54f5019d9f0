import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from coca_model import load
from coca_model.checkpoints.find import find_checkpoint
from coca_model.errors import CheckpointError
from tests.hub_server import serving_hub, use_hub

OURS = {"config.json": b"{}", "model.safetensors": b"weights of ours", "tokenizer.json": b"[]"}
THEIRS = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"weights of theirs"}
THEIRS_PICKLED = {"open_clip_config.json": b"{}", "open_clip_pytorch_model.bin": b"pickled weights of theirs"}
REPOSITORIES = {
    "someone/ours": OURS,
    "someone/theirs": THEIRS | THEIRS_PICKLED,
    "someone/theirs-pickled": THEIRS_PICKLED,
    "someone/a-bert": {"config.json": b"{}", "pytorch_model.bin": b"?"},
    "someone/no-weights": {"open_clip_config.json": b"{}"},
    "someone/no-config": {"open_clip_model.safetensors": b"?"},
    "someone/no-tokenizer": {file: OURS[file] for file in ("config.json", "model.safetensors")},
    "someone/no-weights-of-ours": {file: OURS[file] for file in ("config.json", "tokenizer.json")},
}
COCAS = {"someone/ours": "model.safetensors", "someone/theirs": "open_clip_model.safetensors"} | {
    "someone/theirs-pickled": "open_clip_pytorch_model.bin"
}
ALLOWED = (
    'Pass "default" for the embedded checkpoint, a folder with config.json, model.safetensors, tokenizer.json, '
    "a file of open_clip's weights (.safetensors, .bin, .pt), or the name of a model on the Hugging Face hub."
)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def found(name_or_path):
    """The name, and the file names of weights, config and tokenizer."""
    files = find_checkpoint(name_or_path)
    return files.name, *(path and path.name for path in (files.weights, files.config, files.tokenizer))


def refuses(start):
    return pytest.raises(CheckpointError, match=rf"^{start}[^\n]* {re.escape(ALLOWED)}$")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving_hub(REPOSITORIES) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "cache")
        yield hub


# --- on disk


def test_the_default_is_the_embedded_checkpoint():
    assert found("default") == ("coca-embedded", "model.safetensors", "config.json", "tokenizer.json")
    assert find_checkpoint("default").weights.is_file()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (OURS, ("model.safetensors", "config.json", "tokenizer.json")),
        (THEIRS, ("open_clip_model.safetensors", "open_clip_config.json", None)),
        (THEIRS_PICKLED, ("open_clip_pytorch_model.bin", "open_clip_config.json", None)),
        (THEIRS | THEIRS_PICKLED, ("open_clip_model.safetensors", "open_clip_config.json", None)),
        ({"open_clip_pytorch_model.bin": b""}, ("open_clip_pytorch_model.bin", None, None)),
    ],
    ids=["ours", "theirs", "theirs, pickled", "theirs, both", "theirs, without config"],
)
def test_a_folder_gives_its_files_and_its_name(tmp_path, monkeypatch, files, expected):
    folder = write(tmp_path / "some-coca", files)
    monkeypatch.chdir(folder)
    for name in (folder, str(folder), f"{folder}/", ".", "../some-coca"):
        assert found(name) == ("some-coca", *expected)
    assert find_checkpoint(folder).weights == folder / expected[0]


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_a_file_of_weights_is_taken_with_the_config_beside_it(tmp_path, suffix):
    path = write(tmp_path, {f"coca{suffix}": b""}) / f"coca{suffix}"
    assert found(path) == ("coca", path.name, None, None)
    write(tmp_path, {"open_clip_config.json": b"{}"})
    assert found(str(path)) == ("coca", path.name, "open_clip_config.json", None)


def test_the_path_of_our_weights_means_their_whole_folder(tmp_path):
    write(tmp_path / "some-coca", OURS | {"other.safetensors": b""})
    assert found(tmp_path / "some-coca/model.safetensors") == found(tmp_path / "some-coca")
    assert found(tmp_path / "some-coca/other.safetensors") == ("other", "other.safetensors", None, None)


@pytest.mark.parametrize("name", ["~/some-coca", "~/some-coca/open_clip_model.safetensors"])
def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    weights = write(tmp_path / "some-coca", THEIRS) / "open_clip_model.safetensors"
    assert find_checkpoint(name).weights == find_checkpoint(Path(name)).weights == weights


@pytest.mark.parametrize("name", ["someone/ours", "someone/theirs.bin"])
def test_a_local_checkpoint_is_not_requested_from_the_hub(tmp_path, monkeypatch, hub, name):
    write(tmp_path / "someone/ours", THEIRS)
    write(tmp_path / "someone", {"theirs.bin": b""})
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint(name).weights.resolve().is_relative_to(tmp_path / "someone")
    assert hub.requests == 0


@pytest.mark.parametrize("file", OURS)
def test_a_missing_file_of_a_folder_is_named(tmp_path, file):
    folder = write(tmp_path, {name: content for name, content in OURS.items() if name != file})
    with refuses(rf"{folder / file}: not found, so '{folder}' is not a checkpoint\."):
        find_checkpoint(folder)


@pytest.mark.parametrize("name", ["coca.txt", "coca.ckpt", "someone/ours", "open_clip_config.json"])
def test_a_file_with_an_unknown_suffix_is_named(tmp_path, monkeypatch, hub, name):
    write((tmp_path / name).parent, {Path(name).name: b""})
    monkeypatch.chdir(tmp_path)
    with refuses(rf"{name}: unknown suffix for a file of weights \('{Path(name).suffix}'\)\."):
        find_checkpoint(name)
    assert hub.requests == 0


@pytest.mark.parametrize(
    "name",
    [
        "no-such-model",
        "/no/such/folder",
        "one/folder/more",
        "~/no-such-folder",
        "~no-such-user/coca",
        "https://huggingface.co/someone/ours",
        "no-such-folder/coca.safetensors",
        "no-such-folder/coca.bin",
        "no-such-folder/coca.pt",
        "no such folder/coca",
        pytest.param("long" * 100, id="a name too long for a file"),
    ],
)
def test_an_impossible_name_gives_one_error_without_a_request_to_the_hub(hub, name):
    with refuses(rf"{re.escape(name)}: no such checkpoint\."):
        find_checkpoint(name)
    assert hub.requests == 0


# --- from the hub


@pytest.mark.parametrize(
    ("name", "downloads"),
    [
        ("someone/ours", ["config.json", "model.safetensors", "tokenizer.json"]),
        ("someone/theirs", ["open_clip_config.json", "open_clip_model.safetensors"]),
        ("someone/theirs-pickled", ["open_clip_config.json", "open_clip_pytorch_model.bin"]),
    ],
)
def test_a_name_of_the_hub_gives_its_files_and_downloads_them_once(hub, name, downloads):
    files = find_checkpoint(name)
    assert (files.name, files.weights.name) == (name.split("/")[1], COCAS[name])
    assert files.weights.read_bytes() == REPOSITORIES[name][COCAS[name]]
    assert find_checkpoint(name) == files
    assert hub.downloads == downloads


@pytest.mark.parametrize("trouble", ["no server", "offline", "server error"])
@pytest.mark.parametrize("name", COCAS)
def test_a_downloaded_checkpoint_is_found_without_the_hub(monkeypatch, tmp_path, name, trouble):
    with serving_hub(REPOSITORIES) as hub:
        use_hub(monkeypatch, hub.url, tmp_path)
        files = find_checkpoint(name)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", trouble == "offline")
        hub.status = 500 if trouble == "server error" else None
        if trouble != "no server":
            assert find_checkpoint(name) == files
    assert find_checkpoint(name) == files


def test_a_config_missing_from_the_cache_is_downloaded(hub):
    files = find_checkpoint("someone/theirs")
    files.config.unlink()
    assert find_checkpoint("someone/theirs") == files


def test_a_checkpoint_of_ours_loads_from_the_hub_as_from_its_folder(hub, tiny_checkpoint, tiny_encoder):
    hub.repositories = {"someone/tiny-coca": {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()}}
    encoder = load("someone/tiny-coca", device="cpu", dtype=torch.float32)
    assert encoder.model_id == tiny_encoder.model_id
    np.testing.assert_array_equal(encoder.encode_texts(["a dog"]), tiny_encoder.encode_texts(["a dog"]))


@pytest.mark.parametrize("name", sorted(REPOSITORIES.keys() - COCAS.keys()))
def test_a_repository_without_a_coca_is_named(hub, name):
    with refuses(rf"{name}: this repository of the Hugging Face hub contains no CoCa of open_clip or coca-search\."):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("someone/nothing", None, "401 Client Error.*"),
        ("someone/ours", 500, ".+"),
        ("someone/ours", 429, ".+"),
        ("../x", None, "Repo id.+"),
    ],
    ids=["unknown repository", "server error", "too many requests", "not a name"],
)
def test_a_failed_download_gives_one_error_with_the_allowed_arguments(hub, name, status, reason):
    hub.status = status
    with refuses(rf"{re.escape(name)}: no such folder or file, and the download from the Hugging Face hub failed \({reason}\)\."):
        find_checkpoint(name)
    assert hub.requests <= 1  # no retries while the user waits


@pytest.mark.parametrize("offline", [True, False], ids=["HF_HUB_OFFLINE", "connection refused"])
def test_without_a_network_a_hub_name_gives_one_error_with_the_allowed_arguments(monkeypatch, tmp_path, offline):
    with serving_hub({}) as hub:
        use_hub(monkeypatch, hub.url, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with refuses(r"someone/ours: no such folder or file, and the download from the Hugging Face hub failed \(.+\)\."):
        load("someone/ours")


def test_an_interrupted_download_continues_where_it_stopped(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 16)  # a broken download keeps whole chunks only
    hub.repositories = {"someone/theirs": THEIRS | {"open_clip_model.safetensors": bytes(range(256))}}
    hub.breaks = {"open_clip_model.safetensors": 1}
    assert find_checkpoint("someone/theirs").weights.read_bytes() == bytes(range(256))
    assert hub.downloads == ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_model.safetensors from 128"]


def test_a_download_that_keeps_breaking_is_an_error_and_can_be_repeated(hub):
    hub.breaks = {"open_clip_model.safetensors": 1000}
    with refuses(r"someone/theirs: no such folder or file, and the download from the Hugging Face hub failed \(.+\)\."):
        find_checkpoint("someone/theirs")
    hub.breaks = {}
    assert find_checkpoint("someone/theirs").weights.read_bytes() == THEIRS["open_clip_model.safetensors"]


def test_the_environment_sets_the_hub_and_its_cache(tmp_path):
    code = "from coca_model.checkpoints.find import find_checkpoint; print(find_checkpoint('someone/theirs').weights)"
    with serving_hub(REPOSITORIES) as hub:
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
        run = subprocess.run([sys.executable, "-c", code], env=environment | settings, capture_output=True, text=True, check=True)
    path = Path(run.stdout.strip())
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes() == THEIRS["open_clip_model.safetensors"]
