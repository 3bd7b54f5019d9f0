"""How far a run is, and how long it will still take.

The time left is estimated from the lanes' seconds for pictures and for films apart. The work of a file is taken to grow with its bytes,
plus a constant for a picture, because embedding takes the same time for each. A film in progress counts by the part that is done, and its
pace since its first part tells when it ends. The run lasts at least as long as its longest film, because one lane has it.

`in_fair_order` makes the estimate good early: ids are hashes, so the first files are a fair sample of all. The largest film comes soon,
because no other file says how long it takes.
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
    from indexer.processing.local_executor import Done, Part  # loads torch

_BYTES_OF_EMBEDDING = 1_000_000  # a picture takes as long to embed as this many bytes of JPEG take to decode
_PRIOR: dict[Kind, tuple[float, float]] = {
    "image": (0.05, 2e6),
    "video": (1.0, 5e7),
}  # seconds for an amount of work, until some is measured
_FILES_FIRST = 16  # files before the largest film: enough to know the pace of pictures too


def in_fair_order(tasks: Sequence[Task]) -> list[Task]:
    """The tasks by id, but the largest film soon after the start."""
    ordered = sorted(tasks, key=lambda task: task.media_id)
    if films := [task for task in ordered if _kind_of(task) == "video"]:
        largest = max(films, key=_work_of)
        ordered.remove(largest)
        ordered.insert(_FILES_FIRST, largest)
    return ordered


@dataclass(frozen=True)
class Progress:
    """The state of a run.

    Attributes:
        num_done: files that are done, of `num_files`. Among them are `num_failed`.
        files_per_second: since the start of the run.
        seconds_left: until the last file is done.
        bottleneck: the stage that takes the longest: read, decode, embed or write; empty before anything is done.
        share_done: the part of the work that is done, 0..1, with the parts of films in progress. It never falls.
    """

    num_done: int
    num_files: int
    num_failed: int
    files_per_second: float
    seconds_left: float
    bottleneck: str
    share_done: float


@dataclass
class _Film:
    """A film in progress: its first part, and its last one so far."""

    kind: Kind
    work: float
    first: "Part"
    last: "Part"

    @property
    def pace(self) -> float | None:
        """Seconds for all of it; None if it is not known yet. Reading the file before the first part does not count."""
        share = self.last.share - self.first.share
        return (self.last.seconds - self.first.seconds) / share if share > 0 else None


class ProgressMeter:
    """Follows a run: `add` each file that is done, and each part of a film.

    Args:
        tasks: all files of the run.
        stopwatch: counts seconds by stage.
        clock: the time in seconds.
    """

    def __init__(self, tasks: Sequence[Task], stopwatch: Stopwatch, clock: Callable[[], float] = time.monotonic) -> None:
        self._num_files, self._stopwatch, self._clock = len(tasks), stopwatch, clock
        self._since = clock()
        self._num_done = self._num_failed = 0
        self._lane_seconds = 0.0
        self._spent = {kind: seconds for kind, (seconds, _) in _PRIOR.items()}
        self._done = {kind: work for kind, (_, work) in _PRIOR.items()}
        self._left = dict.fromkeys(_PRIOR, 0.0)  # work of the files that are neither done nor in progress
        for task in tasks:
            self._left[_kind_of(task)] += _work_of(task)
        self._total = sum(_prior_seconds(task) for task in tasks) or 1.0  # 0 if all files are empty
        self._counted = 0.0
        self._in_progress: dict[int, _Film] = {}
        films = sorted((task for task in tasks if _kind_of(task) == "video"), key=_work_of)
        self._waiting_films = {film.media_id: _work_of(film) for film in films}  # the largest is the last

    def add(self, done: "Done") -> Progress:
        """Count a file that is done."""
        kind = _kind_of(done.task)
        self._count(done.task, done.seconds, 1.0)
        self._in_progress.pop(done.task.media_id, None)
        self._num_done += 1
        self._num_failed += isinstance(done.result, Failure)
        self._spent[kind] += done.seconds
        self._done[kind] += _work_of(done.task)
        return self.now()

    def add_part(self, part: "Part") -> Progress:
        """Count what is done of a film. More of it may come after all of its stated length."""
        film = self._in_progress.get(part.task.media_id)
        if film is None or part.share > film.last.share:
            self._count(part.task, part.seconds, part.share)
            first = film.first if film else part
            self._in_progress[part.task.media_id] = _Film(_kind_of(part.task), _work_of(part.task), first, part)
        return self.now()

    def _count(self, task: Task, seconds: float, share: float) -> None:
        """Count what was done of a file since its last part."""
        share_before, seconds_before = 0.0, 0.0
        if film := self._in_progress.get(task.media_id):
            share_before, seconds_before = film.last.share, film.last.seconds
        else:
            self._left[_kind_of(task)] -= _work_of(task)
            self._waiting_films.pop(task.media_id, None)
        self._lane_seconds += seconds - seconds_before
        self._counted += (share - share_before) * _prior_seconds(task)

    def now(self) -> Progress:
        """The state now."""
        elapsed = max(self._clock() - self._since, 1e-3)
        is_over = self._num_done == self._num_files
        share = 1.0 if is_over else min(1.0, self._counted / self._total)
        slowest = bottleneck(self._stopwatch.seconds) if share else ""
        seconds_left = 0.0 if is_over else self._seconds_left(elapsed)
        return Progress(self._num_done, self._num_files, self._num_failed, self._num_done / elapsed, seconds_left, slowest, share)

    def _seconds_left(self, elapsed: float) -> float:
        """By the work left, spread over the lanes that worked at once; at least the time of the longest film."""
        spent, done = dict(self._spent), dict(self._done)
        for film in self._in_progress.values():
            if film.pace is not None:
                spent[film.kind] += film.last.share * (film.last.seconds + film.pace * (1 - film.last.share))
                done[film.kind] += film.last.share * film.work
        paces = {kind: spent[kind] / done[kind] for kind in spent}  # seconds for each byte of work
        films = [
            (1 - film.last.share) * (paces[film.kind] * film.work if film.pace is None else film.pace)
            for film in self._in_progress.values()
        ]
        lanes = max(1.0, self._lane_seconds / elapsed)
        left = sum(films) + sum(max(0.0, self._left[kind]) * paces[kind] for kind in paces)
        return max(left / lanes, paces["video"] * next(reversed(self._waiting_films.values()), 0.0), *films)


def _kind_of(task: Task) -> Kind:
    return kind_of(task.file.uri) or "image"


def _work_of(task: Task) -> float:
    return task.file.size_bytes + (_BYTES_OF_EMBEDDING if _kind_of(task) == "image" else 0)


def _prior_seconds(task: Task) -> float:
    seconds, work = _PRIOR[_kind_of(task)]
    return seconds * _work_of(task) / work
