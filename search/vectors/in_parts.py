"""Work on many vectors, divided among threads of this call. They end with it, so none spins or waits while others work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np

from media.cpus import num_cpus

Result = TypeVar("Result")


def in_parts(run: Callable[[int, int], Result], count: int, least: int) -> list[Result]:
    """The results of `run(start, stop)` for parts of `[0, count)`, in order: one for each CPU, if each has at least `least` items.

    Less work is one part, done by the calling thread. `run` should release the GIL.
    """
    if count < 2 * least:
        return [run(0, count)]
    bounds = np.linspace(0, count, min(num_cpus(), count // least) + 1).astype(int).tolist()
    with ThreadPoolExecutor(len(bounds) - 1) as threads:
        return list(threads.map(lambda part: run(*part), pairwise(bounds)))
