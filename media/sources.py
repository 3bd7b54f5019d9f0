"""Finds media files and reads their bytes: in local folders so far. An object store would be a class with the same methods."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes:
        uri: absolute path or address.
        size_bytes: size of the file.
        mtime: time of the last change, in seconds since 1970.
        revision: changes with the bytes of the file or of its sidecars, also where a program resets `mtime`; empty if unknown.
        sidecars: the files beside it that describe it, such as `IMG_1.jpg.xmp`.
    """

    uri: str
    size_bytes: int
    mtime: float
    revision: str = ""
    sidecars: tuple[str, ...] = ()


class Source:
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


def source_of(path: str | os.PathLike[str]) -> Source:
    """The source that a path or address belongs to."""
    return Source()
