"""Lance: the only file that imports lancedb. Every function that writes makes exactly one commit."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from search.errors import QueryError

_ID_CHUNK = 2000  # ids in one SQL filter
_KEEP_OLD_VERSIONS = timedelta(days=1)  # readers of an older snapshot have this long to move on


class LanceTable:
    """One Lance table in the folder of a collection."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema | None = None) -> None:
        """Open the table; create it first where a `schema` is given and it is not there."""
        import lancedb  # here, as it takes 1.5 s, and training and most evaluations open no table

        database = lancedb.connect(str(folder))
        self._table = database.open_table(name) if schema is None else database.create_table(name, schema=schema, exist_ok=True)

    @property
    def version(self) -> int:
        return int(self._table.version)

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def pin(self, version: int | None) -> None:
        """Read the given version from now on; with None, follow the latest."""
        self._table.checkout_latest()
        if version is not None:
            self._table.checkout(version)

    def latest_version(self) -> int:
        """The newest committed version, also while an older one is pinned."""
        return max(int(entry["version"]) for entry in self._table.list_versions())

    def count(self, where: str | None = None) -> int:
        return int(self._table.count_rows(where))

    def read(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """The given columns of all rows, or of those that the SQL filter `where` keeps. Raises QueryError for a bad filter."""
        query = self._table.search().select(list(columns))
        try:
            return (query.where(where) if where else query).to_arrow()
        except (ValueError, RuntimeError) as error:
            if where is None:
                raise
            raise QueryError(str(error).splitlines()[0]) from error

    def batches(self, columns: Sequence[str], rows: int = 65536) -> Iterator[pa.RecordBatch]:
        """The given columns of all rows, in bounded memory."""
        yield from self._table.search().select(list(columns)).to_batches(rows)

    def read_by_id(self, column: str, ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows whose `column` is one of `ids`, in no particular order."""
        parts = [self.read(columns, f"{column} IN ({_joined(chunk)})") for chunk in _chunks(ids)]
        return pa.concat_tables(parts) if parts else self.schema.empty_table().select(list(columns))

    def replace(self, rows: pa.Table, *, key: str, stale: str | None = None) -> None:
        """Insert `rows`, or update those with the same `key`; rows that match `stale` and are not among them go."""
        merge = self._table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
        if stale is not None:
            merge = merge.when_not_matched_by_source_delete(stale)
        merge.execute(rows)

    def delete(self, where: str) -> None:
        self._table.delete(where)

    def compact(self) -> None:
        """Merge small fragments and drop versions that no reader should hold any more."""
        self._table.optimize(cleanup_older_than=_KEEP_OLD_VERSIONS)


def is_table(folder: Path, name: str) -> bool:
    return (folder / f"{name}.lance").is_dir()


def in_list(column: str, values: Iterable[int | str]) -> str:
    """The SQL filter `column IN (values)`, quoted."""
    return f"{column} IN ({_joined(list(values))})"


def _joined(values: Sequence[int | str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(int(value)) for value in values)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _ID_CHUNK):
        yield ids[start : start + _ID_CHUNK]
