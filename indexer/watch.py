"""Keeps a collection up to date: runs the indexer whenever files change.

The operating system reports changes (watchfiles). Many changes together, such as a copy of a thousand files, cause one run: it starts when
nothing has changed for two seconds, and after half a minute at the latest. Network drives often report nothing, so there is also
a run every ten minutes. A run without changes is short. A folder that is replaced, or mounted, is watched anew.
"""

import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from indexer.errors import SourceError
from indexer.files.inputs import StrPath, read_inputs
from search.errors import LockedError

_QUIET_MS, _LONGEST_MS = 2_000, 30_000
_TICK_MS = 5_000  # how often to look whether a run is due that no change causes
_SECONDS_BETWEEN_RUNS = 600.0


def watch(
    paths: Sequence[StrPath],
    run: Callable[[], bool],
    *,
    collection: Path,
    on_wait: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
    quiet_ms: int = _QUIET_MS,
    tick_ms: int = _TICK_MS,
) -> None:
    """Call `run` twice, and again after changes below `paths`, until `stop` is set or KeyboardInterrupt.

    Args:
        paths: folders, files and patterns. They may be missing for a while.
        run: indexes them. Returns whether it left something for the next run, such as a file that is still being written.
        collection: the folder of the collection; changes in it do not count.
        on_wait: called with a sentence when a run must wait.
        stop: ends the watch.
        quiet_ms: how long nothing must have changed before a run.
        tick_ms: how often to look whether a run is due that no change causes.

    Raises:
        What `run` raises, except LockedError: another process is writing, so the run is tried again. SourceError, if the first run raises
        it; later, a folder may be empty or absent for a while.
    """
    inside, timed = Path(collection).resolve(), _Due()

    def is_of_others(_: object, path: str) -> bool:
        return not Path(path).is_relative_to(inside)

    try:
        run()
    except LockedError as error:
        on_wait(str(error))
    while stop is None or not stop.is_set():
        watched = _state(paths)
        for changes in _changes(watched, is_of_others, stop, quiet_ms, tick_ms):
            is_another = _state(paths) != watched
            if changes or is_another or timed.is_due():
                timed.ran(leaves_more=_try(run, on_wait))
            if is_another:
                timed.ran(leaves_more=True)  # for changes before the new watch
                break


class _Due:
    """Whether a run is due that no change causes. At first one is, for changes during the first run."""

    def __init__(self) -> None:
        self._leaves_more, self._since = True, time.monotonic()

    def is_due(self) -> bool:
        return self._leaves_more or time.monotonic() - self._since > _SECONDS_BETWEEN_RUNS

    def ran(self, *, leaves_more: bool) -> None:
        self._leaves_more, self._since = leaves_more, time.monotonic()


def _changes(
    watched: Collection[str], counts: Callable[[object, str], bool], stop: threading.Event | None, quiet_ms: int, tick_ms: int
) -> Iterator[object]:
    """The changes that the operating system reports; nothing from time to time."""
    from watchfiles import watch as changes_of

    try:
        yield from changes_of(
            *watched,
            watch_filter=counts,
            step=quiet_ms,
            debounce=max(_LONGEST_MS, quiet_ms),
            rust_timeout=tick_ms,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=True,
            ignore_permission_denied=True,
        )
    except FileNotFoundError:  # it went just now
        time.sleep(tick_ms / 1000)
        yield None


def _state(paths: Sequence[StrPath]) -> dict[str, tuple[int, ...]]:
    """What there is to watch, and which folder or file it is: after a drive is mounted, or a file replaced, it is another one."""
    inputs = read_inputs(paths)
    state: dict[str, tuple[int, ...]] = {}
    for uri in (*(each.folder for each in inputs.folders), *inputs.files):
        with suppress(OSError):
            status = os.stat(uri)
            is_file = stat.S_ISREG(status.st_mode)
            state[uri] = (status.st_dev, status.st_ino, *((status.st_size, status.st_mtime_ns) if is_file else ()))
    return state


def _try(run: Callable[[], bool], on_wait: Callable[[str], None]) -> bool:
    """Whether another run is due."""
    try:
        return run()
    except LockedError as error:
        on_wait(str(error))
        return True
    except SourceError as error:
        on_wait(str(error))
        return False
