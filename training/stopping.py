"""Ctrl-C between two steps instead of inside one, so that what was learnt so far can be kept."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stops_between_steps() -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C only makes what it gives return True; the second stops at once, as ever.

    Outside the main thread, where signals cannot be caught, nothing changes.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
