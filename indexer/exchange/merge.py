"""`merge()`: takes the rows, failures, roots and thumbnails of another collection into this one."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from indexer.errors import ExchangeError
from indexer.exchange.rows import batches_of, files_of
from indexer.exchange.take_in import Intake, TakenIn, existing_identity, maker_of, moved_uri
from search.collection import CollectionWriter, Failure, FileRows, default_path, read_identity
from search.collection.bucket.place import fetch_thumbnails, newest_folder, shown
from search.collection.lance_tables import FAILURES, LanceTable
from search.collection.migrations import needs_migration
from search.collection.publish import open_snapshot
from search.collection.snapshot import Snapshot
from search.collection.thumbnails import thumbnail_path
from search.errors import IncompatibleError
from search.schema import FailureColumns, stored_columns


def merge(
    other: str | os.PathLike[str],
    *,
    collection: str | os.PathLike[str] | None = None,
    moved: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TakenIn:
    """Take another collection into this one. The other one does not change.

    A folder that is a root of both stays one root. Of a file in both, the version that was indexed later stays. A merge that was stopped
    leaves the collection sound, and the next one goes on.

    Args:
        other: the folder of the other collection.
        collection: the folder of this collection, made if it is missing; None for the user's default.
        moved: folders of the other collection that lie elsewhere on this machine: {old folder: new folder}.
        on_progress: called with the number of files done.

    Raises:
        ExchangeError: both are the same. NoCollectionError: there is no other collection.
        IncompatibleError: they have different models, or one has an unknown format. LockedError: another process is writing.
    """
    other, folder, moved = newest_folder(other), newest_folder(collection if collection is not None else default_path()), moved or {}
    if other.resolve() == folder.resolve():
        raise ExchangeError(f"{shown(other)}: this is the collection to merge into. Give another one.")
    if needs_migration(other):
        raise IncompatibleError(f"{shown(other)}: has an older format. Open it once with: coca-search status --collection {shown(other)}")
    mine, theirs = existing_identity(folder), read_identity(other)
    snapshot = open_snapshot(other, theirs, may_write=False)
    with CollectionWriter(folder, maker_of(theirs), model=(mine or theirs).model) as writer:
        writer.add_roots(moved_uri(root, moved) for root in theirs.roots.values())
        intake = Intake(writer, on_progress)
        for rows in files_of(batches_of(snapshot, snapshot.segment_ids)):
            uri = moved_uri(theirs.uri_of(rows.file.root_id, rows.file.path), moved)
            if intake.wants(uri, rows.file.indexed_at):
                intake.add(uri, replace(rows, thumbnails=_thumbnails(other, rows)))
        intake.add_failures(_failures(snapshot, moved))
        writer.finish()
    return intake.report


def _thumbnails(collection: Path, rows: FileRows) -> dict[float | None, bytes]:
    """The thumbnails of a file that are there."""
    found = {}
    for seconds in {segment.frame_seconds for segment in rows.segments}:
        with suppress(OSError):
            path = thumbnail_path(collection, rows.file.media_id, rows.file.sha256, seconds)
            fetch_thumbnails(collection, [path])
            found[seconds] = path.read_bytes()
    return found


def _failures(snapshot: Snapshot, moved: Mapping[str, str]) -> Iterator[Failure]:
    table = LanceTable(snapshot.path, FAILURES)
    names = [each.name for each in stored_columns(FailureColumns) if each.name in table.schema.names]
    for row in table.read(names).to_pylist():
        yield Failure(uri=moved_uri(snapshot.identity.uri_of(row["root_id"], row["path"]), moved), **row)
