"""`coca-search optimize`: rebuilds the search index for the recall and memory that the owner wants. Readers use the old one meanwhile."""

import os
from dataclasses import replace

from search.collection.bucket.place import local_folder
from search.collection.identity import write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.publish import publish
from search.collection.reader import open_collection
from search.collection.snapshot import Snapshot
from search.collection.storage import storage_errors
from search.collection.writer_lock import WriterLock
from search.vectors.kinds import IndexKind, IndexSettings


def optimize(
    path: str | os.PathLike[str], *, recall: float | None = None, memory: int | None = None, kind: IndexKind | None = None
) -> Snapshot:
    """Keep what the owner wants of the index in `collection.json`, compact the table, and rebuild the index from it.

    Args:
        recall, memory, kind: see `IndexSettings`. None for the recall and memory that were wanted before, and for any kind.

    Returns:
        The new snapshot.

    Raises:
        QueryError: a value out of range. LockedError: another process is writing to it. StorageError: it may not be written.
        NoCollectionError, IncompatibleError: the collection cannot be opened.
    """
    open_collection(path)  # migrates an older format
    path = local_folder(path)
    with storage_errors(path), WriterLock(path):
        identity = open_collection(path).identity
        before = identity.index
        wanted = IndexSettings(before.recall if recall is None else recall, before.memory if memory is None else memory, kind)
        identity = replace(identity, index=wanted)
        segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
        segments.rewrite_fragments()
        write_identity(path, identity)
        publish(path, identity, segments, failures.count(), anew=True)
        return open_collection(path).snapshot
