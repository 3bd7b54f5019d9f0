"""How far a run is, and how long it will still take.

The time left is estimated from the lanes' seconds for pictures and for films apart. The work of a file is taken to grow with its bytes,
plus a constant for a picture, because embedding takes the same time for each. `index` takes files in the order of their ids, which are
hashes. So the first files are a fair sample of all, and the estimate is good early.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.plan import Task
from indexer.processing.stopwatch import Stopwatch, bottleneck
from media.formats import Kind, kind_of
from search.collection import Failure

if TYPE_CHECKING:
    from indexer.processing.local_executor import Done  # loads torch

_BYTES_OF_EMBEDDING = 1_000_000  # a picture takes as long to embed as this many bytes of JPEG take to decode
_PRIOR: dict[Kind, tuple[float, float]] = {
    "image": (0.05, 2e6),
    "video": (1.0, 5e7),
}  # seconds for an amount of work, until some is measured


@dataclass(frozen=True)
class Progress:
    """The state of a run.

    Attributes:
        num_done: files that are done, of `num_files`. Among them are `num_failed`.
        files_per_second: since the start of the run.
        seconds_left: until the last file is done.
        bottleneck: the stage that takes the longest: read, decode, embed or write; empty before the first file.
    """

    num_done: int
    num_files: int
    num_failed: int
    files_per_second: float
    seconds_left: float
    bottleneck: str


class ProgressMeter:
    """Follows a run: `add` each file that is done.

    Args:
        tasks: all files of the run.
        stopwatch: counts seconds by stage.
        clock: the time in seconds.
    """

    def __init__(self, tasks: Sequence[Task], stopwatch: Stopwatch, clock: Callable[[], float] = time.monotonic) -> None:
        self._num_files, self._stopwatch, self._clock = len(tasks), stopwatch, clock
        self._since = clock()
        self._num_done = self._num_failed = 0
        self._spent = {kind: seconds for kind, (seconds, _) in _PRIOR.items()}
        self._done = {kind: work for kind, (_, work) in _PRIOR.items()}
        self._left = dict.fromkeys(_PRIOR, 0.0)
        for task in tasks:
            self._left[_kind_of(task)] += _work_of(task)

    def add(self, done: "Done") -> Progress:
        """Count a file."""
        kind, work = _kind_of(done.task), _work_of(done.task)
        self._num_done += 1
        self._num_failed += isinstance(done.result, Failure)
        self._spent[kind] += done.seconds
        self._done[kind] += work
        self._left[kind] -= work
        return self.now()

    def now(self) -> Progress:
        """The state now."""
        elapsed = max(self._clock() - self._since, 1e-3)
        lane_seconds = sum(self._spent[kind] - seconds for kind, (seconds, _) in _PRIOR.items())
        lanes = max(1.0, lane_seconds / elapsed)  # lanes that worked at once
        left = sum(max(0.0, self._left[kind]) * self._spent[kind] / self._done[kind] for kind in self._left) / lanes
        slowest = bottleneck(self._stopwatch.seconds) if self._num_done else ""
        return Progress(self._num_done, self._num_files, self._num_failed, self._num_done / elapsed, left, slowest)


def _kind_of(task: Task) -> Kind:
    return kind_of(task.file.uri) or "image"


def _work_of(task: Task) -> float:
    return task.file.size_bytes + (_BYTES_OF_EMBEDDING if _kind_of(task) == "image" else 0)
