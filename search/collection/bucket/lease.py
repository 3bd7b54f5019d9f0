"""The lease of the one writer of a collection in a bucket: an object that names it and that it renews while it lives.

It only saves work. That no version is lost does not depend on it: the pointer is replaced on condition, too.
"""

import json
import os
import secrets
import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime

from media.sources.remote.faults import ChangedError
from search.collection.bucket.objects import Objects, Stored
from search.errors import CollectionError, LockedError

LEASE = "writer.json"
EXPIRES_SECONDS = 120.0
_RENEWED_SECONDS = 30.0


class Lease:
    """`take` it, and `give_back` it.

    Args:
        objects: the objects of the collection.
        copy_id: the id of the working copy, of which this process holds the lock. A lease of the same copy is of a process that died.
    """

    def __init__(self, objects: Objects, copy_id: str) -> None:
        self._objects, self._copy_id = objects, copy_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._etag = ""
        self.is_lost = False

    def take(self) -> None:
        """Raises LockedError if another writer has it, and CollectionError if the storage cannot keep writers apart."""
        there = self._objects.read(LEASE)
        if there is not None and not self._is_free(there):
            raise self._locked(there)
        try:
            self._etag = self._objects.write(LEASE, self._note(), instead_of=there.etag if there else None)
        except ChangedError:
            raise self._locked(self._objects.read(LEASE)) from None
        self._check_conditions()
        self._thread.start()

    def give_back(self) -> None:
        """Let others write at once. If the bucket cannot be reached, the lease expires."""
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            there = self._objects.read(LEASE)
            if there is not None and there.etag == self._etag:
                self._objects.delete([LEASE])

    def _renew(self) -> None:
        """Write the note anew from time to time. A network that fails is tried again; another writer ends it."""
        while not self._stop.wait(_RENEWED_SECONDS):
            try:
                self._etag = self._objects.write(LEASE, self._note(), instead_of=self._etag)
            except ChangedError:
                self.is_lost = True
                return
            except OSError:
                continue

    def _note(self) -> bytes:
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": self._since, "copy": self._copy_id, "id": secrets.token_hex(8)}
        return json.dumps(note).encode()

    def _is_free(self, there: Stored) -> bool:
        return there.age_seconds > EXPIRES_SECONDS or _read(there).get("copy") == self._copy_id

    def _locked(self, there: Stored | None) -> LockedError:
        note = _read(there) if there else {}
        who = f"process {note.get('pid')} on {note.get('host')}, since {note.get('since')}," if note else "another process"
        wait = f"Wait for it to finish. If it was killed, its claim ends {EXPIRES_SECONDS:.0f} seconds after its last sign of life."
        return LockedError(f"{self._objects.address}: {who} is writing to it. {wait}")

    def _check_conditions(self) -> None:
        """Raises CollectionError if the storage ignores the condition of a write."""
        try:
            self._objects.write(LEASE, self._note(), instead_of=None)
        except ChangedError:
            return
        self._objects.delete([LEASE])
        raise CollectionError(
            f"{self._objects.address}: this storage ignores conditional writes (If-None-Match), so two writers could destroy each other's "
            "work. Use another one for the collection. Pictures may lie there."
        )


def _read(there: Stored) -> dict[str, object]:
    try:
        note = json.loads(there.data)
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}
