"""Embeds the frames of several files together, so that the model runs on full batches.

Each file in progress has a thread, but only some of them work at once. A thread that waits for its vectors lets another one work.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class _Request:
    """Pixels that wait for their vectors."""

    pixels: Pixels
    vectors: "Future[Vectors]" = field(default_factory=Future)


class BatchingEmbedder:
    """Runs the model on a separate thread. A batch runs when it is full, or when every file in progress waits for it.

    Args:
        encode: pixels uint8 (N, H, W, 3) to float32 (N, E).
        batch: frames that are encoded together.
        workers: files that are read and decoded at once.
    """

    def __init__(self, encode: Callable[[Pixels], Vectors], *, batch: int, workers: int) -> None:
        self._encode, self._batch = encode, batch
        self._slots = threading.Semaphore(workers)
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._num_files = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextmanager
    def file(self) -> Iterator[None]:
        """Process one file in the block. Waits while `workers` other files are being read or decoded."""
        with self._changed:
            self._num_files += 1
        try:
            with self._slots:
                yield
        finally:
            with self._changed:
                self._num_files -= 1
                self._changed.notify()

    def embed(self, pixels: Pixels) -> Vectors:
        """Pixels uint8 (N, H, W, 3) to float32 (N, E). Call it within `file()`; another file may work meanwhile.

        Raises:
            CancelledError: the embedder was closed. Any error of the model.
        """
        request = _Request(pixels)
        with self._changed:
            if self._closed:
                request.vectors.cancel()
            self._waiting.append(request)
            self._changed.notify()
        self._slots.release()
        try:
            return request.vectors.result()
        finally:
            self._slots.acquire()

    def close(self) -> None:
        """Stop. Waiting frames are not embedded."""
        with self._changed:
            self._closed = True
            for request in self._waiting:
                request.vectors.cancel()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while requests := self._next_batch():
            try:
                vectors = self._encode(np.concatenate([request.pixels for request in requests]))
            except BaseException as error:  # raised again in the threads that wait
                for request in requests:
                    request.vectors.set_exception(error)
                continue
            ends = np.cumsum([len(request.pixels) for request in requests])
            for request, part in zip(requests, np.split(vectors, ends[:-1]), strict=True):
                request.vectors.set_result(part)

    def _next_batch(self) -> list[_Request]:
        """The requests of the next batch; none when the embedder is closed."""
        with self._changed:
            self._changed.wait_for(self._is_due)
            if self._closed:
                return []
            chosen = [self._waiting.pop(0)]
            num_frames = len(chosen[0].pixels)
            while self._waiting and num_frames + len(self._waiting[0].pixels) <= self._batch:
                chosen.append(self._waiting.pop(0))
                num_frames += len(chosen[-1].pixels)
            return chosen

    def _is_due(self) -> bool:
        num_frames = sum(len(request.pixels) for request in self._waiting)
        return self._closed or num_frames >= self._batch or 0 < len(self._waiting) == self._num_files
