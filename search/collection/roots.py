"""Moves a root: stores the new path of a folder that was indexed."""

from pathlib import Path

from search.collection.identity import write_identity
from search.collection.reader import open_collection
from search.collection.writer import WriterLock
from search.errors import QueryError


def move_root(path: Path, root_id: str, folder: Path) -> tuple[int, int]:
    """Set the folder of a root. Returns how many of its files exist there, and how many it has.

    Raises:
        QueryError: an unknown root, no such folder, or none of its files are there.
        NoCollectionError, IncompatibleError: the collection cannot be opened. LockedError: another process is writing to it.
    """
    open_collection(path)  # migrates an older format
    with WriterLock(path):
        snapshot = open_collection(path).snapshot
        moved = snapshot.identity.move_root(root_id, str(folder.resolve()))
        if not folder.is_dir():
            raise QueryError(f"{folder}: no such folder. Give the folder where the files of root {root_id} are now.")
        files = {row["path"] for row in snapshot.rows(snapshot.segment_ids) if row["root_id"] == root_id}
        num_found = sum(Path(moved.uri_of(root_id, file)).exists() for file in files)
        if files and not num_found:
            raise QueryError(f"{folder}: none of the {len(files)} files of root {root_id} are there. Nothing was changed.")
        write_identity(path, moved)
    return num_found, len(files)
