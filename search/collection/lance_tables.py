"""Lance: the only file that imports lancedb. Every function that writes makes exactly one commit."""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from search.errors import IncompatibleError

SEGMENTS, FAILURES = "segments", "failures"
_IDS_PER_FILTER = 2000
_MOST_SMALL_FRAGMENTS, _VERSIONS_PER_CLEANUP = 8, 32
_KEEP_OLD_VERSIONS = timedelta(days=1)  # readers of an older snapshot have this long to move on


class LanceTable:
    """One Lance table in the folder of a collection. Reading raises IncompatibleError if the table is missing or damaged."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema | None = None) -> None:
        """Open the table. With a `schema`, create it if it is missing, and add the columns that it lacks."""
        import lancedb  # takes 1.5 s to import, and a search without a filter opens no table

        self._folder, self._name = folder, name
        if schema is None:
            check_table(folder, name)  # `connect` would make the folder of a collection that was removed
        self._database = lancedb.connect(str(folder))
        with self._readable():
            if schema is None:
                self._table = self._database.open_table(name)
                return
            try:
                self._table = self._database.create_table(name, schema=schema, exist_ok=True)
            except ValueError:  # it has other columns
                self._table = self._database.open_table(name)
            if lacking := [field for field in schema if field.name not in self._table.schema.names]:
                self._table.add_columns([field.with_nullable(True) for field in lacking])

    @property
    def version(self) -> int:
        return int(self._table.version)

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def pin(self, version: int) -> None:
        """Read the given version from now on."""
        with self._readable():
            self._table.checkout(version)

    def count(self, where: str | None = None) -> int:
        with self._readable():
            return int(self._table.count_rows(where))

    def read(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """The given columns of all rows, or of the rows that our SQL filter `where` keeps."""
        query = self._table.search().select(list(columns))
        with self._readable():
            return (query.where(where) if where else query).to_arrow()

    def batches(self, columns: Sequence[str], rows: int = 65536) -> Iterator[pa.RecordBatch]:
        """The given columns of all rows, in bounded memory."""
        with self._readable():
            yield from self._table.search().select(list(columns)).to_batches(rows)

    def read_by_id(self, column: str, ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The rows whose `column` is one of `ids`, in no particular order."""
        chunks = (ids[start : start + _IDS_PER_FILTER] for start in range(0, len(ids), _IDS_PER_FILTER))
        parts = [self.read(columns, in_list(column, chunk)) for chunk in chunks]
        return pa.concat_tables(parts) if parts else self.schema.empty_table().select(list(columns))

    def replace(self, rows: pa.Table, *, key: str | list[str], stale: str | None = None) -> None:
        """Insert `rows`, or update those with the same `key`. Rows that match the filter `stale` and are not in `rows` are deleted."""
        merge = self._table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
        if stale is not None:
            merge = merge.when_not_matched_by_source_delete(stale)
        merge.execute(rows)

    def update(self, rows: pa.Table, *, key: str) -> None:
        """Set some columns of the rows with the same `key`. The other columns, such as vectors, are not written again."""
        self._table.merge_insert(key).when_matched_update_all().execute(rows)

    def rewrite(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Replace all rows and the schema in one commit."""
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        self._table = self._database.create_table(self._name, data=reader, schema=schema, mode="overwrite")

    def delete(self, where: str) -> None:
        self._table.delete(where)

    def compact(self, *, since_version: int) -> None:
        """Merge small fragments, and drop versions that no reader should hold any more, if there are many since the last time.

        Merging rewrites most of the table, so a run that adds one picture should not wait for it. Warns if an old version is damaged.
        """
        many_versions = since_version // _VERSIONS_PER_CLEANUP != self.version // _VERSIONS_PER_CLEANUP
        try:
            if not many_versions and self._table.stats()["fragment_stats"]["num_small_fragments"] <= _MOST_SMALL_FRAGMENTS:
                return
            self._table.optimize(cleanup_older_than=_KEEP_OLD_VERSIONS)
        except (ValueError, RuntimeError) as error:
            warnings.warn(f"{self._folder}: the table {self._name} was not compacted ({_reason(error)}).", stacklevel=2)

    def rewrite_fragments(self) -> None:
        """Merge small fragments now, as a new version, also if nothing is merged."""
        self._table.optimize(cleanup_older_than=_KEEP_OLD_VERSIONS)
        self._table.delete("false")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            raise IncompatibleError(
                f"{self._folder}: the table {self._name} cannot be read ({_reason(error)}). "
                "Open the collection again if it was replaced; otherwise restore it from a backup."
            ) from error


def check_table(folder: Path, name: str) -> None:
    """Raises IncompatibleError if a table of a collection is missing."""
    if not (folder / f"{name}.lance").is_dir():
        raise IncompatibleError(f"{folder}: the table {name} is missing. Restore it, or index into a new --collection directory.")


def _reason(error: Exception) -> str:
    """The first line of an error of Lance, without the places in its source."""
    return re.split(r",? /\S+\.rs", (str(error).splitlines() or [repr(error)])[0])[0]


def in_list(column: str, values: Iterable[int | str]) -> str:
    """The SQL filter `column IN (values)`, quoted."""
    return f"{column} IN ({', '.join(quoted(value) for value in values)})"


def quoted(value: int | str) -> str:
    """A value as an SQL literal."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(int(value))
