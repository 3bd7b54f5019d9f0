"""Builds snapshots from Lance: the writer publishes them, and a reader rebuilds one that is missing or damaged."""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from media.atomic_write import atomic_path, atomic_write
from media.hashing import sha256_of_file
from search.collection.identity import Identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.snapshot import (
    CHANGES,
    ROWS,
    STATISTICS,
    VECTORS,
    Current,
    Snapshot,
    Statistics,
    open_current,
    open_files,
    read_current,
    read_rows,
    read_statistics,
)
from search.collection.vector_index import build_index, read_index
from search.errors import IncompatibleError
from search.schema import KINDS, Row, columns_of, stored_columns

WRITER_LOCK = "writer.lock"
_MOST_CHANGES = 0.1  # of all rows; with more, the index is written anew, so that opening stays fast
_ROWS_PER_BATCH = 1 << 20  # a string column of a batch holds at most 2 GiB


def publish(path: Path, identity: Identity, segments: LanceTable, num_failed: int) -> None:
    """Make the latest version of the table the current snapshot. Only the holder of the writer's lock may call this."""
    folder = path / "snapshots" / str(segments.version)
    current = Current(identity.collection_id, segments.version, num_failed)
    before = read_current(path)
    if before is None or before.collection_id != identity.collection_id or before.version != current.version or not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        for leftover in (partial, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        earlier = path / "snapshots" / str(before.version) if before and before.collection_id == identity.collection_id else None
        build(partial, segments, identity, earlier)
        partial.rename(folder)
    if before != current:
        atomic_write(path / "current", json.dumps(asdict(current)) + "\n")
    for old in (path / "snapshots").iterdir():
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)  # open readers keep its files


def build(folder: Path, segments: LanceTable, identity: Identity, earlier: Path | None = None) -> None:
    """Write the files of a snapshot into an existing folder, and sync them to disk.

    Args:
        earlier: the folder of an earlier snapshot of the same collection. If few rows changed since, its index is shared.
    """
    table = _rows(segments, identity)
    with atomic_path(folder / ROWS) as path, pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_PER_BATCH)
    checksums = {ROWS: sha256_of_file(folder / ROWS)}
    changes = _changed_since(earlier, table, identity.collection_id) if earlier else None
    if earlier is not None and changes is not None:
        _share(earlier / VECTORS, folder / VECTORS)
        vectors = segments.read_by_id("segment_id", changes.segment_ids.tolist(), ["segment_id", "vector"])
        checksums[VECTORS] = changes.sha256_of_index
        _write_index(vectors.to_batches(), identity, folder / CHANGES)
        checksums[CHANGES] = sha256_of_file(folder / CHANGES)
    else:
        _write_index(segments.batches(["segment_id", "vector"]), identity, folder / VECTORS)
        checksums[VECTORS] = sha256_of_file(folder / VECTORS)
    statistics = Statistics(identity.collection_id, segments.version, count_kinds(segments), checksums)
    atomic_write(folder / STATISTICS, json.dumps(asdict(statistics), indent=2) + "\n")


def _rows(segments: LanceTable, identity: Identity) -> pa.Table:
    """All columns but the vector, sorted by `segment_id`."""
    names = [each.name for each in stored_columns(Row) if each.name in segments.schema.names]
    table = segments.read(names).sort_by("segment_id")
    if unknown := set(table["root_id"].unique().to_pylist()) - {"", *identity.roots}:
        raise IncompatibleError(
            f"Rows refer to roots that collection.json does not name ({', '.join(sorted(unknown))}). "
            "They belong to another collection, or a backup is being restored. Restore all files of one backup."
        )
    for each in columns_of(Row):
        if each.column.arrow == "dictionary" and each.name in names:
            position = table.schema.get_field_index(each.name)
            table = table.set_column(position, each.name, table.column(position).combine_chunks().dictionary_encode())
    return table.combine_chunks().unify_dictionaries()


def _write_index(batches: Iterable[pa.RecordBatch], identity: Identity, file: Path) -> None:
    with atomic_path(file) as path:
        build_index(batches, identity.embedding_width).write(path)


def count_kinds(segments: LanceTable) -> dict[str, int]:
    """The number of rows of each kind."""
    return {kind: segments.count(f"kind = '{kind}'") for kind in KINDS}


def discard(path: Path) -> None:
    """Delete all snapshots. They can be rebuilt from Lance. Only the holder of the writer's lock may call this."""
    (path / "current").unlink(missing_ok=True)
    shutil.rmtree(path / "snapshots", ignore_errors=True)


def open_snapshot(path: Path, identity: Identity, *, may_write: bool) -> Snapshot:
    """Open the newest snapshot of a collection; build it from Lance if it is missing, damaged, or of another collection.

    Args:
        may_write: save a rebuilt snapshot. Otherwise only this process has it: a collection that is being deleted must not be written.

    Raises:
        IncompatibleError: the tables are also missing or damaged.
    """
    current = read_current(path)
    while current is not None and current.collection_id == identity.collection_id:
        try:
            return open_current(path, identity, current)
        except (OSError, ValueError, TypeError, RuntimeError):
            newer = read_current(path)
            if newer == current:
                break  # damaged
            current = newer  # it was replaced while we opened it
    return _rebuild(path, identity, may_write=may_write)


def _rebuild(path: Path, identity: Identity, *, may_write: bool) -> Snapshot:
    segments, failures = LanceTable(path, SEGMENTS), LanceTable(path, FAILURES)
    segments.pin(segments.version)
    current = Current(identity.collection_id, segments.version, failures.count())
    try:
        if may_write:
            with FileLock(path / WRITER_LOCK, timeout=0):
                discard(path)
                publish(path, identity, segments, current.num_failed)
                return open_current(path, identity, current)
    except (OSError, Timeout):
        pass  # another process is writing, or the disk is read-only
    temporary = Path(tempfile.mkdtemp(prefix="coca-search-"))
    try:
        build(temporary, segments, identity)
        snapshot = open_files(path, temporary, identity, current)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    weakref.finalize(snapshot, shutil.rmtree, temporary, ignore_errors=True)
    return snapshot


@dataclass(frozen=True)
class _Changes:
    """The segments whose vectors are not those of the index of the earlier snapshot, int64 (n,), and the checksum of that index."""

    segment_ids: NDArray[np.int64]
    sha256_of_index: str


def _changed_since(earlier: Path, rows: pa.Table, collection_id: str) -> _Changes | None:
    """What changed since a snapshot; None if that is much, or if the snapshot is missing, damaged, or of another collection.

    Args:
        earlier: the folder of the snapshot.
        rows: the rows of the new one, with `segment_id` and `indexed_at`, which is another one whenever a file is embedded.
    """
    try:
        (earlier / VECTORS).stat()
        statistics = read_statistics(earlier)
        before = pa.Table.from_batches([batch.select(["segment_id", "indexed_at"]) for batch in read_rows(earlier)])
        is_in_changes = read_index(earlier / CHANGES).ids() if CHANGES in statistics.sha256 else np.zeros(0, np.int64)
    except (OSError, ValueError, TypeError, RuntimeError, KeyError):
        return None
    ids, old_ids = _numbers(rows, "segment_id"), _numbers(before, "segment_id")
    if statistics.collection_id != collection_id or VECTORS not in statistics.sha256 or not len(old_ids):
        return None
    positions = np.minimum(np.searchsorted(old_ids, ids), len(old_ids) - 1)
    is_same = (old_ids[positions] == ids) & (_numbers(before, "indexed_at")[positions] == _numbers(rows, "indexed_at"))
    changed = ids[~is_same | np.isin(ids, is_in_changes)]
    num_dropped = len(old_ids) - len(np.intersect1d(old_ids, ids, assume_unique=True))
    if len(changed) + num_dropped > _MOST_CHANGES * len(ids):
        return None
    return _Changes(changed, statistics.sha256[VECTORS])


def _share(file: Path, name: Path) -> None:
    """Give a file a second name, or copy it where the disk has no hard links, such as exFAT."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table[name].cast(pa.int64()).to_numpy()
