"""The interface of a source: finds files, tells whether they changed, and reads their bytes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


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


class Source(Protocol):
    """A place with files. Every method raises OSError if the place cannot be reached."""

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """The one absolute path or address of a file, so that two names of it give one uri."""

    def is_folder(self, uri: str) -> bool:
        """Whether `uri` is a folder. Raises FileNotFoundError if it does not exist."""

    def stat(self, uri: str) -> SourceFile:
        """Size and time of a file."""

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether a file is still the version that `file` tells of, for example after it was read. Raises FileNotFoundError."""

    def walk(self, folder: str, *, wanted: Callable[[str], bool], on_unreadable: Callable[[str], None]) -> Iterator[SourceFile]:
        """All files below `folder` with a wanted name, in a fixed order. Folders that cannot be listed are reported and skipped."""

    def read(self, uri: str) -> bytes:
        """All bytes of a file."""

    def open(self, uri: str) -> BinaryIO:
        """A file for reading parts of it: seekable, closed by the caller."""

    def sha256(self, uri: str, file: BinaryIO) -> str:
        """SHA-256 of the bytes of an open file. That of a film elsewhere is made from its revision: to read it would download it."""
