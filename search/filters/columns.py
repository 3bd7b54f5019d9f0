"""The columns that filters ask: which there are, and their values in the form in which they are compared, made when first needed."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from media.file_names import escape
from search.filters.expression import Name, Refused
from search.filters.text import any_of, fold, folded
from search.schema import ColumnInfo, Row, arrow_fields, columns_of

CLOCK = "taken_at on the photographer's clock"
_KINDS = {int: "a number", float: "a number", str: "text", bool: "true or false", tuple: "a list of texts"}
_MICROSECONDS_PER_MINUTE = 60_000_000


@dataclass(frozen=True)
class Texts:
    """A column of texts: each distinct folded value once, and where it is. `lists`: the elements of each row, for a column of lists."""

    values: pa.Array
    indices: pa.Array
    lists: pa.ListArray | None = None

    def of_rows(self, mask: pa.Array) -> pa.Array:
        """A value for each row from one for each distinct text: that of its text, or whether any of its texts has it."""
        each = mask.take(self.indices)
        return each if self.lists is None else any_of(each, self.lists)


@cache
def known() -> dict[str, ColumnInfo]:
    return {each.name: each for each in columns_of(Row)}


def column_of(name: Name) -> ColumnInfo:
    """The column of a name in any case. Raises Refused for an unknown one."""
    column = known().get(name.text.lower())
    if column is None:
        word = name.text[:40].lower()
        close = difflib.get_close_matches(word, known(), n=3) or [each for each in known() if len(word) > 2 and word in each][:3]
        advice = f"Did you mean {' or '.join(close)}?" if close else "Text is written in single quotes, such as 'lake'."
        raise Refused(name.at, f"unknown column {name.text[:40]}. {advice}")
    return column


def kind_of(column: ColumnInfo) -> str:
    """What a column holds, in words."""
    return _KINDS.get(column.type) or ("a local time" if column.arrow_name == "local" else "a time")


class Columns:
    """The columns of the rows of a snapshot. Thread-safe: two threads may make the same column, and one is kept."""

    def __init__(self, batches: Sequence[pa.RecordBatch], roots: Mapping[str, str]) -> None:
        """`roots`: what the path of a file is appended to, by the id of its root."""
        self._batches, self._roots = batches, roots
        self._made: dict[str, pa.Array | Texts] = {}
        self.num_rows = sum(batch.num_rows for batch in batches)

    def texts(self, name: str) -> Texts:
        if name not in self._made:
            self._made[name] = self._uris() if name == "uri" else self._texts(name)
        return self._made[name]

    def numbers(self, name: str) -> pa.Array:
        """Numbers, booleans as 0 and 1, and times in microseconds: int64 or float64 (N,). NaN is null."""
        if name not in self._made:
            self._made[name] = self._clock() if name == CLOCK else self._numbers(name)
        return self._made[name]

    def is_null(self, name: str) -> pa.Array:
        column = known()[name]
        if column.type in {str, tuple}:
            return pc.is_null(self._stored("path" if name == "uri" else name))
        return pc.is_null(self.numbers(name))

    def _stored(self, name: str) -> pa.Array:
        """A stored column as one array; all null if an older version did not write it."""
        parts = [batch.column(name) for batch in self._batches if name in batch.schema.names]
        if len(parts) < len(self._batches) or not parts:
            return pa.nulls(self.num_rows, arrow_fields((known()[name],))[0].type)
        if len(parts) == 1:
            return parts[0]
        whole = pa.chunked_array(parts)
        whole = whole.unify_dictionaries().combine_chunks()
        return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole

    def _texts(self, name: str) -> Texts:
        stored = self._stored(name)
        lists = stored if pa.types.is_list(stored.type) else None
        plain = stored if lists is None else lists.values[_first(lists) : _last(lists)]
        distinct = plain if pa.types.is_dictionary(plain.type) else plain.dictionary_encode()
        return Texts(folded(distinct.dictionary), distinct.indices, lists)

    def _uris(self) -> Texts:
        paths, roots = self.texts("path"), self._stored("root_id")
        roots = roots if pa.types.is_dictionary(roots.type) else roots.dictionary_encode()
        above = [fold(escape(self._roots.get(each, f"(unknown root {each})/") if each else "")) for each in roots.dictionary.to_pylist()]
        folders = pa.array(above, pa.string()).take(roots.indices)
        uris = pc.binary_join_element_wise(folders, paths.values.take(paths.indices), "")
        return Texts(uris, pa.array(np.arange(self.num_rows)))

    def _numbers(self, name: str) -> pa.Array:
        stored, column = self._stored(name), known()[name]
        if column.type is float:
            return _without_nan(stored.cast(pa.float64()))
        return stored.cast(pa.int64()) if column.type in {int, bool} else stored.cast(pa.timestamp("us", stored.type.tz)).view(pa.int64())

    def _clock(self) -> pa.Array:
        """When it was taken on the clock of the photographer; older versions stored only the moment, and the offset if it was known."""
        moment, offset = self.numbers("taken_at"), self.numbers("utc_offset_minutes")
        return pc.coalesce(self.numbers("taken_local"), pc.add(moment, pc.multiply(offset, _MICROSECONDS_PER_MINUTE)), moment)


def _without_nan(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _first(lists: pa.ListArray) -> int:
    return int(lists.offsets[0].as_py())


def _last(lists: pa.ListArray) -> int:
    return int(lists.offsets[-1].as_py())
