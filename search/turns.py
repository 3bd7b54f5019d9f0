"""Searches of one process take turns: as many at once as there are CPUs, in the order in which they came.

More threads would pass the lock of Python's interpreter to each other many times within each search. That takes a quarter of the time, and
some of them wait for twenty others.
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
        """In a forked process, the threads that had a turn do not exist."""
        self._lock, self._num_free, self._waiting = threading.Lock(), num_cpus(), deque[threading.Lock]()

    def __enter__(self) -> None:
        with self._lock:
            if self._num_free:
                self._num_free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()  # until a thread that leaves opens it
        except BaseException:  # such as Ctrl-C
            with self._lock:
                if gate in self._waiting:
                    self._waiting.remove(gate)
                    raise
            self.__exit__()  # it was just opened
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._num_free += 1


turn = _Turns()
