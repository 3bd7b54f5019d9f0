"""Videos to frames, through a worker process that may crash or hang without harm.

decord first, because it is fast on sparse frames; what it cannot open, and what kills it, goes to PyAV from the frame
where decord stopped. A worker that makes no progress within the time limit is killed.
"""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

from indexer.errors import MediaError
from indexer.sample import SECONDS_BETWEEN_FRAMES
from indexer.video_protocol import Backend, End, Facts, FrameReply, Reply, Request, receive, send

_QUEUE = 8  # replies that wait for the embedder; more would only fill memory
BACKENDS: tuple[Backend, ...] = ("decord", "pyav")


class VideoDecoder:
    """Decodes one video at a time; `limit_seconds` is how long the worker may go without a frame."""

    def __init__(
        self, *, limit_seconds: float = 60.0, seconds_between: float = SECONDS_BETWEEN_FRAMES, command: tuple[str, ...] | None = None
    ) -> None:
        self._limit_seconds, self._seconds_between = limit_seconds, seconds_between
        self._command = command or (sys.executable, "-m", "indexer.video_worker")
        self._worker: _Worker | None = None

    def frames(self, path: str) -> Iterator[Facts | FrameReply]:
        """What the video is, then its sampled frames in order of time.

        Raises:
            MediaError: neither library gets a frame out of it; the reasons of both are given.
        """
        reasons: list[str] = []
        seen, told = 0, False
        for backend in BACKENDS:
            try:
                for reply in self._replies(Request(path, backend, seen, self._seconds_between)):
                    if isinstance(reply, FrameReply):
                        seen += 1
                        yield reply
                    elif not told:
                        told = True
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

    def close(self) -> None:
        """End the worker process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _replies(self, request: Request) -> Iterator[Facts | FrameReply]:
        if self._worker is None:
            self._worker = _Worker(self._command)
        finished = False
        try:
            self._worker.ask(request)
            while not isinstance(reply := self._worker.next(self._limit_seconds), End):
                yield reply
            finished = True
            if reply.reason:
                raise MediaError(reply.stage, reply.reason)
        except EOFError:
            raise MediaError("decode", f"{request.backend}: the decoder crashed ({self._worker.exit_status()})") from None
        except TimeoutError:
            raise MediaError("decode", f"{request.backend}: no frame within {self._limit_seconds:g} seconds") from None
        finally:
            if not finished:  # crashed, stuck, or left by the caller in the middle: the next video gets a fresh worker
                self.close()


class _Worker:
    """The process, and a thread that reads its replies so that waiting for one can have a time limit."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._queue: queue.Queue[Reply | None] = queue.Queue(_QUEUE)
        self._stopped = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, request: Request) -> None:
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, request)
        except OSError:
            raise EOFError from None

    def next(self, limit_seconds: float) -> Reply:
        try:
            reply = self._queue.get(timeout=limit_seconds)
        except queue.Empty:
            raise TimeoutError from None
        if reply is None:
            raise EOFError
        return reply

    def exit_status(self) -> str:
        code = self._process.wait(timeout=10)
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        self._stopped.set()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while not self._stopped.is_set():
                self._put(receive(self._process.stdout))
        except Exception:  # the pipe broke, or what came through it makes no sense: either way the worker is lost
            self._put(None)

    def _put(self, reply: Reply | None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(reply, timeout=0.2)
                return
            except queue.Full:
                continue
