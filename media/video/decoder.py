"""Decodes videos in worker processes, because a decoder may crash or hang on a broken file.

decord is tried first, because it is fast on sparse frames. If it cannot open a video or crashes, PyAV continues from the frame where
decord stopped.
"""

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, cast, get_args

from media.errors import MediaError
from media.metadata import Metadata
from media.video.messages import Backend, Request, VideoFrame
from media.video.sampling import SECONDS_BETWEEN_FRAMES
from media.video.worker_process import WorkerProcess

_MAX_IDLE = os.cpu_count() or 1


@dataclass(frozen=True)
class Video:
    """An open video: its metadata, always with `width`, `height` and `duration_seconds`, and its frames in order of time.

    `frames` can be iterated once. It raises MediaError if decoding fails.
    """

    metadata: Metadata
    frames: Iterator[VideoFrame]
    cuts: tuple[float, ...] = ()


class VideoDecoder:
    """Decodes videos. Several threads may call `open` at once: each gets a worker process, which is reused afterwards.

    Use it in a `with`, or `close` it.

    Args:
        limit_seconds: a worker that sends no frame for this long is killed.
        seconds_between: seconds between sampled frames, see `sample_times`; infinity gives 16 frames of any video.
    """

    def __init__(self, *, limit_seconds: float = 60.0, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> None:
        self._limit_seconds, self._seconds_between = limit_seconds, seconds_between
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def open(self, path: str | os.PathLike[str], *, start: int = 0, length: int | None = None) -> Iterator[Video]:
        """Open a video and give its metadata and its sampled frames. The block may end before all frames are read.

        Raises:
            MediaError: not a video, or neither library can decode a frame (the message gives both reasons). Raised here or while frames
                are read.
            RuntimeError: the decoder is closed, or was closed meanwhile.
        """
        name = os.fspath(path)
        if start:  # a stub until films are opened by ranges
            import tempfile
            from pathlib import Path

            with tempfile.NamedTemporaryFile(suffix=".mp4") as part, Path(name).open("rb") as whole:
                whole.seek(start)
                part.write(whole.read(-1 if length is None else length))
                part.flush()
                with self.open(part.name) as video:
                    yield video
            return
        with closing(self._read(name)) as replies:
            yield Video(cast("Metadata", next(replies)), cast("Iterator[VideoFrame]", replies))

    def close(self) -> None:
        """End all worker processes."""
        with self._lock:
            self._closed = True
            for worker in self._busy:  # the thread that uses it closes it
                worker.kill()
            while self._idle:
                self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, path: str) -> Generator[dict[str, Any] | VideoFrame]:
        """The metadata once, then the frames. If the first library fails, the second continues."""
        reasons: list[str] = []
        sent = 0  # the metadata and the frames that the caller already has
        for backend in get_args(Backend):
            request = Request(path, backend, max(0, sent - 1), self._seconds_between)
            try:
                for reply in islice(self._answer(request), min(sent, 1), None):
                    sent += 1
                    yield reply
                if sent > 1:
                    return
                reasons.append(f"{backend}: no frame")
            except MediaError as error:
                if error.stage == "probe":
                    raise
                reasons.append(error.reason)
        if sent < 2:
            raise MediaError("decode", "; ".join(reasons))

    def _answer(self, request: Request) -> Iterator[dict[str, Any] | VideoFrame]:
        """Send a request to a worker. The worker is reused, unless it crashed, hangs, or its caller stopped reading a video early."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the video decoder is closed")
            worker = self._idle.pop() if self._idle else WorkerProcess()
            if not worker.is_alive():
                worker.close()
                worker = WorkerProcess()
            self._busy.add(worker)
        try:
            yield from worker.answer(request, self._limit_seconds)
        except MediaError:
            if self._closed:
                raise RuntimeError("the video decoder was closed while it decoded") from None
            raise
        finally:
            with self._lock:
                self._busy.remove(worker)
                reuse = worker.ready and not self._closed and len(self._idle) < _MAX_IDLE
                if reuse:
                    self._idle.append(worker)
            if not reuse:
                worker.close()
