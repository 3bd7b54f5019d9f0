"""The interface of a source: finds files, tells whether they changed, and reads their bytes."""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Protocol

from media.sources.addresses import is_address

_LARGEST_SIDECAR = 1 << 26  # bytes; they are read whole


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


@dataclass(frozen=True)
class Link:
    """A link to a file or folder. `file` is the file under the name of the link; None for a folder."""

    uri: str
    target: str
    file: SourceFile | None = None


@dataclass
class Visit:
    """What a walk looks at, and what it met beside the files that it gave.

    Attributes:
        wants: whether a file may be a picture or film, by its path or address.
        enters: whether to look into a folder, by its path or address.
        stays: whether to look further into a folder, by its path and the names in it.
        on_unwanted: told of each visible file that is not wanted.
        unreadable: folders that could not be listed and files that could not be looked at, with the reason.
        links: links to files and folders. A walk does not follow them.
        broken_links: links to nothing and to themselves.
        walked: the folders that were looked into.
        mounts: folders below that are on another device.
        num_special: wanted names that are no files, such as pipes. They are never opened.
        num_hidden: hidden folders, and hidden files that are wanted.
    """

    wants: Callable[[str], bool]
    enters: Callable[[str], bool] = lambda folder: True
    stays: Callable[[str, Collection[str]], bool] = lambda folder, names: True
    on_unwanted: Callable[[str], None] = lambda file: None
    unreadable: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    broken_links: list[str] = field(default_factory=list)
    walked: set[str] = field(default_factory=set)
    mounts: list[str] = field(default_factory=list)
    num_special: int = 0
    num_hidden: int = 0


class Source(Protocol):
    """A place with files. Every method raises OSError if the place cannot be reached."""

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """The one absolute path or address of a file, so that two names of it give one uri."""

    def is_folder(self, uri: str) -> bool:
        """Whether `uri` is a folder. Raises FileNotFoundError if it does not exist."""

    def stat(self, uri: str) -> SourceFile:
        """Size, time and revision of a file, without its sidecars."""

    def is_unchanged(self, file: SourceFile) -> bool:
        """Whether the bytes of a file are still of the version that `file` tells of. Raises FileNotFoundError if it is gone."""

    def names(self, folder: str) -> Sequence[str]:
        """The names of the files and folders in a folder."""

    def walk(self, folder: str, visit: Visit) -> Iterator[SourceFile]:
        """All files below `folder` that `visit` wants, with their sidecars. What cannot be read is noted in `visit`."""

    def read(self, uri: str) -> bytes:
        """All bytes of a file."""

    def open(self, uri: str) -> BinaryIO:
        """A file for reading parts of it: seekable, closed by the caller."""

    def sha256(self, uri: str, file: BinaryIO) -> str:
        """SHA-256 of the bytes of an open file. That of a film elsewhere is made from its revision: to read it would download it."""


def with_sidecars(file: SourceFile, sidecars: Sequence[SourceFile]) -> SourceFile:
    """A file with its sidecars. Its revision changes with their names, sizes, times and revisions.

    The revisions on this machine are a part of their own, because they also change when a drive is mounted again.
    """
    sidecars = [each for each in sidecars if each.size_bytes <= _LARGEST_SIDECAR]
    if not sidecars:
        return file
    state = [(os.path.basename(each.uri), *_version(each)) for each in sidecars]  # noqa: PTH119 - or an address
    file = with_part(replace(file, sidecars=tuple(each.uri for each in sidecars)), "s", state)
    return file if is_address(file.uri) else with_part(file, "r", [each.revision for each in sidecars])


def with_part(file: SourceFile, part: str, state: object) -> SourceFile:
    """A file whose revision has one more part, which changes with `state`. A revision is `BYTES+sDIGEST+rDIGEST+mDIGEST`."""
    digest = hashlib.blake2b(repr(state).encode(), digest_size=8).hexdigest()
    return replace(file, revision=f"{file.revision}+{part}{digest}")


def _version(sidecar: SourceFile) -> tuple[object, ...]:
    """The revision of a file of this machine changes when a drive is mounted again."""
    return (sidecar.revision,) if is_address(sidecar.uri) else (sidecar.size_bytes, sidecar.mtime)
