"""The working copy of a collection in a bucket: a folder of this machine that is brought to the newest version, and pushed back.

In the bucket, files are named by their content and never overwritten, and one write of the pointer switches to a new version. So readers
see the old version or the new one, wherever a writer is killed.
"""

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from media.atomic_write import PARTIAL
from media.hashing import sha256_of_file
from media.sources.remote.faults import ChangedError
from search.collection.bucket.contents import POINTER, Contents
from search.collection.bucket.lease import Lease
from search.collection.bucket.objects import Objects
from search.collection.bucket.state import MARKER, File, State, for_each, read_state, size_and_time, write_state
from search.collection.bucket.thumbnails import FOLDER, REMOVED, BucketThumbnails
from search.errors import CollectionError, LockedError

_LOCK = ".pull.lock"
_OF_THIS_MACHINE = {MARKER, REMOVED, _LOCK, FOLDER, "writer.lock", "writer.json"}
_LAST = ("collection.json", "current")  # what readers of this machine look at: replaced after everything else
_PULLS = 5  # a reader that is slower than a writer starts again
_KEPT_SECONDS = 3600.0  # how long a reader may take to download a version that was replaced
_WAIT_SECONDS = 600.0
_WITHOUT_NETWORK_SECONDS = 60.0  # how long no reader tries again


class WorkingCopy:
    """The working copy in `folder` of the collection at `address`. Methods raise OSError if the bucket cannot be reached."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self._objects = Objects(address)
        self.thumbnails = BucketThumbnails(folder, self._objects)
        self._lock = FileLock(folder / _LOCK)
        self._lease: Lease | None = None
        self._checked = float("-inf")

    @property
    def has_collection(self) -> bool:
        """Whether a version of the collection is here."""
        return (self.folder / "collection.json").exists()

    def pull(self, *, at_most_every: float = 0.0) -> None:
        """Bring the copy to the newest version. If a process of this machine writes to it or pulls, it is left to that one."""
        if at_most_every and time.monotonic() - self._checked < at_most_every:
            return
        self._checked = time.monotonic() + _WITHOUT_NETWORK_SECONDS
        try:
            with FileLock(self.folder / _LOCK, timeout=0 if self.has_collection else _WAIT_SECONDS):
                self._pull()
        except Timeout:
            if not self.has_collection:
                raise self._busy() from None
        self._checked = time.monotonic()

    def begin(self) -> None:
        """Become the one writer: take the lease, and bring the copy to the newest version. Raises LockedError."""
        try:
            self._lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            raise self._busy() from None
        try:
            lease = Lease(self._objects, self._state().copy_id)
            lease.take()
            self._lease = lease
            self._pull()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Let others write."""
        lease, self._lease = self._lease, None
        try:
            if lease is not None:
                lease.give_back()
        finally:
            self._lock.release()

    def push(self) -> None:
        """Make this copy the newest version of the collection. Raises LockedError if another writer took over."""
        state = self._state()
        files = {path: self._described(path, state) for path in self._paths()}
        thumbnails = self.thumbnails.new()
        if thumbnails or files != state.files:
            there = dict(self._objects.names("files/"))
            missing = {sha256: path for path, (sha256, *_) in files.items() if sha256 not in there}
            for_each(lambda item: self._objects.upload(self.folder / item[1], f"files/{item[0]}"), missing.items())
            self.thumbnails.upload(thumbnails)
            write_state(self.folder, replace(state, etag=self._switch(state, files), files=files))
            named = {sha256 for sha256, *_ in files.values()}
            self._objects.delete(f"files/{name}" for name, age in there.items() if name not in named and age > _KEPT_SECONDS)
        self.thumbnails.delete_removed()

    def _pull(self) -> None:
        state = self._state()
        for _ in range(_PULLS):
            there = self._objects.read(POINTER)
            if (there.etag if there else "") == state.etag:
                return  # nobody else wrote: what is new here was not pushed yet, and stays
            contents = Contents.from_json(there.data, self.address) if there else Contents()
            with suppress(FileNotFoundError):  # a newer version replaced it meanwhile
                files = self._download(contents, state)
                self._remove_all_but(files)
                write_state(self.folder, replace(state, etag=there.etag if there else "", files=files))
                return
        raise CollectionError(f"{self.address}: it changes faster than it can be read. Try again later.")

    def _download(self, contents: Contents, state: State) -> dict[str, File]:
        """Download what this copy lacks. Raises FileNotFoundError."""

        def download(path: str) -> None:
            file, sha256 = self.folder / path, contents.files[path][0]
            file.parent.mkdir(parents=True, exist_ok=True)
            self._objects.download(f"files/{sha256}", file, sha256)

        lacking = [path for path, (sha256, _) in contents.files.items() if not self._has(path, sha256, state)]
        for_each(download, (path for path in lacking if path not in _LAST))
        for path in _LAST:
            if path in lacking:
                download(path)
        return {path: (sha256, *self._size_and_time(path)) for path, (sha256, _) in contents.files.items()}

    def _has(self, path: str, sha256: str, state: State) -> bool:
        known = state.files.get(path)
        return known is not None and known[0] == sha256 and known[1:] == size_and_time(self.folder / path)

    def _described(self, path: str, state: State) -> File:
        known, now = state.files.get(path), self._size_and_time(path)
        return known if known is not None and known[1:] == now else (sha256_of_file(self.folder / path), *now)

    def _size_and_time(self, path: str) -> tuple[int, int]:
        found = size_and_time(self.folder / path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def _switch(self, state: State, files: Mapping[str, File]) -> str:
        """Write the pointer, unless another writer did. Returns its ETag."""
        contents = Contents({path: (sha256, size) for path, (sha256, size, _) in files.items()}, secrets.token_hex(8))
        try:
            if self._lease is not None and self._lease.is_lost:
                raise ChangedError
            return self._objects.write(POINTER, contents.to_json(), instead_of=state.etag or None)
        except ChangedError:
            why = "another writer took over, because this one gave no sign of life. What this run did is not in the collection."
            raise LockedError(f"{self.address}: {why} Run the command again.") from None

    def _remove_all_but(self, files: Mapping[str, File]) -> None:
        for path in self._paths():
            if path not in files:
                (self.folder / path).unlink(missing_ok=True)
        for folder, _, _ in os.walk(self.folder, topdown=False):
            with suppress(OSError):  # it is not empty
                Path(folder).rmdir()
        self.thumbnails.forget_removed()

    def _paths(self) -> list[str]:
        """The files of the collection here, except thumbnails."""
        found = (Path(folder, name).relative_to(self.folder) for folder, _, names in os.walk(self.folder) for name in names)
        mine = (path for path in found if path.parts[0] not in _OF_THIS_MACHINE)
        return sorted(path.as_posix() for path in mine if not any(part.endswith(PARTIAL) for part in path.parts))

    def _busy(self) -> LockedError:
        return LockedError(f"{self.address}: another process of this machine has been downloading it for long. Wait for it to finish.")

    def _state(self) -> State:
        return read_state(self.folder) or State(self.address)
