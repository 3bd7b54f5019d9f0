"""What a collection stores of one file: rows and thumbnails, or a failure; and which files it knows.

The columns are those of `search.schema`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.collection.identity import Identity
from search.collection.lance_tables import LanceTable
from search.schema import FailureColumns, FileColumns, Kind, columns_of, segment_id_of, stored_columns

_FILE = ("media_id", "root_id", "path", "size_bytes", "mtime", "sha256", "revision")
_FAILURE = ("root_id", "path", "size_bytes", "mtime", "revision", "stage", "reason", "attempts")


@dataclass(frozen=True)
class Segment:
    """One vector, float32 (E,) of L2 norm 1, and what it stands for. Times in seconds, `[start, end)`; None for a picture."""

    kind: Kind
    vector: NDArray[np.float32]
    start_seconds: float | None = None
    end_seconds: float | None = None
    frame_seconds: float | None = None


@dataclass(frozen=True)
class FileRows:
    """Everything that a collection stores of one file.

    `thumbnails` maps the `frame_seconds` of segments to WebP bytes.
    """

    file: FileColumns
    segments: tuple[Segment, ...]
    thumbnails: Mapping[float | None, bytes]


@dataclass(frozen=True, kw_only=True)
class Failure(FailureColumns):
    """A file that could not be indexed. `uri` is its absolute path."""

    uri: str


class KnownFile(NamedTuple):
    """A file as the collection knows it. A tuple, because a run makes one for each indexed file."""

    uri: str
    media_id: int
    root_id: str
    path: str
    size_bytes: int
    mtime: float
    sha256: str
    revision: str | None = None


def segment_rows(files: Iterable[FileRows], schema: pa.Schema) -> pa.Table:
    """The rows of some files as a table with the columns of `segments.lance`."""
    names = [each.name for each in columns_of(FileColumns)]
    rows: list[dict[str, Any]] = []
    for each in files:
        shared = {name: getattr(each.file, name) for name in names}
        for ordinal, segment in enumerate(each.segments):
            rows.append({**shared, **vars(segment), "segment_id": segment_id_of(each.file.media_id, ordinal)})
    return pa.Table.from_pylist(rows, schema=schema)


def failure_rows(failures: Iterable[Failure], schema: pa.Schema) -> pa.Table:
    """Failures as a table with the columns of `failures.lance`."""
    names = [each.name for each in stored_columns(FailureColumns)]
    return pa.Table.from_pylist([{name: getattr(failure, name) for name in names} for failure in failures], schema=schema)


def known_files(segments: LanceTable, identity: Identity) -> dict[str, KnownFile]:
    """Every indexed file by its uri. Reads columns, because a dictionary for each row would take most of the time of a run."""
    columns = _columns(segments, _FILE)
    uris = identity.uris_of(columns["root_id"], columns["path"])
    values = (columns[name] for name in _FILE)
    return {file.uri: file for file in map(KnownFile, uris, *values)}


def from_manifest(segments: LanceTable, media_ids: Iterable[int] | None = None) -> dict[int, dict[str, Any]]:
    """The columns that a manifest filled, by media id, of the indexed files among these; None for all files."""
    names = [each.name for each in columns_of(FileColumns) if each.name in segments.schema.names]
    if "from_manifest" not in names:
        return {}  # no manifest was used when the table was written
    if media_ids is None:
        rows = segments.read(names, "from_manifest IS NOT NULL")
    else:
        rows = segments.read_by_id("media_id", sorted(media_ids), names)
    return {row["media_id"]: {name: row[name] for name in row["from_manifest"]} for row in rows.to_pylist() if row["from_manifest"]}


def known_failures(failures: LanceTable, identity: Identity) -> dict[str, Failure]:
    """Every failed file by its uri."""
    columns = _columns(failures, _FAILURE)
    uris = identity.uris_of(columns["root_id"], columns["path"])
    rows = (dict(zip(_FAILURE, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return {uri: Failure(uri=uri, **row) for uri, row in zip(uris, rows, strict=True)}


def _columns(table: LanceTable, names: Sequence[str]) -> dict[str, list[Any]]:
    """The values of columns. One that an older version did not write is all None."""
    rows: pa.Table = table.read([name for name in names if name in table.schema.names])
    return {name: rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows for name in names}
