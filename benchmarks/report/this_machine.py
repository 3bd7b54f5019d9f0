"""The machine and the versions that the figures were measured with. No names of hosts, no paths."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from coca_model.machine import fast_dtype

PACKAGES = ("coca-search", "torch", "numpy", "faiss-cpu", "faiss-gpu-cu12", "lancedb", "open_clip_torch")


def machine() -> dict[str, str]:
    """Processor, cores, memory, GPU, and the dtype that the project uses here."""
    cuda = torch.cuda.is_available()
    processor, memory = platform.machine(), "unknown"
    with suppress(OSError):  # not Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    with suppress(AttributeError, ValueError, OSError):  # not POSIX
        memory = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    return {
        "Processor": processor,
        "Cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        "Memory": memory,
        "GPU": torch.cuda.get_device_name() if cuda else "none",
        "Fast dtype": str(fast_dtype(torch.device("cuda" if cuda else "cpu"))).removeprefix("torch."),
        "System": f"{platform.system()}, {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of those of `PACKAGES` that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
