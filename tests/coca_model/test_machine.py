import dataclasses
import threading

import numpy as np
import pytest
import torch

from coca_model import machine
from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import ImageConfig
from coca_model.encoder import Encoder
from media import cpus

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PATCHES, STEM = ImageConfig(), ImageConfig(224, 32, "efficientnet_lite1")


@pytest.fixture
def threads(monkeypatch):
    """Record the number of threads set in torch. The fake machine has three processors, and torch starts with four threads."""
    seen = {"set": None, "quota": "max 100000"}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus.os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: seen.update(set=number))
    machine.use_cpus.cache_clear()
    yield seen
    machine.use_cpus.cache_clear()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 3), ("100000 100000", 1), ("150000 100000", 2), ("40000 100000", 1), ("900000 100000", 3), ("nonsense", 3), (None, 3)],
)
def test_threads_are_limited_to_the_processors_of_the_container(threads, monkeypatch, tmp_path, quota, expected):
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cpus, "_CPU_MAX", tmp_path / "cpu.max")
    machine.use_cpus()
    assert threads["set"] == expected


def test_omp_num_threads_is_respected(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    machine.use_cpus()
    assert threads["set"] is None


def test_a_thread_count_below_the_number_of_processors_is_kept(threads, monkeypatch, tmp_path):
    monkeypatch.setattr(cpus, "_CPU_MAX", tmp_path / "none")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    machine.use_cpus()
    assert threads["set"] is None


def test_threads_are_set_once(threads, monkeypatch, tmp_path):
    monkeypatch.setattr(cpus, "_CPU_MAX", tmp_path / "none")
    machine.use_cpus()
    threads["set"] = None
    machine.use_cpus()
    assert threads["set"] is None


def test_batches_suit_the_stem_and_the_device():
    assert machine.batch_size(CPU, STEM) < machine.batch_size(CPU, PATCHES) < machine.batch_size(CUDA, STEM)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread():
    """The number of torch's threads there."""
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.usefixtures("three_threads")
def test_one_thread_counts_for_the_thread_that_asks():
    with machine.one_thread():
        assert (torch.get_num_threads(), in_a_new_thread()) == (1, 3)
        with machine.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert (torch.get_num_threads(), in_a_new_thread()) == (3, 3)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(
    ("image", "num_pictures", "expected"), [(STEM, 1, 1), (STEM, 2, 3), (ImageConfig(32, 8), 1, 3)], ids=["query", "batch", "vit"]
)
def test_a_single_picture_is_embedded_by_one_thread_if_the_layers_are_small(
    tiny_config, tiny_tokenizer, image, num_pictures, expected, monkeypatch
):
    image = dataclasses.replace(image, width=32, layers=1, heads=2, mlp_width=32)
    model = CoCa(dataclasses.replace(tiny_config, image=image)).eval()
    encoder = Encoder(model, tiny_tokenizer, model_id="tiny", device=CPU, dtype=torch.float32)
    seen = []
    monkeypatch.setattr(model.poolers, "embed", lambda tokens: seen.append(torch.get_num_threads()) or torch.ones(len(tokens), 16))
    encoder.encode_pixels(np.zeros((num_pictures, image.image_size, image.image_size, 3), np.uint8))
    assert seen == [expected]
