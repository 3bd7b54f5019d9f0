"""Folders and files to the list of media in them, in a fixed order."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.errors import SourceError
from media.formats import format_of, suffixes
from media.sources.choose import source_of
from media.sources.source import Source, SourceFile


@dataclass(frozen=True)
class Problem:
    """A file that cannot be indexed because of its name."""

    file: SourceFile
    reason: str


@dataclass(frozen=True)
class Scan:
    """What was found below `paths`.

    Attributes:
        paths: the folders and files that were scanned, resolved.
        folders: the folders among them, and the parent folders of the files: the roots of a collection.
        files: pictures and videos by uri.
        unreadable: folders that could not be listed.
        problems: files whose name cannot be stored.
    """

    paths: tuple[str, ...]
    folders: tuple[str, ...]
    files: dict[str, SourceFile]
    unreadable: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def scan(paths: Sequence[str | os.PathLike[str]]) -> Scan:
    """Find the pictures and videos below `paths`.

    Raises:
        SourceError: a path does not exist, or there is nothing to index below any of them.
    """
    found: list[SourceFile] = []
    unreadable: list[str] = []
    resolved, folders = [], []
    for path in paths:
        source = source_of(path)
        uri = source.resolve(path)
        if not _is_utf8(uri):
            raise SourceError(f"{_shown(uri)}: the name is not valid UTF-8. Rename it, or give a folder above it.")
        resolved.append(uri)
        if _is_folder(source, uri):
            folders.append(uri)
            found += source.walk(uri, wanted=_is_media, on_unreadable=unreadable.append)
        elif not _is_media(uri):
            raise SourceError(f"{uri}: neither a picture nor a video. Known suffixes: {' '.join(sorted(suffixes()))}.")
        else:
            folders.append(os.path.dirname(uri))  # noqa: PTH120 - it may be an address
            found.append(source.stat(uri))
    files = {file.uri: file for file in sorted(found, key=lambda file: file.uri) if _is_utf8(file.uri)}
    problems = [_unnamed(file) for file in found if not _is_utf8(file.uri)]
    if not files:
        raise SourceError(f"{', '.join(resolved)}: no pictures or videos found. Nothing was changed. Give a folder that contains some.")
    return Scan(tuple(resolved), tuple(folders), files, tuple(unreadable), tuple(problems))


def _is_folder(source: Source, uri: str) -> bool:
    try:
        return source.is_folder(uri)
    except FileNotFoundError:
        moved = "If an indexed folder was moved, see: coca-search roots"
        raise SourceError(f"{uri}: no such file or folder. Give a folder of pictures and videos, or a file. {moved}") from None


def _is_media(name: str) -> bool:
    return format_of(name) is not None


def _is_utf8(uri: str) -> bool:
    try:
        uri.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unnamed(file: SourceFile) -> Problem:
    return Problem(SourceFile(_shown(file.uri), file.size_bytes, file.mtime), "The name of the file is not valid UTF-8. Rename it.")


def _shown(uri: str) -> str:
    return os.fsencode(uri).decode(errors="backslashreplace")
