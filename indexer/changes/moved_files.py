"""Finds files that were indexed under another name: their rows move, and nothing is embedded again."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from indexer.changes.compare import inode_of, is_described_anew, with_other_sidecars
from indexer.changes.hashes import OnCheck, hash_files
from media.sources.choose import source_of
from media.sources.source import SourceFile
from search.collection import KnownFile

_Place = tuple[str, int, float]  # inode, size and time of a file


def find_moved(
    new: Sequence[SourceFile],
    known: Mapping[str, KnownFile],
    lost: Collection[str],
    elsewhere: Collection[str],
    on_check: OnCheck | None = None,
) -> dict[str, str]:
    """The old uri of each new file that has the bytes of an indexed one.

    Args:
        new: files that are not indexed under their name.
        known: the indexed files by uri.
        lost: indexed files that are gone.
        elsewhere: indexed files that the scan did not look for. One of them is taken only if it is gone and the new file has its inode,
            because its folder may just be absent; or if it is a link to the new file.
        on_check: called with two counts while files are hashed.
    """
    by_bytes: dict[tuple[int, str], list[str]] = defaultdict(list)
    for uri in lost:
        if uri in known:
            by_bytes[known[uri].size_bytes, known[uri].sha256].append(uri)
    sizes = {size for size, _ in by_bytes}
    by_place = {place: uri for uri in elsewhere if (place := _place(known[uri]))} if new else {}
    same_place = {file.uri: old for file in new if (old := by_place.get(_place(file) or ("", 0, 0.0))) and _is_now(old, file.uri)}
    hashes = hash_files([file.uri for file in new if file.size_bytes in sizes or file.uri in same_place], on_check)
    moved: dict[str, str] = {}
    for file in new:
        sha256, old = hashes.get(file.uri, ""), same_place.get(file.uri)
        candidates = by_bytes.get((file.size_bytes, sha256), [])
        if candidates:
            name = os.path.basename(file.uri)  # noqa: PTH119 - or an address
            candidates.sort(key=lambda uri: os.path.basename(uri) != name)  # noqa: PTH119
            moved[file.uri] = candidates.pop(0)
        elif old and known[old].sha256 == sha256 and old not in moved.values():
            moved[file.uri] = old
    return moved


def is_only_renamed(before: KnownFile, found: SourceFile) -> bool:
    """Whether nothing new is said of a file that moved. Its sidecars may have been renamed with it."""
    if not is_described_anew(before.revision, found.revision):
        return True
    name, old = (os.path.splitext(os.path.basename(uri))[0] for uri in (found.uri, before.uri))  # noqa: PTH119, PTH122 - or an address
    try:
        sidecars = [source_of(uri).stat(uri) for uri in found.sidecars]
    except OSError:
        return False
    renamed = [replace(each, uri=old + os.path.basename(each.uri).removeprefix(name)) for each in sidecars]  # noqa: PTH119
    return not is_described_anew(before.revision, with_other_sidecars(found, renamed).revision)


def _place(file: KnownFile | SourceFile) -> _Place | None:
    inode = inode_of(file.revision)
    return (inode, file.size_bytes, file.mtime) if inode else None


def _is_now(old: str, new: str) -> bool:
    """Whether nothing is under the old name, or a link to the new one."""
    source = source_of(old)
    try:
        source.stat(old)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return source.resolve(old) == new
