"""Rows with their vectors, as streams: from a snapshot in batches, and grouped by file as a writer takes them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.collection import FileRows, Segment
from search.collection.snapshot import Snapshot
from search.schema import FileColumns, columns_of

Batch = tuple[list[dict[str, Any]], NDArray[np.float32]]  # n rows by column name, and their vectors float32 (n, E)
ROWS_PER_BATCH = 2048
_FILE_COLUMNS = tuple(each.name for each in columns_of(FileColumns))
_SEGMENT_COLUMNS = ("kind", "start_seconds", "end_seconds", "frame_seconds")


def batches_of(snapshot: Snapshot, segment_ids: NDArray[np.int64]) -> Iterator[Batch]:
    """The rows of some segments in the order of their ids. Little memory beside the snapshot."""
    segment_ids = np.sort(segment_ids)
    for start in range(0, len(segment_ids), ROWS_PER_BATCH):
        ids = segment_ids[start : start + ROWS_PER_BATCH]
        yield snapshot.rows(ids), snapshot.vectors_of(ids)


def files_of(batches: Iterable[Batch]) -> Iterator[FileRows]:
    """The files of batches whose rows are sorted by segment id, without thumbnails."""
    pairs = ((row, vector) for rows, vectors in batches for row, vector in zip(rows, vectors, strict=True))
    for _, group in groupby(pairs, key=lambda pair: pair[0]["media_id"]):
        rows, vectors = zip(*group, strict=True)
        yield FileRows(_columns(rows[0]), tuple(map(_segment, rows, vectors)), {})


def _columns(row: Mapping[str, Any]) -> FileColumns:
    return FileColumns(**{name: row[name] for name in _FILE_COLUMNS})


def _segment(row: Mapping[str, Any], vector: NDArray[np.float32]) -> Segment:
    return Segment(vector=vector, **{name: row[name] for name in _SEGMENT_COLUMNS})
