"""Decodes videos in worker processes, because a decoder may crash or hang on a broken file.

If it does so after the first frames, these are kept, and the film is marked as damaged.
"""

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, cast

from media.errors import MediaError
from media.video.messages import End, Request, VideoFrame
from media.video.worker_process import WorkerProcess

_MAX_IDLE = os.cpu_count() or 1


@dataclass
class Video:
    """An open video.

    Attributes:
        metadata: always with `width`, `height` and `duration_seconds`. When all frames were read, the duration is exact, and `damaged` is
            True if a part could not be decoded.
        frames: sampled frames in order of time; can be iterated once. Raises MediaError if no frame can be decoded.
        cuts: when all frames were read: the seconds at which a new shot starts suddenly, rising. Empty if the samples are uniform.
    """

    metadata: dict[str, Any]
    frames: Iterator[VideoFrame]
    cuts: list[float] = field(default_factory=list)


class VideoDecoder:
    """Decodes videos. Several threads may call `open` at once: each gets a worker process, which is reused afterwards.

    Use it in a `with`, or `close` it.

    Args:
        limit_seconds: a worker that sends no frame for this long is killed.
        seconds_between: exact seconds between sampled frames, infinite for 16 frames of any video. By default about
            a second, at key frames where these are dense, which takes much less time.
    """

    def __init__(self, *, limit_seconds: float = 60.0, seconds_between: float | None = None) -> None:
        self._limit_seconds, self._seconds_between = limit_seconds, seconds_between
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def open(self, path: str | os.PathLike[str], *, start: int = 0, length: int | None = None) -> Iterator[Video]:
        """Open a video and give its metadata and its sampled frames. The block may end before all frames are read.

        Args:
            path: a path, or an address that `media.sources` can open.
            start: first byte of the film, if it is a part of the file.
            length: bytes of the film; by default all that follow.

        Raises:
            MediaError: not a video, or no frame can be decoded.
            RuntimeError: the decoder is closed, or was closed meanwhile.
        """
        request = Request(os.fspath(path), start, length, self._seconds_between)
        with closing(self._answer(request)) as replies:
            video = Video(cast("dict[str, Any]", next(replies)), iter(()))
            video.frames = _frames(replies, video)
            yield video

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

    def _answer(self, request: Request) -> Generator[dict[str, Any] | VideoFrame | End]:
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


def _frames(replies: Iterator[dict[str, Any] | VideoFrame | End], video: Video) -> Iterator[VideoFrame]:
    """The frames; at their end, what is then known of the film is added to `video`."""
    num_frames = 0
    try:
        for reply in replies:
            if isinstance(reply, End):
                video.metadata |= reply.metadata
                video.cuts.extend(reply.cuts)
                return
            num_frames += 1
            yield cast("VideoFrame", reply)
    except MediaError as error:
        if not num_frames or error.stage == "read":
            raise
        video.metadata["damaged"] = True
