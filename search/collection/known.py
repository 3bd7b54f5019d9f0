"""The files that a collection knows, read from its tables for a run of the indexer."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from search.collection.identity import Identity
from search.collection.lance_tables import LanceTable
from search.collection.rows import Failure, KnownFile

_FILE = ("media_id", "root_id", "path", "size_bytes", "mtime", "sha256", "revision")
_FAILURE = ("root_id", "path", "size_bytes", "mtime", "revision", "stage", "reason", "attempts")


def known_files(segments: LanceTable, identity: Identity) -> dict[str, KnownFile]:
    """Every indexed file by its uri. Reads columns, because a dictionary for each row would take most of the time of a run."""
    columns = _columns(segments, _FILE)
    uris = identity.uris_of(columns["root_id"], columns["path"])
    values = (columns[name] for name in _FILE)
    return {file.uri: file for file in map(KnownFile, uris, *values)}


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
