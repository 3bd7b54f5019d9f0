"""Makes Ctrl-C stop a run between two steps, so that its progress can be saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stops_between_steps() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether Ctrl-C was pressed. The second Ctrl-C stops at once, as usual.

    Outside the main thread, where signals cannot be handled, nothing changes.
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
