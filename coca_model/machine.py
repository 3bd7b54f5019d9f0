"""Defaults for this machine: dtype, number of threads, batch size."""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch

from coca_model.architecture.config import ImageConfig
from media.cpus import num_cpus


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 if the device has matrix instructions for it (CUDA, AMX, AVX512-BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("amx_bf16") or has.get("avx512_bf16") else torch.float32


def batch_size(device: torch.device, image: ImageConfig) -> int:
    """Pictures per batch. Measured on two cores with AMX: with 16, the maps of the convolutional stem fit the CPU cache (209 pictures
    a second; 187 with 48, 97 with 128). A ViT needs 32 or more (120 a second; 93 with 16). Not measured on CUDA.
    """
    if device.type == "cuda":
        return 128
    return 32 if image.stem == "patch" else 16


_setting = threading.Lock()


@cache
def use_cpus() -> None:
    """Limit torch's threads to the CPUs of this process. In a container, torch counts all CPUs of the host.

    Runs once. It changes nothing if OMP_NUM_THREADS is set, or if the program has already set fewer threads.
    """
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > num_cpus():
        torch.set_num_threads(num_cpus())


@contextmanager
def share_cpus(num_threads: int) -> Iterator[Callable[[], None]]:
    """Divide torch's threads among threads that run the model at the same time. Each of them must first call the function that this gives.

    torch's setting counts for the thread that makes it, and for new threads. So it is restored at the end.
    """
    before = torch.get_num_threads()
    share = max(1, before // num_threads)
    try:
        yield lambda: torch.set_num_threads(share)
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread in the thread that calls this. Others keep what they have.

    For a few small operations. With more threads each of them waits, spinning, until the system has run all threads: beside other work, an
    embedding took 1.8 s instead of 0.14. OMP_WAIT_POLICY would also help, but only if it is set before torch is imported.
    """
    with _setting:
        before = torch.get_num_threads()
        if before > 1:
            torch.set_num_threads(1)
            keeper = threading.Thread(target=torch.set_num_threads, args=(before,))  # new threads take the last setting of any thread
            keeper.start()
            keeper.join()
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)
