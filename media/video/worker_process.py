"""The parent's handle of one worker process."""

import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from media.errors import MediaError
from media.video.messages import End, Request, VideoFrame

# With `-P` and this program, the worker imports `media` from our folder and nothing from the current directory. PYTHONPATH would put
# that folder before the standard library. multiprocessing.Process does not fit: fork is unsafe beside the threads of torch,
# and spawn runs the user's script again.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); import media; del sys.path[0]\n"
    "from media.video import worker; worker.main(int(sys.argv[2]))"
)
_ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """A process that decodes one video at a time. Works on POSIX systems only, because it inherits a socket.

    `ready` is False while it decodes, and stays False if it crashed, hangs, or its caller left a video early.
    """

    def __init__(self) -> None:
        self.ready = True
        self._connection, theirs = Pipe()
        with theirs:
            command = (sys.executable, "-P", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno()))
            quiet = subprocess.DEVNULL  # hides what the libraries print
            # A process group of its own keeps the terminal's Ctrl-C from it: a film in progress is finished.
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=quiet, stdout=quiet, stderr=quiet, process_group=0)

    def answer(self, request: Request, limit_seconds: float) -> Iterator[dict[str, Any] | VideoFrame | End]:
        """The metadata, the frames and the end. Raises MediaError, also if the process crashes or is silent for `limit_seconds`."""
        self.ready = False
        try:
            self._connection.send(request)
            while self._connection.poll(limit_seconds):
                reply = self._connection.recv()
                self.ready = isinstance(reply, End | MediaError)
                if isinstance(reply, MediaError):
                    raise reply
                yield reply
                if self.ready:
                    return
        except (EOFError, OSError):
            raise MediaError("decode", f"the decoder crashed ({self.exit_status()})") from None
        raise MediaError("decode", f"the decoder gave no frame within {limit_seconds:g} seconds")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def exit_status(self) -> str:
        """The signal or exit status of a process whose connection broke."""
        code = self._process.wait(timeout=10)
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """End the process. Safe while another thread waits for a reply: that thread then gets a MediaError."""
        self._process.kill()

    def close(self) -> None:
        """End the process and close the connection to it."""
        self.kill()
        self._process.wait()
        self._connection.close()
