"""The source of files in buckets and on web servers.

A version of a file is told by its ETag, or by size and time where there is none. Everything that is read is of one version.
"""

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from media.formats import kind_of
from media.hashing import sha256_of_bytes, sha256_of_stream
from media.sources.addresses import parse_address, scheme_of
from media.sources.remote.faults import attempt
from media.sources.remote.ranges import LEAST, RangeFile
from media.sources.remote.store import Entry, NoRangesError, Store
from media.sources.sidecars import is_sidecar, sidecars_of
from media.sources.source import SourceFile, Visit, with_sidecars

_POINTER = "coca-search-collection.json"  # of a collection that lies in a bucket, see `search.collection.bucket`
_LISTED_AT_ONCE = 8
_BUFFER = 1 << 16
_WHOLE_PICTURE = 1 << 24  # bytes of a picture that are read in one request
_IN_MEMORY = 1 << 24  # of a file from a server that sends only whole files


@dataclass(frozen=True)
class _Listing:
    """The names in a folder, and what is known of the folders and wanted files among them."""

    names: list[str]
    entries: list[Entry]


class RemoteFiles:
    """The files of a store. Skips hidden files, and folders of collections."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """The one form of the address. Raises OSError for an address with a secret in it."""
        return parse_address(path)

    def is_folder(self, uri: str) -> bool:
        """Whether there is something below the address. Raises FileNotFoundError if nothing is there or below."""
        if attempt(uri, lambda: self._store.is_folder(uri)):
            return True
        attempt(uri, lambda: self._store.head(uri))
        return False

    def stat(self, uri: str) -> SourceFile:
        """A file, without its sidecars."""
        return _file(attempt(uri, lambda: self._store.head(uri)))

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the file is still the version that `file` tells of. Its sidecars are not asked for."""
        now = self.stat(file.uri)
        return now.size_bytes == file.size_bytes and f"{file.revision}+".startswith(f"{now.revision}+")

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder. No file is wanted, so a web server is not asked for each."""
        return self._list(folder, None).names

    def walk(self, folder: str, visit: Visit) -> Iterator[SourceFile]:
        """All files below `folder` that `visit` wants, in a fixed order. Some folders are listed at once."""
        pool = ThreadPoolExecutor(_LISTED_AT_ONCE)
        try:
            seen = {folder}
            waiting = [(folder, pool.submit(self._list, folder, visit))]
            while waiting:
                here, listing = waiting.pop()
                try:
                    found = listing.result()
                except OSError as error:
                    visit.unreadable[here] = error.strerror or str(error)
                    continue
                if here != folder and not visit.stays(here, found.names):
                    continue
                visit.walked.add(here)
                visit.unreadable |= {entry.uri: entry.fault for entry in found.entries if entry.fault and not is_sidecar(entry.uri)}
                yield from _files(here, found, visit)
                below = sorted(set(_folders(found, visit)) - seen, reverse=True)
                seen.update(below)
                waiting += [(uri, pool.submit(self._list, uri, visit)) for uri in below]
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, uri: str) -> bytes:
        """All bytes of one version of a file."""
        buffer = io.BytesIO()
        attempt(uri, lambda: self._copy(uri, buffer))
        return buffer.getvalue()

    def open(self, uri: str) -> BinaryIO:
        """A file for reading parts of it. Raises ChangedError, also later, if it is replaced meanwhile."""
        length = _WHOLE_PICTURE if kind_of(uri) == "image" else LEAST
        try:
            entry, head = attempt(uri, lambda: self._store.start(uri, length))
        except NoRangesError:
            return self._whole(uri)

        def get(start: int, stop: int) -> bytes:
            return attempt(uri, lambda: self._store.get_range(entry, start, stop))

        return cast("BinaryIO", io.BufferedReader(RangeFile(get, entry.size_bytes, head), _BUFFER))

    def sha256(self, uri: str, file: BinaryIO) -> str:
        """SHA-256 of the bytes of a picture. That of a film is made from its version: to read it would download it."""
        if kind_of(uri) != "video":
            return sha256_of_stream(file)
        now, is_web = self.stat(uri), scheme_of(uri) in {"http", "https"}  # ETags of web servers may be the same for two files
        return sha256_of_bytes(f"{now.size_bytes} {now.revision} {uri if is_web else ''}".encode())

    def _whole(self, uri: str) -> BinaryIO:
        file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - the caller closes it
        try:
            attempt(uri, lambda: self._copy(uri, file))
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _copy(self, uri: str, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        self._store.copy(uri, file)

    def _list(self, folder: str, visit: Visit | None) -> _Listing:
        """One folder, with the files that are wanted and their sidecars; nothing if it is a collection."""
        names: list[str] = []

        def counts(name: str) -> bool:
            names.append(name)
            return visit is not None and not _is_hidden(name) and (is_sidecar(name) or visit.wants(f"{folder}/{name}"))

        entries = list(self._store.entries(folder, counts))
        names += [_name(entry) for entry in entries if entry.is_folder]
        is_collection = _POINTER in names or {"collection.json", "segments.lance"} <= set(names)
        return _Listing([], []) if is_collection else _Listing(names, entries)


def _folders(found: _Listing, visit: Visit) -> Iterator[str]:
    """The folders to enter."""
    for entry in found.entries:
        if entry.is_folder and _is_hidden(_name(entry)):
            visit.num_hidden += 1
        elif entry.is_folder and visit.enters(entry.uri):
            yield entry.uri


def _files(folder: str, found: _Listing, visit: Visit) -> Iterator[SourceFile]:
    """The wanted files of one folder, each with its sidecars."""
    by_name = {_name(entry): entry for entry in found.entries if not entry.is_folder and not entry.fault}
    sidecars = sidecars_of(by_name)
    others = {_name(entry) for entry in found.entries if entry.is_folder or entry.fault}
    for name in sorted({*found.names} - (others - by_name.keys())):
        uri = f"{folder}/{name}"
        if _is_hidden(name):
            visit.num_hidden += visit.wants(uri)
        elif name in by_name and visit.wants(uri):
            yield with_sidecars(_file(by_name[name]), [_file(by_name[each]) for each in sidecars.get(name, ())])
        else:
            visit.on_unwanted(uri)


def _file(entry: Entry) -> SourceFile:
    return SourceFile(entry.uri, entry.size_bytes, entry.mtime, entry.etag or f"{entry.size_bytes}-{entry.mtime}")


def _name(entry: Entry) -> str:
    return entry.uri.rpartition("/")[2]


def _is_hidden(name: str) -> bool:
    """Whether a name starts with a dot. In a bucket, `.` and `..` are names as any other."""
    return name.startswith(".") and name not in {".", ".."}
