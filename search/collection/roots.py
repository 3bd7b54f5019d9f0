"""Moves and removes roots: the folders that were indexed."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from media.sources.choose import source_of
from search.collection.bucket.place import local_folder
from search.collection.identity import write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable, quoted
from search.collection.publish import publish
from search.collection.reader import open_collection
from search.collection.thumbnails import remove_thumbnails
from search.collection.writer import WriterLock
from search.errors import QueryError

_AT_ONCE = 16  # files that are asked for


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
        place = source_of(folder).resolve(folder)
        moved = snapshot.identity.move_root(root_id, place)
        if not is_folder(place):
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
        roots = {each: folder for each, folder in snapshot.identity.roots.items() if each != root_id}
        write_identity(path, replace(snapshot.identity, roots=roots))
        for media_id in media:
            remove_thumbnails(path, media_id)
    return len(media)


def is_folder(uri: str) -> bool:
    """Whether a folder is there, also in a bucket."""
    try:
        return source_of(uri).is_folder(uri)
    except OSError:
        return False


def _exists(uri: str) -> bool:
    try:
        source_of(uri).stat(uri)
    except OSError:
        return False
    return True
