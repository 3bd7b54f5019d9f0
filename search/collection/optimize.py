"""`coca-search optimize`: rebuilds the search index for the recall and memory that the owner wants. Readers use the old one meanwhile."""

import os
from contextlib import suppress
from dataclasses import replace

from coca_model.errors import CocaModelError
from search.collection.bucket.place import local_folder
from search.collection.identity import write_identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.publish import publish
from search.collection.reader import open_collection
from search.collection.snapshot import Snapshot
from search.collection.storage import storage_errors
from search.collection.writer_lock import WriterLock
from search.errors import IncompatibleError
from search.vectors.kinds import IndexChoice, IndexSettings


def optimize(
    path: str | os.PathLike[str],
    *,
    recall: float | None = None,
    memory: int | None = None,
    kind: IndexChoice | None = None,
) -> Snapshot:
    """Keep what the owner wants of the index in `collection.json`, compact the table, and rebuild the index from it.

    Args:
        recall, memory, kind: see `IndexSettings`; "auto" for any kind. None for what was wanted before.

    Returns:
        The new snapshot.

    Raises:
        QueryError: a value out of range. LockedError: another process is writing to it. StorageError: it may not be written.
        NoCollectionError, IncompatibleError: the collection cannot be opened.
    """
    open_collection(path)  # migrates an older format
    path = local_folder(path)
    with storage_errors(path), WriterLock(path):
        opened = open_collection(path)
        identity = opened.identity
        before = identity.index
        wanted = IndexSettings(
            before.recall if recall is None else recall,
            before.memory if memory is None else memory,
            before.kind if kind is None else None if kind == "auto" else kind,
        )
        identity = replace(identity, index=wanted)
        encoder = None
        if wanted.kind_for(len(opened.snapshot)) != "exact":
            with suppress(CocaModelError, IncompatibleError):  # the recall is not measured then
                encoder = opened.text_encoder_for(opened.snapshot)
        segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
        segments.rewrite_fragments()
        write_identity(path, identity)
        publish(path, identity, segments, failures.count(), encoder=encoder, anew=True)
        return open_collection(path).snapshot
