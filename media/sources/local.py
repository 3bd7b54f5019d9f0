"""Folders of this machine."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from media.hashing import sha256_of_stream
from media.sources.source import SourceFile


class LocalFolders:
    """Folders of this machine. Skips hidden files, and folders of collections, because their thumbnails are not the user's pictures."""

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """The absolute path without links, so that two names of a folder give one path."""
        return os.path.realpath(path)

    def is_folder(self, uri: str) -> bool:
        """Whether `uri` is a folder. Raises FileNotFoundError if it does not exist."""
        if not os.path.exists(uri):
            raise FileNotFoundError(uri)
        return os.path.isdir(uri)

    def stat(self, uri: str) -> SourceFile:
        """Size and time of a file. Raises OSError."""
        status = os.stat(uri)
        return SourceFile(uri, status.st_size, status.st_mtime)

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether size and time of a file are as in `file`. Raises OSError."""
        now = self.stat(file.uri)
        return (now.size_bytes, now.mtime) == (file.size_bytes, file.mtime)

    def walk(self, folder: str, *, wanted: Callable[[str], bool], on_unreadable: Callable[[str], None]) -> Iterator[SourceFile]:
        """All files below `folder` with a wanted name, in a fixed order.

        Folders that cannot be listed are reported and skipped. Links to folders are not followed.
        """
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            on_unreadable(folder)
            return
        if {"collection.json", "segments.lance"} <= {entry.name for entry in entries}:
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self.walk(entry.path, wanted=wanted, on_unreadable=on_unreadable)
            elif wanted(entry.name):
                with suppress(OSError):  # a link to itself, or a file that was just removed
                    if entry.is_file():
                        yield self.stat(entry.path)

    def read(self, uri: str) -> bytes:
        """All bytes of a file. Raises OSError."""
        return Path(uri).read_bytes()

    def open(self, uri: str) -> BinaryIO:
        """A file for reading parts of it. Raises OSError."""
        return Path(uri).open("rb")

    def sha256(self, uri: str, file: BinaryIO) -> str:
        """SHA-256 of the bytes of an open file. Raises OSError."""
        return sha256_of_stream(file)
