import pytest
import torch

from coca_model import machine
from coca_model.architecture.config import ImageConfig
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
