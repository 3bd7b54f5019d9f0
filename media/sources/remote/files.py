"""The source of files in buckets and on web servers.

A version of a file is told by its ETag, or by size and time where there is none. Everything that is read is of one version.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, cast

from media.formats import kind_of
from media.hashing import sha256_of_bytes, sha256_of_stream
from media.sources.addresses import parse_address, scheme_of
from media.sources.remote.faults import attempt
from media.sources.remote.ranges import LEAST, RangeFile
from media.sources.remote.store import Entry, NoRangesError, Store
from media.sources.sidecars import is_sidecar, sidecars_of
from media.sources.source import SourceFile

_POINTER = "coca-search-collection.json"  # of a collection that lies in a bucket, see `search.collection.bucket`
_OF_COLLECTIONS = {_POINTER, "collection.json"}
_LISTED_AT_ONCE = 8
_BUFFER = 1 << 16
_WHOLE_PICTURE = 1 << 24  # bytes of a picture that are read in one request
_IN_MEMORY = 1 << 24  # of a file from a server that sends only whole files


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
        return _file(attempt(uri, lambda: self._store.head(uri)), ())

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the file is still the version that `file` tells of. Its sidecars are not asked for."""
        now = self.stat(file.uri)
        return (now.size_bytes, _etag(now)) == (file.size_bytes, _etag(file))

    def walk(self, folder: str, *, wanted: Callable[[str], bool], on_unreadable: Callable[[str], None]) -> Iterator[SourceFile]:
        """All files below `folder` with a wanted name, in a fixed order. Folders that cannot be listed are reported and skipped."""
        pool = ThreadPoolExecutor(_LISTED_AT_ONCE)
        try:
            seen = {folder}
            levels = [(folder, pool.submit(self._level, folder, wanted))]
            while levels:
                each, level = levels.pop()
                try:
                    entries = level.result()
                except OSError:
                    on_unreadable(each)
                    continue
                yield from _files(entries, wanted)
                below = sorted({entry.uri for entry in entries if entry.is_folder} - seen, reverse=True)
                seen.update(below)
                levels += [(uri, pool.submit(self._level, uri, wanted)) for uri in below]
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
        return sha256_of_bytes(f"{now.size_bytes} {_etag(now)} {uri if is_web else ''}".encode())

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

    def _level(self, folder: str, wanted: Callable[[str], bool]) -> Sequence[Entry]:
        """The entries of one folder that count; none if it is a collection."""

        def counts(name: str) -> bool:
            return name in _OF_COLLECTIONS or (not _is_hidden(name) and (wanted(name) or is_sidecar(name)))

        entries = [entry for entry in self._store.entries(folder, counts) if not _is_hidden(_name(entry))]
        names = {_name(entry) for entry in entries}
        return [] if _POINTER in names or {"collection.json", "segments.lance"} <= names else entries


def _files(entries: Sequence[Entry], wanted: Callable[[str], bool]) -> Iterator[SourceFile]:
    """The wanted files of one folder, each with its sidecars."""
    by_name = {_name(entry): entry for entry in entries if not entry.is_folder}
    sidecars = sidecars_of(by_name)
    for name in sorted(by_name):
        if wanted(name):
            yield _file(by_name[name], [by_name[sidecar] for sidecar in sidecars.get(name, ())])


def _file(entry: Entry, sidecars: Sequence[Entry]) -> SourceFile:
    revisions = [each.etag or f"{each.size_bytes}-{each.mtime}" for each in (entry, *sidecars)]
    return SourceFile(entry.uri, entry.size_bytes, entry.mtime, " ".join(revisions), tuple(each.uri for each in sidecars))


def _etag(file: SourceFile) -> str:
    """The part of a revision that is about the file; the others are about its sidecars."""
    return file.revision.partition(" ")[0]


def _name(entry: Entry) -> str:
    return entry.uri.rpartition("/")[2]


def _is_hidden(name: str) -> bool:
    """Whether a name starts with a dot. In a bucket, `.` and `..` are names as any other."""
    return name.startswith(".") and name not in {".", ".."}
