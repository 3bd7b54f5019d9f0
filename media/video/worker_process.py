"""The parent's handle of one worker process."""

import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

from media.video.messages import Reply, Request, receive, send

# `-P` and this program take `media` from beside this file and nothing from the current directory, whatever lies there, and do not
# put the folder of all packages before the standard library, as PYTHONPATH would. multiprocessing.Process is no choice: fork is
# unsafe beside the threads of torch, and spawn runs the user's script again.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); import media; del sys.path[0]\n"
    "from media.video import worker; worker.main(int(sys.argv[2]))"
)
_ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """A process that decodes one video at a time. For POSIX systems: it inherits its end of a socket."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            command = (sys.executable, "-P", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno()))
            quiet = subprocess.DEVNULL  # libraries print what users need not see
            self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=quiet, stdout=quiet, stderr=quiet)

    def ask(self, request: Request) -> None:
        """Send a request. Raises EOFError if the process is gone."""
        try:
            send(self._connection, request)
        except OSError:
            raise EOFError from None

    def receive(self, limit_seconds: float) -> Reply:
        """The next reply. Raises TimeoutError if none comes in time, EOFError if the process is gone."""
        if not self._connection.poll(limit_seconds):
            raise TimeoutError
        try:
            reply: Reply = receive(self._connection)
        except OSError:
            raise EOFError from None
        return reply

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def exit_status(self) -> str:
        """How a process ended whose connection is broken: its signal or exit status."""
        code = self._process.wait(timeout=10)
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def kill(self) -> None:
        """End the process. Safe while another thread waits for a reply, which then gets EOFError."""
        self._process.kill()

    def close(self) -> None:
        """End the process and free what it holds here."""
        self.kill()
        self._process.wait()
        self._connection.close()
