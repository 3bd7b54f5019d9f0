"""Builds snapshots from Lance: the writer publishes them, and a reader rebuilds one that is missing or damaged."""

import json
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from coca_model.errors import CocaModelError
from media.atomic_write import atomic_path, atomic_write
from media.hashing import sha256_of_file
from search.collection.identity import Identity
from search.collection.lance_tables import FAILURES, SEGMENTS, LanceTable
from search.collection.snapshot import (
    ROWS,
    STATISTICS,
    Current,
    Snapshot,
    Statistics,
    damage_of,
    made_from,
    open_current,
    open_files,
    read_current,
    read_rows,
    read_statistics,
)
from search.errors import DamagedError, IncompatibleError
from search.schema import KINDS, Row, columns_of, stored_columns
from search.vectors.files import (
    CHANGES,
    FILES,
    FILES_OF_MAIN,
    SLOTS,
    VECTORS,
    open_index,
    write_changes_index,
    write_main_index,
    write_slots,
    write_vectors,
)
from search.vectors.recall import SENTENCES

if TYPE_CHECKING:
    from coca_model import Encoder
    from coca_model.text_encoder import TextEncoder

WRITER_LOCK = "writer.lock"
_MOST_CHANGES = 0.1  # of all rows; with more, the index is written anew, so that opening stays fast
_ROWS_PER_BATCH = 1 << 20  # a string column of a batch holds at most 2 GiB


def publish(
    path: Path,
    identity: Identity,
    segments: LanceTable,
    num_failed: int,
    *,
    encoder: "Encoder | TextEncoder | None" = None,
    anew: bool = False,
) -> None:
    """Make the latest version of the table the current snapshot. Only the holder of the writer's lock may call this.

    Args:
        encoder: the model, to measure the recall of a large index; None to load its text tower if it is needed.
        anew: share no file of the earlier snapshot.
    """
    folder = path / "snapshots" / str(segments.version)
    current = Current(identity.collection_id, segments.version, num_failed)
    before = read_current(path)
    if before is None or before.collection_id != identity.collection_id or before.version != current.version or not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        for leftover in (folder, *folder.parent.glob("*.partial")):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        earlier = path / "snapshots" / str(before.version) if before and before.collection_id == identity.collection_id else None
        try:
            build(partial, segments, identity, None if anew else earlier, encoder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # it may have filled the disk
            raise
        partial.rename(folder)
    if before != current:
        atomic_write(path / "current", json.dumps(asdict(current)) + "\n")
    for old in (path / "snapshots").iterdir():
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)  # open readers keep its files


def build(
    folder: Path, segments: LanceTable, identity: Identity, earlier: Path | None = None, encoder: "Encoder | TextEncoder | None" = None
) -> None:
    """Write the files of a snapshot into an existing folder, and sync them to disk.

    Args:
        earlier: the folder of an earlier snapshot of the same collection. If few rows changed since, its index is shared.
    """
    table = _rows(segments, identity).replace_schema_metadata(made_from(identity.collection_id, segments.version))
    with atomic_path(folder / ROWS) as path, pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_PER_BATCH)
    ids, width = _numbers(table, "segment_id"), identity.embedding_width
    changes = _changed_since(earlier, table, identity) if earlier else None
    if earlier is not None and changes is not None:
        shared = {name: sha256 for name, sha256 in changes.statistics.sha256.items() if name in FILES_OF_MAIN}
        for name in shared:
            _share(earlier / name, folder / name)
        vectors = segments.read_by_id("segment_id", ids[changes.rows].tolist(), ["segment_id", "vector"])
        written = write_vectors(vectors.to_batches(), len(vectors), width, folder / CHANGES)
        slots = changes.slots
        slots[np.searchsorted(ids, written)] = changes.first_slot + np.arange(len(written))
        info = changes.statistics.index
        write_changes_index(folder, info)
    else:
        shared = {}
        written = write_vectors(segments.batches(["segment_id", "vector"]), len(ids), width, folder / VECTORS)
        slots = np.zeros(len(ids), np.int64)
        slots[np.searchsorted(ids, written)] = np.arange(len(written))
        info = write_main_index(folder, identity.index, lambda: _typical_queries(identity, encoder))
    write_slots(slots, folder / SLOTS)
    written_now = [name for name in (ROWS, *FILES) if name not in shared and (folder / name).exists()]
    checksums = shared | {name: sha256_of_file(folder / name) for name in written_now}  # a shared file is not read again
    statistics = Statistics(identity.collection_id, segments.version, count_kinds(segments), checksums, info)
    atomic_write(folder / STATISTICS, json.dumps(asdict(statistics), indent=2) + "\n")


def _typical_queries(identity: Identity, encoder: "Encoder | TextEncoder | None") -> NDArray[np.float32] | None:
    """The vectors of `search.vectors.recall.SENTENCES`; None if the model is not on this machine."""
    if encoder is None and (identity.model == "default" or Path(identity.model).exists()):
        from coca_model.text_encoder import text_encoder

        with suppress(CocaModelError):
            encoder = text_encoder(identity.model)
    return encoder.encode_texts(SENTENCES) if encoder is not None and identity.fits(encoder) else None


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
        except DamagedError:
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
    """What changed since an earlier snapshot whose `vectors.npy` is shared.

    Attributes:
        rows: int64 (n,), positions of the rows whose vectors are not in it.
        slots: int64 (N,), the slots of the other rows.
        first_slot: the first slot after it.
        statistics: those of the earlier snapshot.
    """

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    first_slot: int
    statistics: Statistics


def _changed_since(earlier: Path, rows: pa.Table, identity: Identity) -> _Changes | None:
    """What changed since a snapshot; None if that is much, or if the snapshot is missing, damaged, of another collection or index.

    Args:
        earlier: the folder of the snapshot.
        rows: the rows of the new one, with `segment_id` and `indexed_at`, which is another one whenever a file is embedded.
    """
    try:
        with damage_of(earlier):
            statistics = read_statistics(earlier)
            before = pa.Table.from_batches([batch.select(["segment_id", "indexed_at"]) for batch in read_rows(earlier)])
            index = open_index(earlier, statistics.index)
            is_whole = all((earlier / name).exists() for name in statistics.sha256)
    except DamagedError:
        return None
    ids, old_ids = _numbers(rows, "segment_id"), _numbers(before, "segment_id")
    is_other = statistics.collection_id != identity.collection_id or statistics.index.settings != identity.index
    has_grown = statistics.index.kind == "exact" and identity.index.kind_for(len(ids)) != "exact"
    if is_other or has_grown or not is_whole or VECTORS not in statistics.sha256 or not len(old_ids) or len(index) != len(old_ids):
        return None
    first_slot = len(index.main)
    positions = np.minimum(np.searchsorted(old_ids, ids), len(old_ids) - 1)
    slots = index.slots[positions]
    is_same = (old_ids[positions] == ids) & (_numbers(before, "indexed_at")[positions] == _numbers(rows, "indexed_at"))
    changed = np.flatnonzero(~is_same | (slots >= first_slot))
    num_outdated = first_slot - (len(ids) - len(changed))
    if len(changed) + num_outdated > _MOST_CHANGES * len(ids):
        return None
    return _Changes(changed, slots, first_slot, statistics)


def _share(file: Path, name: Path) -> None:
    """Give a file a second name, or copy it where the disk has no hard links, such as exFAT."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table[name].cast(pa.int64()).to_numpy()
