"""The CPUs of this process. It imports only the standard library."""

import os
from contextlib import suppress
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # of a container: CPU time per period, and the period, in microseconds


def num_cpus() -> int:
    """The CPUs that this process may use. In a container, they are fewer than those of the host."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or "max" (no limit)
        quota, period = map(int, _CPU_MAX.read_text().split())
        allowed = min(allowed, max(1, round(quota / period)))
    return allowed
