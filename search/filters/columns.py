"""The columns that filters ask: which there are, and their values in the form in which they are compared, made when first needed."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from media.file_names import escape
from search.filters.bits import as_bool, is_valid, numbers, plain, texts
from search.filters.expression import Name
from search.filters.literals import Refused
from search.filters.text import fold, folded
from search.schema import ColumnInfo, Row, arrow_fields, columns_of

CLOCK = "taken_at on the photographer's clock"
_KINDS = {int: "a number", float: "a number", str: "text", bool: "true or false", tuple: "a list of texts"}
_SAMPLE = 1024
_MICROSECONDS_PER_MINUTE = 60_000_000


@dataclass(frozen=True)
class Texts:
    """A column of folded texts.

    Attributes:
        values: the text of each row; or, with `indices`, distinct texts.
        indices: which of them a row has, or an element of the lists: int32, 0 for null, otherwise the position plus 1.
        owners: for a column of lists, the row of each element, int32.
        known: which rows are not null, bool (N,).
    """

    values: pa.Array
    known: NDArray[np.bool_]
    indices: NDArray[np.int32] | None = None
    owners: NDArray[np.int32] | None = None

    def rows(self, rows: NDArray[np.int64] | None = None) -> pa.Array:
        """The texts of some rows, or of all of them; not for a column of lists."""
        if self.indices is None:
            return self.values if rows is None else self.values.take(numbers(rows))
        indices = self.indices if rows is None else self.indices[rows]
        return self.values.take(numbers(indices - 1, indices > 0))

    def of_rows(self, test: Callable[[pa.Array], pa.BooleanArray], rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Whether a test is true of the text of each row, bool (n,), or of any of its texts."""
        if self.indices is None or (self.owners is None and rows is not None and len(rows) < len(self.values)):
            return as_bool(test(self.rows(rows)))
        true = np.concatenate([[False], as_bool(test(self.values))])
        if self.owners is None:
            return _taken(true, self.indices if rows is None else self.indices[rows])
        found = np.zeros(len(self.known), bool)
        found[self.owners[np.flatnonzero(_taken(true, self.indices))]] = True
        found &= self.known
        return found if rows is None else found[rows]


def _taken(true: NDArray[np.bool_], indices: NDArray[np.int32]) -> NDArray[np.bool_]:
    """`true[indices]`. Looking for one index is five times as fast."""
    chosen = np.flatnonzero(true)
    return indices == np.int32(chosen[0]) if len(chosen) == 1 else true.take(indices, mode="clip")


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
        self._texts: dict[str, Texts] = {}
        self._numbers: dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]] = {}
        self.num_rows = sum(batch.num_rows for batch in batches)

    def texts(self, name: str) -> Texts:
        if name not in self._texts:
            self._texts[name] = self._uris() if name == "uri" else _texts(self._stored(name))
            pa.default_memory_pool().release_unused()  # what folding needed on the way: more than the texts
        return self._texts[name]

    def numbers(self, name: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Numbers, booleans as 0 and 1, and times in microseconds (N,); and which are known, bool (N,) or None if all are."""
        if name not in self._numbers:
            self._numbers[name] = self._clock() if name == CLOCK else _numbers(self._stored(name), known()[name])
        return self._numbers[name]

    def is_known(self, name: str) -> NDArray[np.bool_]:
        """Which rows have a value, bool (N,)."""
        if known()[name].type in {str, tuple}:
            return self._texts[name].known if name in self._texts else is_valid(self._stored("path" if name == "uri" else name))
        _, are_known = self.numbers(name)
        return np.ones(self.num_rows, bool) if are_known is None else are_known

    def _stored(self, name: str) -> pa.Array:
        """A stored column as one array; all null if an older version did not write it."""
        parts = [batch.column(name) for batch in self._batches if name in batch.schema.names]
        if len(parts) < len(self._batches) or not parts:
            return pa.nulls(self.num_rows, arrow_fields((known()[name],))[0].type)
        if len(parts) == 1:
            return parts[0]
        whole = pa.chunked_array(parts).unify_dictionaries()
        if pa.types.is_string(whole.type):
            whole = whole.cast(pa.large_string())  # together they may be more than 2 GiB
        whole = whole.combine_chunks()
        return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole

    def _uris(self) -> Texts:
        paths, roots = self.texts("path"), _encoded(self._stored("root_id"))
        above = [fold(escape(self._roots.get(each, f"(unknown root {each})/"))) if each else "" for each in roots.dictionary.to_pylist()]
        folders = texts(above, paths.values.type).take(roots.indices)
        return Texts(pc.binary_join_element_wise(folders, paths.rows(), texts([""], folders.type)[0]), paths.known)

    def _clock(self) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """When it was taken on the clock of the photographer; older versions stored only the moment, and the offset if it was known."""
        (moment, _), (local, _), (offset, _) = map(self.numbers, ("taken_at", "taken_local", "utc_offset_minutes"))
        has_local, has_offset = self.is_known("taken_local"), self.is_known("utc_offset_minutes")
        shifted = moment + np.where(has_offset, offset, 0).astype(np.int64) * _MICROSECONDS_PER_MINUTE
        return np.where(has_local, local, shifted), has_local | self.is_known("taken_at")


def _numbers(stored: pa.Array, column: ColumnInfo) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    are_known = is_valid(stored) if stored.null_count else None
    if column.type is bool:
        return as_bool(stored).view(np.int8), are_known
    if column.type is float:
        values = plain(stored.cast(pa.float64()), np.float64)
        is_nan = np.isnan(values)
        return values, is_valid(stored) & ~is_nan if is_nan.any() else are_known
    if column.type is int:
        return plain(stored, np.int32) if stored.type == pa.int32() else plain(stored.cast(pa.int64()), np.int64), are_known
    return plain(stored.cast(pa.timestamp("us", stored.type.tz)), np.int64), are_known


def _texts(stored: pa.Array) -> Texts:
    if not pa.types.is_list(stored.type):
        if not pa.types.is_dictionary(stored.type) and _are_distinct(stored):
            return Texts(folded(stored), is_valid(stored))
        encoded = _encoded(stored)
        return Texts(folded(encoded.dictionary), is_valid(stored), _indices(encoded))
    offsets = plain(stored.offsets, np.int32)
    encoded = _encoded(stored.values[offsets[0] : offsets[-1]] if len(stored) else stored.values)
    owners = np.repeat(np.arange(len(stored), dtype=np.int32), np.diff(offsets))
    return Texts(folded(encoded.dictionary), is_valid(stored), _indices(encoded), owners)


def _are_distinct(texts: pa.Array) -> bool:
    """Whether most of the texts seem to be different. A dictionary of them would be large, slow to make, and of no use."""
    sample = texts.slice(0, _SAMPLE)
    return len(sample.unique()) * 2 > len(sample)


def _encoded(texts: pa.Array) -> pa.DictionaryArray:
    return texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()


def _indices(encoded: pa.DictionaryArray) -> NDArray[np.int32]:
    return np.where(is_valid(encoded.indices), plain(encoded.indices.cast(pa.int32()), np.int32) + 1, 0).astype(np.int32, copy=False)
