"""Seconds by stage, summed over threads, to find the bottleneck."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Counts the seconds spent in each stage: read, decode, embed, write."""

    def __init__(self) -> None:
        self.seconds = {"read": 0.0, "decode": 0.0, "embed": 0.0, "write": 0.0}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.monotonic() - since


def bottleneck(seconds: Mapping[str, float]) -> str:
    """The stage that took the longest."""
    return max(seconds, key=lambda stage: seconds[stage])
