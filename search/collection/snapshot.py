"""Snapshots: one version of a collection in files that a reader maps into memory. No Lance is needed to search and to return rows.

    snapshots/<version>/rows.arrow        all columns but the vector, sorted by segment_id
    snapshots/<version>/vectors.npy ...   their vectors, and codes to search them fast: see `search.vectors.files`
    snapshots/<version>/statistics.json   counts and checksums
    current                               the newest complete version

A snapshot is derived from one version of `segments.lance`. Deleting it loses nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.collection.identity import Identity, below
from search.collection.row_reader import RowReader, plain
from search.errors import DamagedError
from search.filters.evaluate import FilterRows
from search.schema import KINDS, Kind, segment_ids_of
from search.vectors.files import open_index
from search.vectors.kinds import IndexInfo
from search.vectors.vector_index import VectorIndex

ROWS, STATISTICS = "rows.arrow", "statistics.json"


@dataclass(frozen=True)
class Current:
    """The content of the file `current`."""

    collection_id: str
    version: int
    num_failed: int


@dataclass(frozen=True)
class Statistics:
    """The content of `statistics.json`: what the snapshot was made from, rows of each kind, the SHA-256 of the other files, the index."""

    collection_id: str
    version: int
    counts: dict[str, int]
    sha256: dict[str, str]
    index: IndexInfo

    def __post_init__(self) -> None:
        texts, numbers = [*self.counts, *self.sha256, *self.sha256.values()], list(self.counts.values())
        if not all(type(each) is str for each in texts) or not all(type(each) is int for each in numbers):
            raise TypeError("a value of the wrong type")


@dataclass(frozen=True)
class Snapshot:
    """One version of the rows with the index of the same version, and the identity of the collection."""

    path: Path
    identity: Identity
    current: Current
    statistics: Statistics
    index: VectorIndex
    _batches: tuple[pa.RecordBatch, ...] = field(repr=False)
    _masks: dict[frozenset[Kind], NDArray[np.bool_]] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> int:
        return self.current.version

    def __len__(self) -> int:
        return len(self.segment_ids)

    @cached_property
    def segment_ids(self) -> NDArray[np.int64]:
        """All segment ids in rising order, int64 (N,)."""
        parts: list[NDArray[np.int64]] = [np.asarray(np.from_dlpack(batch.column("segment_id"))) for batch in self._batches]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int64), *parts])

    def positions(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of segments among the rows, int64 (n,). All of them must be in the snapshot."""
        return np.searchsorted(self.segment_ids, segment_ids)

    def nearest(
        self, vector: NDArray[np.float32], k: int, kinds: Iterable[Kind], where: str | None = None, *, exact: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], bool]:
        """The segments of some kinds that are most similar to `vector`, best first.

        Args:
            vector: float32 (E,), L2 norm 1.
            k: the most to return.
            where: a filter, applied before the search.
            exact: compute every cosine, instead of those of the candidates that the index finds.

        Returns:
            segment ids int64 (n,), cosines float32 (n,), n <= k, and whether these are all.

        Raises:
            QueryError: a bad filter.
        """
        positions, similarity = self.index.nearest(vector, k, self._allowed(kinds, where), exact=exact)
        return self.segment_ids[positions], similarity, len(positions) < k or k >= len(self)

    def nearest_of_many(
        self, vectors: NDArray[np.float32], k: int, kinds: Iterable[Kind], where: str | None = None, *, exact: bool = False
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32], bool]]:
        """`nearest` for each of many vectors, float32 (Q, E)."""
        found = self.index.nearest_of_many(vectors, k, self._allowed(kinds, where), exact=exact)
        return [(self.segment_ids[positions], similarity, len(positions) < k or k >= len(self)) for positions, similarity in found]

    def _allowed(self, kinds: Iterable[Kind], where: str | None) -> NDArray[np.bool_] | None:
        """The rows of some kinds that a filter keeps, bool (N,); None for all."""
        allowed = self._are_of(frozenset(kinds))
        if where is None:
            return allowed
        kept = self.kept(where)
        return kept if allowed is None else allowed & kept

    def _are_of(self, kinds: frozenset[Kind]) -> NDArray[np.bool_] | None:
        """Which rows are of one of the kinds, bool (N,); None for all."""
        counts = self.statistics.counts
        if all(kind in kinds for kind, count in counts.items() if count):
            return None
        if kinds not in self._masks:
            self._masks[kinds] = np.array([kind in kinds for kind in KINDS])[self._kinds]
        return self._masks[kinds]

    @cached_property
    def _kinds(self) -> NDArray[np.int8]:
        """The kind of each row as its position in `KINDS`, int8 (N,)."""
        parts = [np.zeros(0, np.int8)]
        for batch in self._batches:
            column = batch.column("kind")
            code = np.array([KINDS.index(kind) for kind in column.dictionary.to_pylist()], np.int8)
            parts.append(code[np.from_dlpack(column.indices)])
        return np.concatenate(parts)

    def vectors(self, kinds: Iterable[Kind]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Segment ids int64 (n,) of some kinds, rising, and their vectors float32 (n, E)."""
        chosen = self._are_of(frozenset(kinds))
        positions = np.arange(len(self)) if chosen is None else np.flatnonzero(chosen)
        return self.segment_ids[positions], self.index.vectors(positions)

    def vectors_of(self, segment_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of segments, float32 (n, E). All of them must be in the snapshot."""
        return self.index.vectors(self.positions(segment_ids))

    def rows(self, segment_ids: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The columns of `search.schema.Row` of the given segments, in the given order. Each row is a dict of its own."""
        positions = self.positions(segment_ids)
        if len(self._batches) == 1:
            return self._row_readers[0].rows(positions)
        found: dict[int, dict[str, Any]] = {}
        starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        for reader, start, end in zip(self._row_readers, starts, starts[1:], strict=False):
            inside = np.flatnonzero((positions >= start) & (positions < end))
            found.update(zip(inside.tolist(), reader.rows(positions[inside] - start), strict=True))
        return [found[number] for number in range(len(positions))]

    def sorted_by_path(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same segments by the paths of their files, int64 (n,). Those of one file keep their order."""
        root_ids, paths = ([value for batch in self._batches for value in batch.column(name).to_pylist()] for name in ("root_id", "path"))
        uris = self.identity.uris_of(root_ids, paths)
        positions = self.positions(segment_ids).tolist()
        return segment_ids[sorted(range(len(positions)), key=lambda each: uris[positions[each]])]

    def files_by_root(self) -> dict[str, int]:
        """The number of files of each root."""
        columns = [batch.select(["root_id", "media_id"]) for batch in self._batches]
        files = {(root_id, media_id) for batch in columns for root_id, media_id in zip(*map(plain, batch.columns), strict=True)}
        return dict(Counter(root_id for root_id, _ in files))

    def rows_of_file(self, media_id: int) -> list[dict[str, Any]]:
        """The rows of all segments of a file, in the order of their ids; none if the file is not in the collection."""
        start, stop = np.searchsorted(self.segment_ids, segment_ids_of(media_id))
        return self.rows(self.segment_ids[start:stop])

    def filtered(self, where: str) -> NDArray[np.int64]:
        """The ids of the segments that a filter keeps, int64 (n,), in rising order. Raises QueryError for a bad filter."""
        return self.segment_ids[self.kept(where)]

    def kept(self, where: str) -> NDArray[np.bool_]:
        """Which rows a filter keeps, bool (N,), in the order of `segment_ids`. Raises QueryError for a bad filter."""
        return self._filter_rows.keep(where)

    @cached_property
    def _filter_rows(self) -> FilterRows:
        return FilterRows(self._batches, {root_id: below(folder) for root_id, folder in self.identity.roots.items()})

    @cached_property
    def _row_readers(self) -> list[RowReader]:
        return [RowReader(batch, self.identity) for batch in self._batches]


def read_current(path: Path) -> Current | None:
    """The newest complete snapshot; None if the file is missing or damaged."""
    try:
        return Current(**json.loads((path / "current").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def open_current(path: Path, identity: Identity, current: Current) -> Snapshot:
    """Open the snapshot that `current` names. Raises DamagedError if it is missing or damaged."""
    return open_files(path, path / "snapshots" / str(current.version), identity, current)


@contextmanager
def damage_of(folder: Path) -> Iterator[None]:
    """Whatever is raised while files of a snapshot are opened becomes a DamagedError: their libraries raise errors of many types."""
    try:
        yield
    except Exception as error:
        raise DamagedError(f"{folder}: {error or repr(error)}") from error


def made_from(collection_id: str, version: int) -> dict[bytes, bytes]:
    """The metadata of `rows.arrow`, so that files of two collections are not mixed."""
    return {b"collection_id": collection_id.encode(), b"version": str(version).encode()}


def read_rows(folder: Path) -> tuple[pa.RecordBatch, ...]:
    """The rows of a snapshot, mapped into memory. Use it within `damage_of`."""
    reader = pa.ipc.open_file(pa.memory_map(str(folder / ROWS)))
    return tuple(reader.get_batch(number) for number in range(reader.num_record_batches))


def read_statistics(folder: Path) -> Statistics:
    """The statistics of a snapshot. Use it within `damage_of`."""
    values = json.loads((folder / STATISTICS).read_text())
    return Statistics(**{**values, "index": IndexInfo.from_json(values["index"])})


def open_files(path: Path, folder: Path, identity: Identity, current: Current) -> Snapshot:
    """Open the files of a snapshot in any folder. Raises as `open_current`."""
    with damage_of(folder):
        statistics = read_statistics(folder)
        batches = read_rows(folder)
        index = open_index(folder, statistics.index)
        num_rows, width = sum(batch.num_rows for batch in batches), index.main.vectors.shape[1]
        if len(index) != num_rows or width != identity.embedding_width:
            raise ValueError(f"{len(index)} vectors of {width} numbers for {num_rows} rows")
        wanted = made_from(identity.collection_id, current.version)
        if made_from(statistics.collection_id, statistics.version) != wanted or any(batch.schema.metadata != wanted for batch in batches):
            raise ValueError("a file of another collection or version")
    return Snapshot(path, identity, current, statistics, index, batches)
