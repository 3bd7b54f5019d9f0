"""Lists, moves and removes roots: the folders that were indexed."""

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from media.sources.addresses import is_address
from media.sources.choose import source_of
from search.collection.bucket.place import local_folder
from search.collection.identity import Identity, write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable, quoted
from search.collection.publish import publish
from search.collection.reader import open_collection
from search.collection.snapshot import Snapshot
from search.collection.thumbnails import remove_thumbnails
from search.collection.writer_lock import WriterLock
from search.errors import QueryError

_AT_ONCE = 16  # files that are asked for


@dataclass(frozen=True)
class RootState:
    """A root, and whether its files are there. An absent root is missing, or another folder or an empty one where files were."""

    root_id: str
    folder: str
    num_files: int
    is_absent: bool


def list_roots(snapshot: Snapshot) -> list[RootState]:
    """All roots of a collection."""
    num_files = snapshot.files_by_root()
    states = []
    for root_id, folder in snapshot.identity.roots.items():
        count = num_files.get(root_id, 0)
        is_absent = count > 0 and _is_absent(root_id, snapshot.identity, partial(_files_of, root_id, snapshot))
        states.append(RootState(root_id, folder, count, is_absent))
    return states


def absent_roots(identity: Identity, files: Mapping[str, Collection[str]]) -> set[str]:
    """The ids of the roots that are absent, by their indexed files. A root without files is none of them."""
    return {each for each in identity.roots if files.get(each) and _is_absent(each, identity, partial(files.__getitem__, each))}


def _is_absent(root_id: str, identity: Identity, files: Callable[[], Collection[str]]) -> bool:
    """Whether a folder is missing, empty, or another one with less than half of the files. An address is not asked."""
    folder = identity.roots[root_id]
    if is_address(folder):
        return False
    if is_missing_or_empty(folder):
        return True
    if not is_another_folder(root_id, identity):
        return False
    uris = files()
    return 2 * sum(map(_exists, uris)) < len(uris)


def _files_of(root_id: str, snapshot: Snapshot) -> set[str]:
    return {row["uri"] for row in snapshot.rows(snapshot.segment_ids) if row["root_id"] == root_id}


def is_missing_or_empty(folder: str) -> bool:
    """Whether a folder of this machine is not there, or holds nothing but hidden files. False if it cannot be looked at."""
    try:
        return all(name.startswith(".") for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def is_another_folder(root_id: str, identity: Identity) -> bool:
    """Whether the folder at the path of a root is not the one that was indexed. False if that is unknown."""
    before = identity.root_inodes.get(root_id)
    return before is not None and inode_of_folder(identity.roots[root_id]) != before


def inode_of_folder(folder: str) -> int | None:
    """The inode of a folder of this machine; None if it is elsewhere or cannot be looked at."""
    try:
        return None if is_address(folder) else os.stat(folder).st_ino
    except OSError:
        return None


def move_root(path: str | os.PathLike[str], root_id: str, folder: str | os.PathLike[str]) -> tuple[int, int]:
    """Note that a root lies in `folder` now, with the roots inside it. Returns how many of its files are there, and how many it has.

    Raises:
        QueryError: an unknown root, no such folder, none of its files are there, or some are indexed there under another root.
        NoCollectionError, IncompatibleError: the collection cannot be opened. LockedError: another process is writing to it.
    """
    open_collection(path)  # migrates an older format
    path = local_folder(path)
    with WriterLock(path):
        snapshot = open_collection(path).snapshot
        there = source_of(folder).resolve(folder)
        moved = snapshot.identity.move_root(root_id, there)
        if not _is_folder(there):
            raise QueryError(f"{folder}: no such folder. Give the folder where the files of root {root_id} lie now.")
        files = {row["media_id"]: (row["root_id"], row["path"]) for row in snapshot.rows(snapshot.segment_ids)}
        if twice := len(files) - len({moved.uri_of(*file) for file in files.values()}):
            advice = f"Remove the old rows instead: coca-search roots remove {root_id}"
            raise QueryError(f"{folder}: {twice} files of root {root_id} are indexed there already. Nothing was changed. {advice}")
        own = [file for root, file in files.values() if root == root_id]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            num_found = sum(pool.map(_exists, [moved.uri_of(root_id, file) for file in own]))
        if own and not num_found:
            raise QueryError(f"{folder}: none of the {len(own)} files of root {root_id} are there. Nothing was changed.")
        write_identity(path, moved)
    return num_found, len(own)


def remove_root(path: str | os.PathLike[str], root_id: str) -> int:
    """Remove the rows and thumbnails of a root. Its files stay. Returns how many were indexed. Raises as `move_root`."""
    open_collection(path)  # migrates an older format
    path = local_folder(path)
    with WriterLock(path):
        snapshot = open_collection(path).snapshot
        snapshot.identity.root(root_id)
        media = {row["media_id"] for row in snapshot.rows(snapshot.segment_ids) if row["root_id"] == root_id}
        segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
        for table in (segments, failures):
            table.delete(f"root_id = {quoted(root_id)}")
        publish(path, snapshot.identity, segments, failures.count())
        write_identity(path, snapshot.identity.without_root(root_id))
        for media_id in media:
            remove_thumbnails(path, media_id)
    return len(media)


def _is_folder(uri: str) -> bool:
    try:
        return source_of(uri).is_folder(uri)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _exists(uri: str) -> bool:
    try:
        source_of(uri).stat(uri)
    except OSError:
        return False
    return True
