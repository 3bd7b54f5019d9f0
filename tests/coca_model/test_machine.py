import pytest
import torch

from coca_model import machine
from coca_model.config import ImageConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PATCHES, STEM, OTHER_STEM = ImageConfig(), ImageConfig(224, 32, "mobilenet_v2"), ImageConfig(224, 32, "efficientnet_lite1")


@pytest.fixture
def threads(monkeypatch):
    """What torch is told, and what the machine says of itself; four threads before."""
    said = {"set": None, "quota": "max 100000"}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(3)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: said.update(set=number))
    machine.use_cpus.cache_clear()
    yield said
    machine.use_cpus.cache_clear()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 3), ("100000 100000", 1), ("150000 100000", 2), ("40000 100000", 1), ("900000 100000", 3), ("nonsense", 3), (None, 3)],
)
def test_no_more_threads_are_used_than_the_container_has_processors(threads, monkeypatch, tmp_path, quota, expected):
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "_CPU_MAX", tmp_path / "cpu.max")
    machine.use_cpus()
    assert threads["set"] == expected


def test_what_the_user_asks_for_stays(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    machine.use_cpus()
    assert threads["set"] is None


def test_fewer_threads_than_processors_stay_as_they_are(threads, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPU_MAX", tmp_path / "none")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    machine.use_cpus()
    assert threads["set"] is None


def test_threads_are_set_once(threads, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_CPU_MAX", tmp_path / "none")
    machine.use_cpus()
    threads["set"] = None
    machine.use_cpus()
    assert threads["set"] is None


@pytest.mark.parametrize(
    ("device", "image", "dtype", "has", "expected"),
    [
        (CPU, STEM, torch.bfloat16, {"avx512_fp16": True}, torch.float16),
        (CPU, STEM, torch.bfloat16, {"avx512_fp16": False}, torch.bfloat16),
        (CPU, STEM, torch.bfloat16, {}, torch.bfloat16),
        (CUDA, STEM, torch.bfloat16, {}, torch.float16),
        (CPU, STEM, torch.float32, {"avx512_fp16": True}, torch.float32),
        (CPU, PATCHES, torch.bfloat16, {"avx512_fp16": True}, torch.bfloat16),
        (CPU, OTHER_STEM, torch.bfloat16, {"avx512_fp16": True}, torch.bfloat16),
        (CUDA, OTHER_STEM, torch.bfloat16, {}, torch.bfloat16),
    ],
)
def test_mobilenets_stem_alone_is_kept_finer_than_bfloat16_where_that_is_fast(monkeypatch, device, image, dtype, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert machine.stem_dtype(device, image, dtype) is expected


@pytest.mark.parametrize("stem", [STEM, OTHER_STEM])
def test_batches_suit_the_stem_and_the_device(stem):
    assert machine.batch_size(CPU, stem) < machine.batch_size(CPU, PATCHES) < machine.batch_size(CUDA, stem)
