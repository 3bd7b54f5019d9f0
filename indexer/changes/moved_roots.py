"""Recognises an indexed folder that was renamed or mounted elsewhere, by what is in it. Its rows move with it.

A root has moved if its files are gone from where they were, and nearly all of them lie, with the same paths and sizes, below another
folder. A few are hashed to be sure. A copy is no move: the files are still where they were. Nor is a part of a copy: not enough files are
there.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexer.changes.hashes import hash_files
from indexer.scan import Scan
from media.file_names import unescape
from media.sources.choose import source_of
from search.collection import Identity, KnownFile

_NEARLY_ALL = 0.9  # of the files of a root
_SURE = 0.5  # enough, if they are the same files on the same disk, by inode and change time
_LOOKED_FOR = 20  # files by which to see whether a root is still there
_HASHED = 8
_MOST_PLACES = 3  # that are looked at for one root


@dataclass(frozen=True)
class Move:
    """A root, the folder where it was, and where it is."""

    root_id: str
    old: str
    new: str
    num_files: int


def find_moved_roots(scan: Scan, known: Mapping[str, KnownFile], identity: Identity) -> list[Move]:
    """The roots that are found at another place now, the surest first. Roots inside them move with them."""
    new = [uri for uri in scan.files if uri not in known]
    by_root: dict[str, list[KnownFile]] = defaultdict(list)
    for file in known.values() if new else ():
        by_root[file.root_id].append(file)
    found = [
        (share, root_id, place)
        for root_id, files in by_root.items()
        if root_id in identity.roots and _is_gone(files, scan, identity)
        for place in _places(files, new, scan)
        if (share := _share_at(place, files, scan))
    ]
    waiting = [(root_id, place) for _, root_id, place in sorted(found, key=lambda each: (-each[0], identity.roots[each[1]]))]
    moves: list[Move] = []
    while possible := [each for each in waiting if each[1] not in identity.roots.values()]:  # a root may make room for another
        root_id, place = possible[0]
        waiting.remove(possible[0])
        if _is_gone(by_root[root_id], scan, identity):  # an outer root may have moved it already
            moves.append(Move(root_id, identity.roots[root_id], place, len(by_root[root_id])))
            identity = identity.move_root(root_id, place)
    return moves


def _is_gone(files: Sequence[KnownFile], scan: Scan, identity: Identity) -> bool:
    """Whether nearly all files of a root are gone. Looks for a few of them. A link at its old place leads to where it is now."""
    folder = identity.roots[files[0].root_id]
    if source_of(folder).resolve(folder) != folder:
        return True
    uris = [identity.uri_of(file.root_id, file.path) for file in files[:: max(1, len(files) // _LOOKED_FOR)]]
    there = sum(uri in scan.files or (not scan.covers(uri) and _size(uri) is not None) for uri in uris)
    return there <= len(uris) * (1 - _NEARLY_ALL)


def _places(files: Sequence[KnownFile], new: Sequence[str], scan: Scan) -> list[str]:
    """Folders in which a root may lie now, the likeliest first: those below which new files have the paths and sizes of its files."""
    by_name: dict[tuple[str, int], list[str]] = defaultdict(list)
    for file in files:
        path = unescape(file.path)
        by_name[os.path.basename(path), file.size_bytes].append(path)  # noqa: PTH119
    votes: Counter[str] = Counter()
    for uri in new:
        for path in by_name.get((os.path.basename(uri), scan.files[uri].size_bytes), ()):  # noqa: PTH119
            if uri.endswith("/" + path):
                votes[uri[: -len(path) - 1] or "/"] += 1
    return [place for place, _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))[:_MOST_PLACES]]


def _share_at(place: str, files: Sequence[KnownFile], scan: Scan) -> float:
    """The share of the files of a root that lie in a folder now; 0 if there are too few to say that the root has moved there."""
    uris = {f"{place.rstrip('/')}/{unescape(file.path)}": file for file in files}
    there = [uri for uri, file in uris.items() if (scan.files[uri].size_bytes if uri in scan.files else _size(uri)) == file.size_bytes]
    share = len(there) / len(files)
    if share < _NEARLY_ALL:
        num_same = sum(uri in scan.files and scan.files[uri].revision == uris[uri].revision for uri in there)
        return share if num_same >= _SURE * len(files) else 0.0
    there.sort(key=lambda uri: (uris[uri].size_bytes, uri))
    chosen = there[:: max(1, len(there) // _HASHED)][:_HASHED]
    hashes = hash_files(chosen)
    return share if 2 * sum(hashes.get(uri) == uris[uri].sha256 for uri in chosen) > len(chosen) else 0.0


def _size(uri: str) -> int | None:
    """The size of a file; None if it does not exist. -1 if its folder cannot be read."""
    try:
        return source_of(uri).stat(uri).size_bytes
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return -1
