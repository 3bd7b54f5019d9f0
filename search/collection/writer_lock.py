"""The lock of a collection: one writer at a time, also of one in a bucket, and a note of who it is."""

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from media.atomic_write import atomic_write
from search.collection.bucket import place
from search.collection.generations.folders import is_outdated
from search.collection.publish import WRITER_LOCK
from search.errors import LockedError


class WriterLock:
    """The lock of the one writer of a collection, with a note of who holds it. Use it in a `with`; raises LockedError.

    A writer that is killed leaves its note, so the next one knows that it `was_interrupted`.
    """

    was_interrupted = False

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, FileLock(path / WRITER_LOCK)

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LockedError(f"{place.shown(self.path)}: {self._owner()} is writing to it. Wait for it to finish.") from None
        try:
            if is_outdated(self.path):
                raise LockedError(f"{place.shown(self.path)}: it was just made anew with another model. Run the command again.")
            place.begin(self.path)
        except BaseException:
            self._lock.release()
            raise
        try:
            note = self.path / "writer.json"
            self.was_interrupted = note.exists()
            since = datetime.now(UTC).isoformat(timespec="seconds")
            atomic_write(note, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        except BaseException:
            self.release(has_failed=True, keeps_note=True)
            raise

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """A holder that is no `CollectionWriter` removes nothing that a killed writer left, so the note stays for the next one."""
        self.release(has_failed=kind is not None, keeps_note=self.was_interrupted)

    def release(self, *, has_failed: bool, keeps_note: bool = False) -> None:
        """Release the lock. If the note stays, the next writer removes what this one left."""
        try:
            place.end(self.path, has_failed=has_failed)
        finally:
            if not keeps_note:
                with suppress(OSError):  # a full or removed disk
                    (self.path / "writer.json").unlink(missing_ok=True)
            self._lock.release()

    def _owner(self) -> str:
        try:
            owner = json.loads((self.path / "writer.json").read_text())
            return f"process {owner['pid']} on {owner['host']}, since {owner['since']},"
        except (OSError, ValueError, KeyError):
            return "another process"
