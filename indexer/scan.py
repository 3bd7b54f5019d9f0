"""Folders and files to the list of media in them, in a fixed order."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from indexer.errors import SourceError
from media.formats import Kind as MediaType
from media.formats import format_of, suffixes
from search.writer import Failure

__all__ = ["IMAGE_SUFFIXES", "VIDEO_SUFFIXES", "FoundFile", "MediaType", "Scan", "media_type", "scan"]

IMAGE_SUFFIXES, VIDEO_SUFFIXES = suffixes("image"), suffixes("video")


@dataclass(frozen=True)
class FoundFile:
    """A picture or video on disk; `uri` is its absolute path."""

    uri: str
    type: MediaType
    size_bytes: int
    mtime: float


@dataclass(frozen=True)
class Scan:
    """What was found below `roots`, by uri; `unreadable` are folders that could not be listed, `problems` files that could not be named."""

    roots: tuple[str, ...]
    files: dict[str, FoundFile]
    unreadable: tuple[str, ...] = ()
    problems: tuple[Failure, ...] = ()

    def covers(self, uri: str) -> bool:
        """Whether a file of this uri would have been found: it lies below a root and not below an unreadable folder."""
        return any(_is_below(uri, root) for root in self.roots) and not any(_is_below(uri, folder) for folder in self.unreadable)


@dataclass
class _Walk:
    files: dict[str, FoundFile] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    problems: list[Failure] = field(default_factory=list)


def scan(paths: Sequence[str | os.PathLike[str]]) -> Scan:
    """Find the pictures and videos below `paths`. Hidden files and the folders of collections are passed over.

    A path that is a link is followed, so that a folder under two names is one folder; linked folders below it are not.

    Raises:
        SourceError: a path is not there, or there is nothing to index below any of them.
    """
    walk, roots = _Walk(), tuple(os.path.realpath(path) for path in paths)
    for root in roots:
        if not os.path.exists(root):
            raise SourceError(f"{root}: no such file or folder. Give a folder of pictures and videos, or a file.")
        if os.path.isdir(root):
            for entry in _entries(root, walk):
                with contextlib.suppress(OSError):  # gone since it was listed
                    _add(entry.path, entry.stat(), walk)
        elif media_type(root) is None:
            raise SourceError(f"{root}: neither a picture nor a video. Known: {' '.join(sorted(suffixes()))}.")
        else:
            _add(root, os.stat(root), walk)
    if not walk.files:
        raise SourceError(f"{', '.join(roots)}: no pictures or videos there. Nothing was changed; give a folder that holds some.")
    return Scan(roots, dict(sorted(walk.files.items())), tuple(walk.unreadable), tuple(walk.problems))


def _entries(folder: str, walk: _Walk) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        walk.unreadable.append(folder)
        return
    names = {entry.name for entry in entries}
    if {"collection.json", "segments.lance"} <= names:
        return  # a collection: its thumbnails are not the user's pictures
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, walk)
        elif media_type(entry.name) is not None and _is_file(entry):
            yield entry


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself, or a file system that went away
        return False


def _add(path: str, status: os.stat_result, walk: _Walk) -> None:
    kind = media_type(path)
    assert kind is not None
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        reason = "the file's name is not valid UTF-8; rename it"
        walk.problems.append(Failure(shown, status.st_size, status.st_mtime, "scan", reason))
        return
    walk.files[path] = FoundFile(path, kind, status.st_size, status.st_mtime)


def media_type(path: str | os.PathLike[str]) -> MediaType | None:
    """What the ending of a name says it is; None for neither a picture nor a video."""
    known = format_of(path)
    return None if known is None else known.kind


def _is_below(uri: str, root: str) -> bool:
    return uri == root or uri.startswith(root.rstrip(os.sep) + os.sep)
