"""Work on many vectors, shared by the calling thread and the helpers of this process.

A sleeping thread takes up to some milliseconds to start, as long as a search. So the caller works too, and each takes the next small
part when it is done with one. Helpers are one fewer than the CPUs for all callers together, and sleep between calls.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from media.cpus import num_cpus

_PARTS_PER_CPU = 4
Result = TypeVar("Result")


def in_parts(run: Callable[[int, int], Result], count: int, least: int, parts_per_cpu: int = _PARTS_PER_CPU) -> list[Result]:
    """The results of `run(start, stop)` for parts of `[0, count)`, in order, each of at least `least` items if there are so many.

    `run` should release the GIL. Raises what it raises.
    """
    cpus = num_cpus()
    num_parts = min(parts_per_cpu * cpus, count // least)
    if num_parts < 2 or cpus < 2:
        return [run(0, count)]
    bounds = np.linspace(0, count, num_parts + 1).astype(int).tolist()
    left = iter(list(enumerate(pairwise(bounds))))  # of which several threads may take the next
    done: SimpleQueue[tuple[int, Result | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        for number, part in left:
            try:
                done.put((number, run(*part), None))
            except BaseException as error:
                done.put((number, None, error))

    with suppress(RuntimeError):  # no thread can be started, for example because the program ends
        for _ in range(min(cpus, num_parts) - 1):
            _helpers(cpus).submit(work)
    work()
    results: dict[int, Any] = {}
    for _ in range(num_parts):  # a helper may not be done with its part yet
        number, result, error = done.get()
        if error is not None:
            raise error
        results[number] = result
    return [results[number] for number in range(num_parts)]


@lru_cache(maxsize=1)
def _helpers(cpus: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpus - 1, thread_name_prefix="search")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # a forked process has no threads of its parent
