"""Which rows a filter keeps: the conditions of a filter, computed by Arrow and NumPy over the columns in memory."""

import operator
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from search.filters.bits import as_bool, texts
from search.filters.check import condition_of
from search.filters.columns import Columns
from search.filters.conditions import Condition, Constant, Joined, Matching, Negated, Null, OneOf, Ordered, Pair, Within, repeated
from search.filters.intervals import inside
from search.filters.text import contain_any, equal_any

_KEPT = 8  # filters whose rows are kept: a search that needs more candidates, or the next page, asks again
_MANY = 4  # the rows that are still open are looked at alone if they are fewer than one in so many
_COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COMPARE_TEXTS = {"=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}


class FilterRows:
    """The rows of a snapshot, as filters see them."""

    def __init__(self, batches: Sequence[pa.RecordBatch], roots: Mapping[str, str]) -> None:
        """`roots`: what the path of a file is appended to, by the id of its root."""
        self._columns = Columns(batches, roots)
        self.keep = lru_cache(_KEPT)(self._keep)

    def _keep(self, where: str) -> NDArray[np.bool_]:
        """Which rows a filter keeps, bool (N,). Raises QueryError, which shows the place, for a bad filter."""
        condition = condition_of(where)
        kept = _Evaluation(self._columns, repeated(condition)).of(condition)
        kept.flags.writeable = False
        return kept


class _Evaluation:
    """The evaluation of one filter."""

    def __init__(self, columns: Columns, repeated: set[Condition]) -> None:
        self._columns, self._repeated = columns, repeated
        self._found: dict[Condition, NDArray[np.bool_]] = {}

    def of(self, test: Condition, rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """For which of the rows a condition is true, bool (n,). `rows`: their positions; by default all rows."""
        if test in self._repeated:
            if test not in self._found:
                self._found[test] = self._test(test, None)
            return _at(self._found[test], rows)
        return self._joined(test, rows) if isinstance(test, Joined) else self._test(test, rows)

    def _joined(self, test: Joined, rows: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        """Each part is asked only of the rows that are still open, if they are few."""
        found = self.of(test.parts[0], rows)
        for position, part in enumerate(test.parts[1:], 1):
            is_open = found if test.is_all else ~found
            if np.count_nonzero(is_open) * _MANY < len(found):
                open_ = np.flatnonzero(is_open)
                found = found.copy()
                if len(open_):
                    rest = Joined(test.is_all, test.parts[position:])
                    found[open_] = self._joined(rest, open_ if rows is None else rows[open_])
                return found
            found = found & self.of(part, rows) if test.is_all else found | self.of(part, rows)
        return found

    def _test(self, test: Condition, rows: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        columns = self._columns
        match test:
            case Constant():
                return np.full(columns.num_rows if rows is None else len(rows), test.value)
            case Null():
                return _at(columns.is_known(test.column), rows) ^ test.is_null
            case Within():
                values, known = columns.numbers(test.column)
                found = inside(_at(values, rows), test.intervals)
                return found if known is None else found & _at(known, rows)
            case Pair():
                return self._pair(test, rows)
            case Negated():
                return _at(columns.is_known(test.test.column), rows) & ~self.of(test.test, rows)
            case OneOf() | Ordered() | Matching():
                return columns.texts(test.column).of_rows(lambda values: _of_texts(test, values), rows)
        raise AssertionError(test)

    def _pair(self, test: Pair, rows: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        names = test.left, test.right
        if test.are_texts:
            return as_bool(_COMPARE_TEXTS[test.operator](*(self._columns.texts(name).rows(rows) for name in names)))
        (left, left_known), (right, right_known) = map(self._columns.numbers, names)
        found = _COMPARE[test.operator](_at(left, rows), _at(right, rows))
        for known in (left_known, right_known):
            found = found if known is None else found & _at(known, rows)
        return found


def _of_texts(test: OneOf | Ordered | Matching, values: pa.Array) -> pa.BooleanArray:
    match test:
        case Matching():
            return test.pattern.matches(values)
        case Ordered():
            return _COMPARE_TEXTS[test.operator](values, texts([test.text], values.type)[0])
    return (contain_any if test.contains else equal_any)(values, test.texts)


def _at(values: NDArray[Any], rows: NDArray[np.int64] | None) -> NDArray[Any]:
    return values if rows is None else values[rows]
