"""Which rows changed since an earlier snapshot, so that a new one can share its index and need not write all vectors again."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.collection.snapshot import CHANGES, VECTORS, read_rows, read_statistics
from search.collection.vector_index import read_index

_MOST_CHANGES = 0.1  # of all rows; with more, the index is written anew, so that opening stays fast


@dataclass(frozen=True)
class Changes:
    """The segments whose vectors are not those of the index of the earlier snapshot, int64 (n,), and the checksum of that index."""

    segment_ids: NDArray[np.int64]
    sha256_of_index: str


def changed_since(earlier: Path, rows: pa.Table, collection_id: str) -> Changes | None:
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
    return Changes(changed, statistics.sha256[VECTORS])


def share(file: Path, name: Path) -> None:
    """Give a file a second name, or copy it where the disk has no hard links, such as exFAT."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table[name].cast(pa.int64()).to_numpy()
