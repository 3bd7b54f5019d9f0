"""Snapshots: one version of a collection in files that a reader maps into memory. No Lance is needed to search and to return rows.

    snapshots/<version>/rows.arrow        all columns but the vector, sorted by segment_id
    snapshots/<version>/vectors.faiss     the index of the same rows
    snapshots/<version>/statistics.json   counts and checksums
    current                               which version is the newest complete one

A snapshot is derived from one version of `segments.lance`. Deleting it loses nothing.
"""

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from media.atomic_write import atomic_write
from media.hashing import sha256_of_file
from search.collection.identity import Identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.vector_index import VectorIndex, build_index, read_index
from search.errors import IncompatibleError
from search.schema import KINDS, Kind, Row, columns_of, datetime_of, segment_ids_of, stored_columns

ROWS, VECTORS, STATISTICS = "rows.arrow", "vectors.faiss", "statistics.json"
WRITER_LOCK = "writer.lock"
_ROWS_PER_BATCH = 1 << 20  # a string column of a batch holds at most 2 GiB


@dataclass(frozen=True)
class Current:
    """The content of the file `current`."""

    collection_id: str
    version: int
    num_failed: int


@dataclass(frozen=True)
class Statistics:
    """The content of `statistics.json`: rows of each kind, and the SHA-256 of the other files."""

    counts: dict[str, int]
    sha256: dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """One version of the rows with the index of the same version, and the identity of the collection."""

    path: Path
    identity: Identity
    current: Current
    statistics: Statistics
    index: VectorIndex
    _batches: tuple[pa.RecordBatch, ...] = field(repr=False)

    @property
    def version(self) -> int:
        return self.current.version

    def __len__(self) -> int:
        return len(self.segment_ids)

    @cached_property
    def segment_ids(self) -> NDArray[np.int64]:
        """All segment ids in rising order, int64 (N,)."""
        parts = [batch.column("segment_id").to_numpy() for batch in self._batches]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int64), *parts])

    def positions(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of segments among the rows, int64 (n,). All of them must be in the snapshot."""
        return np.searchsorted(self.segment_ids, segment_ids)

    def of_kinds(self, segment_ids: NDArray[np.int64], kinds: frozenset[Kind]) -> NDArray[np.bool_]:
        """Which of the segments are of one of the kinds, bool (n,)."""
        wanted = np.array([kind in kinds for kind in KINDS])
        return wanted[self._kinds[self.positions(segment_ids)]]

    @cached_property
    def _kinds(self) -> NDArray[np.int8]:
        """The kind of each row as its position in `KINDS`, int8 (N,)."""
        parts = [np.zeros(0, np.int8)]
        for batch in self._batches:
            column = batch.column("kind")
            code = np.array([KINDS.index(kind) for kind in column.dictionary.to_pylist()], np.int8)
            parts.append(code[column.indices.to_numpy()])
        return np.concatenate(parts)

    def vectors(self, kinds: Iterable[Kind]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Segment ids int64 (n,) of some kinds and their vectors float32 (n, E), in no particular order."""
        ids = self.index.ids()
        chosen = self.of_kinds(ids, frozenset(kinds))
        return ids[chosen], self.index.vectors()[chosen]

    def rows(self, segment_ids: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The columns of `search.schema.Row` of the given segments, in the given order."""
        positions = self.positions(segment_ids)
        if len(self._batches) == 1:
            return self._rows_of_batch(self._batches[0], positions)
        found: dict[int, dict[str, Any]] = {}
        starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        for batch, start in zip(self._batches, starts, strict=False):
            inside = positions[(positions >= start) & (positions < start + batch.num_rows)]
            found.update(zip(inside.tolist(), self._rows_of_batch(batch, inside - start), strict=True))
        return [found[position] for position in positions.tolist()]

    def rows_of_file(self, media_id: int) -> list[dict[str, Any]]:
        """The rows of all segments of a file, in the order of their ids; none if the file is not in the collection."""
        start, stop = np.searchsorted(self.segment_ids, segment_ids_of(media_id))
        return self.rows(self.segment_ids[start:stop])

    def allowed(self, where: str) -> NDArray[np.int64]:
        """The ids of the segments that a checked SQL filter keeps, int64 (n,). Raises QueryError for a bad filter."""
        return self._table.read(["segment_id"], where)["segment_id"].to_numpy()

    @cached_property
    def _table(self) -> LanceTable:
        table = LanceTable(self.path, SEGMENTS)
        table.pin(self.version)
        return table

    def _rows_of_batch(self, batch: pa.RecordBatch, positions: NDArray[np.int64]) -> list[dict[str, Any]]:
        chosen = batch.take(pa.array(positions))
        columns: dict[str, list[Any]] = {}
        for each in stored_columns(Row):
            if each.name not in batch.schema.names:  # written by an older version
                columns[each.name] = [None] * len(positions)
                continue
            values = chosen.column(each.name)
            if each.arrow_name == "timestamp":
                columns[each.name] = [datetime_of(value) for value in values.cast(pa.int64()).to_pylist()]
            else:
                columns[each.name] = values.to_pylist()
        columns["uri"] = [self.identity.uri_of(*file) for file in zip(columns["root_id"], columns["path"], strict=True)]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def read_current(path: Path) -> Current | None:
    """Which snapshot is the newest complete one. None if that is unknown: no file, or a damaged one."""
    try:
        return Current(**json.loads((path / "current").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def open_snapshot(path: Path, identity: Identity, *, may_write: bool) -> Snapshot:
    """Open the newest snapshot of a collection; build it from Lance if it is missing, damaged, or of another collection.

    Args:
        may_write: keep what was built. Otherwise it is only for this process: a collection that is being deleted must not grow again.

    Raises:
        IncompatibleError: the tables are missing or damaged too.
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
    check_tables(path)
    try:
        return _rebuild(path, identity, may_write=may_write)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), repr(error))
        raise IncompatibleError(f"{path}: the tables cannot be read ({reason}). Restore them from a backup.") from error


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
        build(partial, segments, identity)
        partial.rename(folder)
    if before != current:
        atomic_write(path / "current", json.dumps(asdict(current)) + "\n")
    for old in (path / "snapshots").iterdir():
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)  # readers that have it open keep its files


def build(folder: Path, segments: LanceTable, identity: Identity) -> None:
    """Write the three files of a snapshot into an existing folder."""
    names = [each.name for each in stored_columns(Row) if each.name in segments.schema.names]
    table = segments.read(names).sort_by("segment_id")
    for each in columns_of(Row):
        if each.column.arrow == "dictionary":
            position = table.schema.get_field_index(each.name)
            table = table.set_column(position, each.name, table.column(position).combine_chunks().dictionary_encode())
    table = table.combine_chunks().unify_dictionaries()
    with pa.OSFile(str(folder / ROWS), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_PER_BATCH)
    build_index(segments.batches(["segment_id", "vector"]), identity.embedding_width).write(folder / VECTORS)
    counts: dict[str, int] = {kind: segments.count(f"kind = '{kind}'") for kind in KINDS}
    statistics = Statistics(counts, {name: sha256_of_file(folder / name) for name in (ROWS, VECTORS)})
    (folder / STATISTICS).write_text(json.dumps(asdict(statistics), indent=2) + "\n")


def open_current(path: Path, identity: Identity, current: Current) -> Snapshot:
    """Open the snapshot that `current` names. Raises OSError, ValueError, TypeError, RuntimeError if it is missing or damaged."""
    return _open(path, path / "snapshots" / str(current.version), identity, current)


def discard(path: Path) -> None:
    """Delete all snapshots, which are derived. Only the holder of the writer's lock may call this."""
    (path / "current").unlink(missing_ok=True)
    shutil.rmtree(path / "snapshots", ignore_errors=True)


def _open(path: Path, folder: Path, identity: Identity, current: Current) -> Snapshot:
    statistics = Statistics(**json.loads((folder / STATISTICS).read_text()))
    reader = pa.ipc.open_file(pa.memory_map(str(folder / ROWS)))
    batches = tuple(reader.get_batch(number) for number in range(reader.num_record_batches))
    index = read_index(folder / VECTORS)
    num_rows = sum(batch.num_rows for batch in batches)
    if len(index) != num_rows or index.embedding_width != identity.embedding_width:
        raise ValueError(f"{folder}: {len(index)} vectors for {num_rows} rows")
    return Snapshot(path, identity, current, statistics, index, batches)


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
        snapshot = _open(path, temporary, identity, current)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    weakref.finalize(snapshot, shutil.rmtree, temporary, ignore_errors=True)
    return snapshot


def check_tables(path: Path) -> None:
    """Raises IncompatibleError if the tables of a collection are missing."""
    for name in (SEGMENTS, FAILURES):
        if not (path / f"{name}.lance").is_dir():
            raise IncompatibleError(f"{path}: the table {name} is missing. Restore it, or index into a new --collection directory.")
