"""Videos to frames, through worker processes that may crash or hang without harm.

decord goes first, because it is fast on sparse frames. What it cannot open, and what kills it, goes to PyAV from the frame
where decord stopped.
"""

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast, get_args

from media.errors import MediaError
from media.metadata import Metadata
from media.video.messages import Backend, End, Request, VideoFrame
from media.video.sampling import SECONDS_BETWEEN_FRAMES
from media.video.worker_process import WorkerProcess

_MAX_IDLE = os.cpu_count() or 1


@dataclass(frozen=True)
class Video:
    """An open video: its metadata (`width`, `height` and `duration_seconds` are always there), and its frames in order of time.

    `frames` can be iterated once, and raises MediaError where decoding fails.
    """

    metadata: Metadata
    frames: Iterator[VideoFrame]


class VideoDecoder:
    """Decodes videos, several at once if several threads call `open`: each has a worker process, which is reused afterwards.

    Use it in a `with`, or `close` it.

    Args:
        limit_seconds: how long a worker may go without a frame before it is killed.
        seconds_between: how far the sampled frames are apart, see `sample_times`; infinity for 16 frames of any video.
    """

    def __init__(self, *, limit_seconds: float = 60.0, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> None:
        self._limit_seconds, self._seconds_between = limit_seconds, seconds_between
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[Video]:
        """Open a video and give its metadata and its sampled frames. Leaving the block early is fine.

        Raises:
            MediaError: not a video, or neither library gets a frame out of it (the reasons of both are given); here or while
                frames are read.
            RuntimeError: the decoder is closed, or was closed meanwhile.
        """
        with closing(self._read(os.fspath(path))) as replies:
            yield Video(cast("Metadata", next(replies)), cast("Iterator[VideoFrame]", replies))

    def close(self) -> None:
        """End all worker processes."""
        with self._lock:
            self._closed = True
            for worker in self._busy:  # the thread that uses it frees it
                worker.kill()
            while self._idle:
                self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self, path: str) -> Generator[dict[str, Any] | VideoFrame]:
        """The metadata once, then the frames, from the second library where the first one stops."""
        reasons: list[str] = []
        seen, has_metadata = 0, False
        for backend in get_args(Backend):
            try:
                for reply in self._replies(Request(path, backend, seen, self._seconds_between)):
                    if isinstance(reply, VideoFrame):
                        seen += 1
                        yield reply
                    elif not has_metadata:
                        has_metadata = True
                        yield reply
                if seen:
                    return
                reasons.append(f"{backend}: no frame")
            except MediaError as error:
                if error.stage == "probe":
                    raise
                reasons.append(error.reason)
        if not seen:
            raise MediaError("decode", "; ".join(reasons))

    def _replies(self, request: Request) -> Iterator[dict[str, Any] | VideoFrame]:
        worker = self._take_worker()
        finished = False
        try:
            worker.ask(request)
            while not isinstance(reply := worker.receive(self._limit_seconds), End):
                yield reply
            finished = True
            if reply.reason:
                raise MediaError(reply.stage, reply.reason)
        except EOFError:
            if self._closed:
                raise RuntimeError("the video decoder was closed while it decoded") from None
            raise MediaError("decode", f"{request.backend}: the decoder crashed ({worker.exit_status()})") from None
        except TimeoutError:
            raise MediaError("decode", f"{request.backend}: no frame within {self._limit_seconds:g} seconds") from None
        finally:
            self._give_back(worker, reuse=finished)

    def _take_worker(self) -> WorkerProcess:
        with self._lock:
            if self._closed:
                raise RuntimeError("the video decoder is closed")
            idle = self._idle.pop() if self._idle else None
            if idle is not None and not idle.is_alive():
                idle.close()
                idle = None
            worker = idle or WorkerProcess()
            self._busy.add(worker)
            return worker

    def _give_back(self, worker: WorkerProcess, *, reuse: bool) -> None:
        """Keep a worker for the next video, unless it crashed, is stuck, or is in the middle of a video that its caller left."""
        with self._lock:
            self._busy.remove(worker)
            if reuse and not self._closed and len(self._idle) < _MAX_IDLE:
                self._idle.append(worker)
                return
        worker.close()
