"""Runs `process` on threads of this machine. Another executor takes the same tasks and gives the same results."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext

from coca_model import Encoder
from indexer.batching import BatchingEmbedder, Pixels, Vectors
from indexer.plan import Task
from indexer.process import ProcessOptions, process
from indexer.stopwatch import Stopwatch
from indexer.unfinished import Unfinished, has_changed
from media import VideoDecoder
from media.formats import kind_of
from search.collection import Failure, FileRows

Result = FileRows | Failure | Unfinished


class LocalExecutor:
    """Processes files on threads.

    Args:
        encoder: the model.
        workers: files that are read and decoded at once.
        batch: frames that are embedded together.
        video_limit_seconds: how long a video may go without a frame before it is given up.
        stopwatch: counts seconds by stage.
    """

    def __init__(
        self, encoder: Encoder, *, workers: int, batch: int, video_limit_seconds: float, stopwatch: Stopwatch | None = None
    ) -> None:
        self._encoder, self._workers, self._batch = encoder, workers, batch
        self._video_limit_seconds = video_limit_seconds
        self._stopwatch = stopwatch or Stopwatch()
        self._video_slots = threading.Semaphore(workers)  # each open video needs a process

    def run(self, tasks: Sequence[Task], *, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Result]:
        """The result of each task, as soon as it is done. Memory is bounded. After `should_stop`, only files in progress are finished."""
        embedder = BatchingEmbedder(self._encode, batch=self._batch, workers=self._workers)
        num_threads = self._batch + self._workers
        remaining = iter(tasks)
        pending: set[Future[Result]] = set()
        pool = ThreadPoolExecutor(num_threads)
        videos = VideoDecoder(limit_seconds=self._video_limit_seconds)
        options = ProcessOptions(self._encoder.preprocess, embedder.embed, videos, self._encoder.min_side, self._stopwatch)
        try:
            while True:
                if should_stop():
                    remaining = iter(())
                    pending = {future for future in pending if not future.cancel()}
                while len(pending) < 2 * num_threads and (task := next(remaining, None)) is not None:
                    pending.add(pool.submit(self._process, task, options, embedder))
                if not pending:
                    return
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            embedder.close()
            videos.close()
            pool.shutdown()

    def _process(self, task: Task, options: ProcessOptions, embedder: BatchingEmbedder) -> Result:
        with self._video_slots if kind_of(task.file.uri) == "video" else nullcontext(), embedder.file():
            result = process(task, options)
        return Unfinished(task) if has_changed(task.file) else result

    def _encode(self, pixels: Pixels) -> Vectors:
        with self._stopwatch.measure("embed"):
            return self._encoder.encode_pixels(pixels)
