"""Runs `process` on this machine. Another executor takes the same tasks and gives the same results.

Each lane is a thread that reads, decodes and embeds files of its own, with an equal share of the cores. So all cores are busy whatever
the slowest stage is, and no frame is copied between processes. One model on all cores, fed by decoding threads, took 1.4 times as long:
its threads waited for each other whenever a decoding thread had one of their cores.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from queue import Empty, Queue

import numpy as np

from coca_model import Encoder
from coca_model.machine import share_cpus
from indexer.plan import Task
from indexer.processing.process import ProcessOptions, Step, Steps, Vectors, process
from indexer.processing.reading_ahead import ReadingAhead
from indexer.processing.stopwatch import Stopwatch
from indexer.processing.unfinished import Unfinished, has_changed
from media import VideoDecoder
from search.collection import Failure, FileRows

_RESULTS_AHEAD = 1024  # results that may wait for the writer: small, because pixels are gone by then


@dataclass(frozen=True)
class Done:
    """A file that was processed. `seconds`: the time that its lane spent on it."""

    task: Task
    result: FileRows | Failure | Unfinished
    seconds: float


@dataclass(frozen=True)
class Part:
    """A film of which a part, `share` in 0..1, is done. `seconds`: the time that its lane spent on it so far."""

    task: Task
    share: float
    seconds: float


_Message = Done | Part | BaseException | None  # None: a lane has ended


@dataclass
class _InProgress:
    """A file that waits for the vectors of `step`, or is done and has a `result`."""

    task: Task
    steps: Steps
    step: Step = field(default_factory=lambda: Step(np.empty(0, np.uint8)))
    result: FileRows | Failure | None = None
    seconds: float = 0.0

    def advance(self, vectors: Vectors | None = None) -> None:
        """Run until it needs vectors again, or is done."""
        since = time.perf_counter()
        try:
            self.step = next(self.steps) if vectors is None else self.steps.send(vectors)
        except StopIteration as end:
            self.result = end.value
        self.seconds += time.perf_counter() - since


class LocalExecutor:
    """Processes files on lanes.

    Args:
        encoder: the model.
        workers: number of lanes.
        batch: frames that a lane embeds together.
        video_limit_seconds: how long a video may go without a frame before it is given up.
        stopwatch: counts seconds by stage.
    """

    def __init__(
        self, encoder: Encoder, *, workers: int, batch: int, video_limit_seconds: float, stopwatch: Stopwatch | None = None
    ) -> None:
        self._encoder, self._workers, self._batch = encoder, workers, batch
        self._video_limit_seconds = video_limit_seconds
        self._stopwatch = stopwatch or Stopwatch()

    def run(
        self, tasks: Iterable[Task], *, should_stop: Callable[[], bool] = lambda: False, on_part: Callable[[Part], None] = lambda _: None
    ) -> Iterator[Done]:
        """The result of each task, as soon as it is done. Memory is bounded.

        After `should_stop`, only files in progress are finished. Close the iterator to stop at once. `on_part` is called on the thread
        that iterates, whenever frames of a film were embedded.
        """
        results: Queue[_Message] = Queue(_RESULTS_AHEAD)
        stopped = threading.Event()
        videos = VideoDecoder(limit_seconds=self._video_limit_seconds)
        ahead = ReadingAhead()
        options = ProcessOptions(self._encoder.preprocess, videos, self._encoder.min_side, self._stopwatch, ahead.open)
        shared = _Shared(takewhile(lambda _: not should_stop(), ahead.tasks(tasks)))

        def lane(take_share: Callable[[], None]) -> None:
            try:
                take_share()
                for result in self._lane(shared, options, stopped):
                    results.put(result)
            except BaseException as error:  # raised again in the thread that runs the executor
                results.put(error)
            finally:
                results.put(None)

        with share_cpus(self._workers) as take_share:
            lanes = [
                threading.Thread(target=lane, args=[take_share], daemon=True, name=f"lane {number}") for number in range(self._workers)
            ]
            try:
                for thread in lanes:
                    thread.start()
                for _ in lanes:
                    yield from _until_none(results, on_part)
            finally:
                stopped.set()
                videos.close()
                while any(thread.is_alive() for thread in lanes):
                    with suppress(Empty):
                        results.get(timeout=0.05)  # a lane may wait for space
                ahead.close()

    def _lane(self, tasks: "_Shared", options: ProcessOptions, stopped: threading.Event) -> Iterator[Done | Part]:
        """The results of this lane's files. A batch runs when it is full, or when no file is left.

        No file is started while the batch is full. So few films are in progress, each of which has a worker process.
        """
        waiting: list[_InProgress] = []
        try:
            while not stopped.is_set():
                if sum(len(file.step.pixels) for file in waiting) < self._batch and (task := tasks.take()):
                    yield from _advance(_InProgress(task, process(task, options)), None, waiting)
                elif waiting:
                    files, waiting = waiting, []
                    yield from self._embed(files, waiting)
                else:
                    return
        finally:
            for file in waiting:
                file.steps.close()

    def _embed(self, files: list[_InProgress], waiting: list[_InProgress]) -> Iterator[Done | Part]:
        """Give the files their vectors. Pictures come first: they are done then, while a film decodes more frames."""
        files = sorted(files, key=lambda file: len(file.step.pixels))
        since = time.perf_counter()
        with self._stopwatch.measure("embed"):
            vectors = self._encoder.encode_pixels(np.concatenate([file.step.pixels for file in files]))
        seconds = (time.perf_counter() - since) / len(vectors)
        for file, part in zip(files, np.split(vectors, np.cumsum([len(file.step.pixels) for file in files])[:-1]), strict=True):
            file.seconds += seconds * len(part)
            if file.step.share:
                yield Part(file.task, file.step.share, file.seconds)
            yield from _advance(file, part, waiting)


class _Shared:
    """Tasks that several threads take, one at a time."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks, self._lock = iter(tasks), threading.Lock()

    def take(self) -> Task | None:
        """The next task; None if all were taken."""
        with self._lock:
            return next(self._tasks, None)


def _advance(file: _InProgress, vectors: Vectors | None, waiting: list[_InProgress]) -> Iterator[Done]:
    """Go on with a file. If it is not done then, it goes to `waiting`."""
    file.advance(vectors)
    if file.result is None:
        waiting.append(file)
    else:
        yield Done(file.task, Unfinished(file.task) if has_changed(file.task.file) else file.result, file.seconds)


def _until_none(results: "Queue[_Message]", on_part: Callable[[Part], None]) -> Iterator[Done]:
    while (result := results.get()) is not None:
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, Part):
            on_part(result)
        else:
            yield result
