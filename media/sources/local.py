"""Folders of this machine."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from media.hashing import sha256_of_stream
from media.sources.sidecars import is_sidecar, sidecars_of
from media.sources.source import Link, SourceFile, Visit, with_sidecars

# The files of a collection that lies among the pictures: its thumbnails are not the user's pictures.
_OF_A_COLLECTION = {
    "collection.json",
    "segments.lance",
    "failures.lance",
    "thumbnails",
    "snapshots",
    "current",
    "writer.lock",
    "writer.json",
}
_BROKEN = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}
Entries = Mapping[str, "os.DirEntry[str]"]


class LocalFolders:
    """Folders of this machine. A walk skips hidden files and the files of collections."""

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """The absolute path without links, so that two names of a folder give one path. An empty path is none, not the folder here."""
        if not os.fspath(path):
            raise FileNotFoundError(errno.ENOENT, "An empty path")
        return os.path.realpath(path)

    def is_folder(self, uri: str) -> bool:
        """Whether `uri` is a folder. Raises OSError if it is no file either; FileNotFoundError if it does not exist."""
        mode = os.stat(uri).st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Neither a file nor a folder", uri)
        return stat.S_ISDIR(mode)

    def stat(self, uri: str) -> SourceFile:
        """Size, time and revision of a file. Raises OSError, also for pipes and devices: to open one may take for ever."""
        status = os.stat(uri)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a file", uri)
        return _source_file(uri, status)

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether size and time of a file are as in `file`. Raises OSError."""
        now = self.stat(file.uri)
        return (now.size_bytes, now.mtime) == (file.size_bytes, file.mtime)

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder. Raises OSError."""
        return os.listdir(folder)

    def walk(self, folder: str, visit: Visit) -> Iterator[SourceFile]:
        """All files below `folder` that `visit` wants, in a fixed order."""
        waiting: list[tuple[str, int | None]] = [(folder, None)]  # folders may be nested more deeply than calls
        while waiting:
            here, device_above = waiting.pop()
            try:
                device = os.stat(here).st_dev
                entries = _entries(here)
            except OSError as error:
                visit.unreadable[here] = error.strerror or str(error)
                continue
            if device_above is not None:
                if not visit.stays(here, entries.keys()):
                    continue
                if device != device_above:
                    visit.mounts.append(here)
            visit.walked.add(here)
            folders, files = _look(entries, visit)
            yield from files
            waiting += [(each, device) for each in reversed(folders)]

    def read(self, uri: str) -> bytes:
        """All bytes of a file. Raises OSError."""
        return Path(uri).read_bytes()

    def open(self, uri: str) -> BinaryIO:
        """A file for reading parts of it. Raises OSError."""
        return Path(uri).open("rb")

    def sha256(self, uri: str, file: BinaryIO) -> str:
        """SHA-256 of the bytes of an open file. Raises OSError."""
        return sha256_of_stream(file)


def _entries(folder: str) -> Entries:
    with os.scandir(folder) as found:
        entries = {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}
    if {"collection.json", "segments.lance"} <= entries.keys():
        return {name: entry for name, entry in entries.items() if name not in _OF_A_COLLECTION}
    return entries


def _look(entries: Entries, visit: Visit) -> tuple[list[str], list[SourceFile]]:
    """The folders to enter, and the wanted files, among the entries of a folder."""
    folders: list[str] = []
    files: list[SourceFile] = []
    beside = sidecars_of(entries) if any(map(is_sidecar, entries)) else {}
    for name, entry in entries.items():
        try:
            if name.startswith("."):
                visit.num_hidden += entry.is_dir(follow_symlinks=False) or visit.wants(entry.path)
            elif entry.is_symlink():
                _note_link(entry, [entries[each] for each in beside.get(name, ())], visit)
            elif entry.is_dir(follow_symlinks=False):
                if visit.enters(entry.path):
                    folders.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                visit.num_special += visit.wants(entry.path)
            elif visit.wants(entry.path):
                files.append(_with_sidecars(entry, entry.stat(), [entries[each] for each in beside.get(name, ())]))
            else:
                visit.on_unwanted(entry.path)
        except FileNotFoundError:
            pass  # it was removed meanwhile
        except OSError as error:
            visit.unreadable[entry.path] = error.strerror or str(error)
    return folders, files


def _note_link(entry: "os.DirEntry[str]", sidecars: "Sequence[os.DirEntry[str]]", visit: Visit) -> None:
    is_wanted = visit.wants(entry.path)
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        if is_wanted or "." not in entry.name:
            visit.broken_links.append(entry.path)
        return
    if stat.S_ISDIR(status.st_mode):
        if visit.enters(entry.path):
            visit.links.append(Link(entry.path, os.path.realpath(entry.path)))
    elif not stat.S_ISREG(status.st_mode):
        visit.num_special += is_wanted
    elif is_wanted:
        visit.links.append(Link(entry.path, os.path.realpath(entry.path), _with_sidecars(entry, status, sidecars)))
    else:
        visit.on_unwanted(entry.path)


def _with_sidecars(entry: "os.DirEntry[str]", status: os.stat_result, sidecars: "Sequence[os.DirEntry[str]]") -> SourceFile:
    beside: list[SourceFile] = []
    for each in sidecars:
        with suppress(OSError):  # a link to nothing
            if each.is_file():
                beside.append(_source_file(each.path, each.stat()))
    return with_sidecars(_source_file(entry.path, status), beside)


def _source_file(uri: str, status: os.stat_result) -> SourceFile:
    return SourceFile(uri, status.st_size, status.st_mtime, f"{status.st_ctime_ns}-{status.st_ino}")
