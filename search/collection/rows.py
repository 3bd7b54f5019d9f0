"""What a collection stores of one file: rows and thumbnails, or a failure. The columns are those of `search.schema`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.schema import FailureColumns, FileColumns, Kind, columns_of, segment_id_of, stored_columns


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
