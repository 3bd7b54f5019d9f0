"""Opens pictures that are elsewhere before a lane needs them: lanes compute while the network answers.

A film is opened when it is needed, because its frames are read by a worker process.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO

from indexer.plan import Task
from media.formats import kind_of
from media.sources.addresses import is_address
from media.sources.choose import source_of

_AHEAD = 16  # pictures, each with at most 16 MiB in memory


class ReadingAhead:
    """Give the tasks through `tasks`, and open their files with `open`, on any thread. `close` it at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AHEAD)  # makes no thread before the first picture that is elsewhere
        self._opened: dict[str, Future[BinaryIO]] = {}

    def tasks(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """The same tasks. The pictures of the next ones are being opened meanwhile."""
        waiting: deque[Task] = deque()
        for task in tasks:
            uri = task.file.uri
            if is_address(uri) and kind_of(uri) == "image":
                self._opened[uri] = self._pool.submit(source_of(uri).open, uri)
            waiting.append(task)
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting

    def open(self, uri: str) -> BinaryIO:
        """The file, closed by the caller. Raises OSError."""
        opened = self._opened.pop(uri, None)
        return source_of(uri).open(uri) if opened is None else opened.result()

    def close(self) -> None:
        """Close what was not asked for."""
        self._pool.shutdown(cancel_futures=True)
        for opened in self._opened.values():
            if not opened.cancelled():
                with suppress(OSError):
                    opened.result().close()
