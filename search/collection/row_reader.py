"""Rows of a snapshot as Python values.

Most columns of most rows are numbers, or null in every row. These are read without Arrow: each of its calls lets another thread go first,
so many small calls make searches wait for each other.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.collection.identity import Identity
from search.filters.bits import numbers
from search.schema import ColumnInfo, Row, datetime_of, stored_columns

Positions = NDArray[np.int64]
Reader = Callable[[Positions], list[Any]]
_MOST_IN_DICTIONARY = 10_000  # values that are kept as Python objects


class RowReader:
    """Reads rows of one batch, by position. Several threads may use it at once."""

    def __init__(self, batch: pa.RecordBatch, identity: Identity) -> None:
        self._batch, self._identity = batch, identity

    def rows(self, positions: Positions) -> list[dict[str, Any]]:
        """The columns of `search.schema.Row` of some rows, in the given order."""
        columns = {name: None if read is None else read(positions) for name, read in self._columns.items()}
        columns["uri"] = self._identity.uris_of(columns["root_id"] or (), columns["path"] or ())
        empty = dict.fromkeys(columns)
        rows: list[dict[str, Any]] = [empty.copy() for _ in positions]  # a third of the time of making each from its items
        for name, values in columns.items():
            if values is not None:
                for row, value in zip(rows, values, strict=True):
                    row[name] = value
        return rows

    @cached_property
    def _columns(self) -> dict[str, Reader | None]:
        stored = dict(zip(self._batch.schema.names, self._batch.columns, strict=True))
        return {each.name: _reader(stored.get(each.name), each) for each in stored_columns(Row)}


def _reader(values: pa.Array | None, column: ColumnInfo) -> Reader | None:
    """Reads a column; None if it is null in every row, as one that an older version did not write."""
    if values is None or values.null_count == len(values):
        return None
    if column.type is datetime:
        times, has_zone = _plain_reader(values.view(pa.duration("us"))), column.arrow_name != "local"
        return lambda positions: [_moment(each, has_zone) for each in times(positions)]
    plainly = _plain_reader(values)
    if column.type is tuple:
        return lambda positions: [each if each is None else tuple(each) for each in plainly(positions)]
    return plainly


def _plain_reader(values: pa.Array) -> Reader:
    if pa.types.is_dictionary(values.type) and len(values.dictionary) <= _MOST_IN_DICTIONARY:
        known, of_row = [*values.dictionary.to_pylist(), None], _plain_reader(values.indices)
        return lambda positions: [known[-1 if index is None else index] for index in of_row(positions)]  # the last is None
    if not values.null_count and pa.types.is_duration(values.type):
        spans = np.asarray(np.from_dlpack(values.view(pa.int64()))).view("m8[us]")
        return lambda positions: spans[positions].tolist()
    if not values.null_count and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        array = np.asarray(np.from_dlpack(values))
        return lambda positions: array[positions].tolist()
    return lambda positions: plain(values.take(numbers(positions)))


def _moment(since_1970: timedelta | None, has_zone: bool) -> datetime | None:
    moment = datetime_of(since_1970)
    return moment if has_zone or moment is None else moment.replace(tzinfo=None)


def plain(values: pa.Array) -> list[Any]:
    """The values as Python objects. `to_pylist` of a dictionary is 50 times as slow."""
    return (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).to_pylist()
