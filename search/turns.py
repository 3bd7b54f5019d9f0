"""Searches of one process take turns: as many at once as there are CPUs, in the order in which they came.

More threads would pass the lock of Python's interpreter to each other many times within each search. That takes a quarter of the time, and
of twenty threads, one may wait for all the others.
"""

import os
import threading
from collections import deque

from media.cpus import num_cpus


class _Turns:
    """Like a semaphore, but first come, first served: `threading.Semaphore` lets whoever has just finished begin again."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """In a forked process, the other threads, which had or awaited a turn, do not exist."""
        self._lock, self._waiting = threading.Lock(), deque[threading.Lock]()
        self._num_free: int | None = None  # counted at the first turn

    def __enter__(self) -> None:
        with self._lock:
            if self._num_free is None:
                self._num_free = num_cpus()
            if self._num_free > 0:
                self._num_free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()  # until a thread that leaves opens it
        except BaseException:  # Ctrl-C
            with self._lock:
                is_waiting = gate in self._waiting
                if is_waiting:
                    self._waiting.remove(gate)
            if not is_waiting:  # it was opened just now
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            elif self._num_free is not None:
                self._num_free += 1


turn = _Turns()
