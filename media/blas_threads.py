"""Limits the threads of OpenBLAS, which NumPy uses for products of matrices. It imports only the standard library until it is used."""

import os
import threading
from typing import Any


class _OneThread:
    """OpenBLAS uses one thread inside: for small matrices, its threads spin and wait for each other (75 ms instead of 5), and callers that
    divide the work themselves would have too many of them.

    The setting counts for the whole process, so the last thread that leaves restores it.
    """

    def __init__(self) -> None:
        self._lock, self._num_inside = threading.Lock(), 0
        self._control: Any = None
        self._limit: Any = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave_all)

    def __enter__(self) -> None:
        with self._lock:
            if self._control is None:
                from threadpoolctl import ThreadpoolController

                self._control = ThreadpoolController()
            if not self._num_inside:
                self._limit = self._control.limit(limits=1, user_api="blas")
            self._num_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._limit.restore_original_limits()

    def _leave_all(self) -> None:
        """In a forked process, the threads that were inside, or held the lock, do not exist."""
        self._lock = threading.Lock()
        if self._num_inside:
            self._num_inside = 0
            self._limit.restore_original_limits()


one_blas_thread = _OneThread()
