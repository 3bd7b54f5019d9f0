"""Rows of a snapshot as Python values.

Most columns of most rows are numbers, or null in every row. These are read without Arrow: each of its calls lets another thread go first,
so many small calls make searches wait for each other.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.collection.identity import Identity
from search.filters.bits import numbers
from search.schema import ColumnInfo, Row, datetime_of, stored_columns

Positions = NDArray[np.int64]
_MOST_IN_DICTIONARY = 10_000  # values that are kept as Python objects


class RowReader:
    """Reads rows of one batch, by position. Several threads may use it at once."""

    def __init__(self, batch: pa.RecordBatch, identity: Identity) -> None:
        self._batch, self._identity = batch, identity

    def rows(self, positions: Positions) -> list[dict[str, Any]]:
        """The columns of `search.schema.Row` of some rows, in the given order."""
        columns = {name: read(positions) for name, read in self._columns.items()}
        columns["uri"] = self._identity.uris_of(columns["root_id"], columns["path"])
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    @cached_property
    def _columns(self) -> dict[str, Callable[[Positions], list[Any]]]:
        stored = dict(zip(self._batch.schema.names, self._batch.columns, strict=True))
        return {each.name: _reader(stored.get(each.name), each) for each in stored_columns(Row)}


def _reader(values: pa.Array | None, column: ColumnInfo) -> Callable[[Positions], list[Any]]:
    """Reads a column; all None if an older version did not write it."""
    if values is None:
        return lambda positions: [None] * len(positions)
    if column.type is datetime:
        moments, without_zone = _plain_reader(values.view(pa.int64())), column.arrow_name == "local"
        return lambda positions: [_moment(microseconds, without_zone=without_zone) for microseconds in moments(positions)]
    plainly = _plain_reader(values)
    if column.type is tuple:
        return lambda positions: [each if each is None else tuple(each) for each in plainly(positions)]
    return plainly


def _plain_reader(values: pa.Array) -> Callable[[Positions], list[Any]]:
    if values.null_count == len(values):
        return lambda positions: [None] * len(positions)
    if pa.types.is_dictionary(values.type) and len(values.dictionary) <= _MOST_IN_DICTIONARY:
        known, of_row = values.dictionary.to_pylist(), _plain_reader(values.indices)
        return lambda positions: [None if index is None else known[index] for index in of_row(positions)]
    if not values.null_count and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        array = np.asarray(np.from_dlpack(values))
        return lambda positions: array[positions].tolist()
    return lambda positions: plain(values.take(numbers(positions)))


def _moment(microseconds: int | None, *, without_zone: bool) -> datetime | None:
    moment = datetime_of(microseconds)
    return moment.replace(tzinfo=None) if moment is not None and without_zone else moment


def plain(values: pa.Array) -> list[Any]:
    """The values as Python objects. `to_pylist` of a dictionary is 50 times as slow."""
    return (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).to_pylist()
