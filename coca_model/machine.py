"""What this machine does fast: the dtype, the number of threads, and how many pictures go through the model together."""

import os
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from coca_model.architecture.config import ImageConfig

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of processor time, in so many microseconds


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has matrix instructions for it (CUDA, AMX, AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    has = _capabilities()
    return torch.bfloat16 if has.get("amx_bf16") or has.get("avx512_bf16") else torch.float32


def _capabilities() -> Mapping[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cpu.get_capabilities()


def batch_size(device: torch.device, image: ImageConfig) -> int:
    """Pictures that go through together. Measured on two cores with AMX: 16 keep the convolutional stem's maps in the cache
    (209 pictures a second; 187 with 48, 97 with 128), a ViT wants 32 or more (120 a second; 93 with 16). Not measured on CUDA.
    """
    if device.type == "cuda":
        return 128
    return 32 if image.stem == "patch" else 16


@cache
def use_cpus() -> None:
    """Let torch use the processors that this process may use, and no more: in a container torch sees all of the host's.

    Done once, and not at all where OMP_NUM_THREADS says what the user wants, or the user's program has set fewer threads.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = min(allowed, _of_container())
    if torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)


def _of_container() -> int:
    try:
        quota, period = _CPU_MAX.read_text().split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or "max": no limit
        return 2**16
