"""Keeps a collection up to date: runs the indexer whenever files change.

The operating system reports changes (watchfiles). Many changes together, such as a copy of a thousand files, cause one run: it starts when
nothing has changed for two seconds, and after half a minute at the latest. Network drives often report nothing, so there is also
a run every ten minutes. A run without changes is short.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from indexer.errors import SourceError
from search.errors import LockedError

_QUIET_MS, _LONGEST_MS = 2_000, 30_000
_TICK_MS = 5_000  # how often to look whether a run is due that no change causes
_SECONDS_BETWEEN_RUNS = 600.0


def watch(
    paths: Sequence[Path],
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
        paths: folders and files.
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
    from watchfiles import watch as changes_of

    inside = Path(collection).resolve()

    def counts(_: object, path: str) -> bool:
        return not Path(path).is_relative_to(inside)

    watched = [path for path in paths if path.exists()]
    try:
        run()
    except LockedError as error:
        on_wait(str(error))
    due, since = True, time.monotonic()  # for changes during the first run
    for changes in changes_of(
        *watched,
        watch_filter=counts,
        step=quiet_ms,
        debounce=max(_LONGEST_MS, quiet_ms),
        rust_timeout=tick_ms,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
        ignore_permission_denied=True,
    ):
        if changes or due or time.monotonic() - since > _SECONDS_BETWEEN_RUNS:
            due, since = _try(run, on_wait), time.monotonic()


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
