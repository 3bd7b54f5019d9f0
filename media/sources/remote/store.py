"""The interface of a store: what a protocol must offer, so that its files can be indexed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class Entry:
    """A file or folder of a store.

    Attributes:
        uri: its address. That of a folder does not end with a slash.
        is_folder: whether there is something below it.
        size_bytes: size of the file.
        mtime: time of the last change, in seconds since 1970; 0 if unknown.
        etag: changes with the bytes; empty if the server has none.
        fault: why nothing is known of the file; empty if all is well.
    """

    uri: str
    is_folder: bool = False
    size_bytes: int = 0
    mtime: float = 0.0
    etag: str = ""
    fault: str = ""


class NoRangesError(Exception):
    """The server sends only whole files."""


class Store(Protocol):
    """Files by address. Methods raise what the library of the protocol raises; `media.sources.remote.faults` makes sentences of it."""

    def entries(self, folder: str, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """The folders in a folder, and the files whose name is wanted, also those with a fault. Nothing if there is no such folder."""

    def is_folder(self, uri: str) -> bool:
        """Whether there is a folder of this address."""

    def head(self, uri: str) -> Entry:
        """A file. Raises FileNotFoundError if there is none."""

    def copy(self, uri: str, file: BinaryIO) -> None:
        """Write all bytes of one version of a file into `file`."""

    def start(self, uri: str, length: int) -> tuple[Entry, bytes]:
        """A file and its first bytes, in one request if possible. Raises FileNotFoundError, NoRangesError."""

    def get_range(self, entry: Entry, start: int, stop: int) -> bytes:
        """Some bytes of this version of a file. Raises ChangedError if there is another now, or NoRangesError."""
