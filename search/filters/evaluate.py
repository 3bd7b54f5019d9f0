"""Which rows a filter keeps: each test is checked against the types of its columns, and computed by Arrow.

Null logic is that of SQL: a comparison with null is null, NOT null is null, and only true keeps a row.
Numbers and times are compared as closed intervals of the values of a column, so that all comparisons are exact.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from search.errors import QueryError
from search.filters.columns import CLOCK, Columns, column_of, kind_of
from search.filters.dates import interval
from search.filters.expression import And, Comparison, Expression, In, IsNull, Items, Like, Literal, Name, Not, Or, Refused
from search.filters.text import fold, like
from search.schema import KINDS, ColumnInfo

if TYPE_CHECKING:
    Intervals = list[tuple[Any, Any]]

MAX_PATTERN = 4_096  # characters
MAX_WILDCARDS = 32  # in all patterns of a filter
MAX_PATTERNS = 8
_KEPT = 8  # filters whose rows are kept: a search that needs more candidates, or the next page, asks again
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_COMPARE = {"=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
_INT64 = (-(2**63), 2**63 - 1)


class FilterRows:
    """The rows of a snapshot, as filters see them."""

    def __init__(self, batches: Sequence[pa.RecordBatch], roots: Mapping[str, str]) -> None:
        """`roots`: what the path of a file is appended to, by the id of its root."""
        self._columns = Columns(batches, roots)
        self.keep = lru_cache(_KEPT)(self._keep)

    def _keep(self, where: str) -> NDArray[np.bool_]:
        """Which rows a filter keeps, bool (N,). Raises QueryError, which shows the place, for a bad filter."""
        with _shows_the_place(where):
            mask = _Evaluation(self._columns).of(_parsed(where))
        kept = np.array(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), bool)
        kept.flags.writeable = False
        return kept


def checked(where: str) -> str:
    """The same filter. Raises QueryError if it is no whole expression, so it can be put into parentheses."""
    with _shows_the_place(where):
        _parsed(where)
    return where


def _parsed(where: str) -> Expression:
    from search.filters.grammar import parse  # Lark, which only filters need

    return parse(where)


@contextmanager
def _shows_the_place(where: str) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        place = f"at character {refused.at + 1} ({_excerpt(where, refused.at)})"
        raise QueryError(f"The filter cannot be used {place}: {refused.reason}") from None


def _excerpt(where: str, at: int) -> str:
    start, stop = max(0, at - 12), at + 24
    shown = " ".join(where[start:stop].encode(errors="replace").decode().split())
    return f"{'…' if start else ''}{shown}{'…' if stop < len(where) else ''}"


class _Evaluation:
    """The evaluation of one filter."""

    def __init__(self, columns: Columns) -> None:
        self._columns, self._num_wildcards, self._num_patterns = columns, 0, 0

    def of(self, test: Expression) -> pa.Array:  # noqa: PLR0911
        """True, false or null for each row, bool (N,)."""
        match test:
            case And():
                return reduce(pc.and_kleene, map(self.of, test.parts))
            case Or():
                return reduce(pc.or_kleene, map(self.of, test.parts))
            case Not():
                return pc.invert(self.of(test.inner))
            case IsNull():
                return self._columns.is_null(column_of(_name(test.left)).name)
            case Comparison():
                return self._comparison(test)
            case In():
                return self._among(column_of(_name(test.left)), test.items, test.at)
            case Like():
                return self._like(test)
            case Items() if len(test.items) == 1:
                return self.of(test.items[0])
            case Literal(value=bool()):
                return pa.array(np.full(self._columns.num_rows, test.value))
            case Name():
                if column_of(test).type is not bool:
                    raise Refused(test.at, f"{test.text[:40]} alone is no condition. Compare it with a value.")
                return pc.equal(self._columns.numbers(column_of(test).name), 1)
        raise Refused(test.at, "a value alone is no condition. Compare a column with it.")

    def _comparison(self, test: Comparison) -> pa.Array:
        left, operator, right = _value(test.left), test.operator, _value(test.right)
        if isinstance(left, Literal):
            left, operator, right = right, _MIRRORED.get(operator, operator), left
        if not isinstance(left, Name):
            raise Refused(left.at, "two values are compared. Compare a column with a value.")
        column = column_of(left)
        if isinstance(right, Name):
            return self._two_columns(column, operator, column_of_right(right), test.at)
        if operator in {"=", "!="}:
            found = self._among(column, (right,), test.at)
            return found if operator == "=" else pc.invert(found)
        if column.type in {tuple, bool}:
            raise Refused(test.at, f"{column.name} is {kind_of(column)} and has no order. Write = or !=.")
        if column.type is str:
            texts = self._columns.texts(column.name)
            return texts.of_rows(_COMPARE[operator](texts.values, fold(_text(column, right))))
        source, (low, high) = _interval(column, right)
        bounds = {"<": (None, _before(low)), "<=": (None, high), ">": (_after(high), None), ">=": (low, None)}[operator]
        return _inside(self._columns.numbers(source), [bounds])

    def _two_columns(self, left: ColumnInfo, operator: str, right: ColumnInfo, at: int) -> pa.Array:
        if kind_of(left) != kind_of(right) or left.type is tuple:
            raise Refused(at, f"{left.name} is {kind_of(left)} and {right.name} is {kind_of(right)}. Compare columns of one type.")
        if left.type is str:
            one, other = (texts.values.take(texts.indices) for texts in map(self._columns.texts, (left.name, right.name)))
            return _COMPARE[operator](one, other)
        one, other = self._columns.numbers(left.name), self._columns.numbers(right.name)
        if one.type != other.type:  # integers above 2^53 have no float64 of their own; sizes in bytes stay below
            one, other = one.cast(pa.float64(), safe=False), other.cast(pa.float64(), safe=False)
        return _COMPARE[operator](one, other)

    def _among(self, column: ColumnInfo, items: Sequence[Literal], at: int) -> pa.Array:
        if column.type in {str, tuple}:
            wanted = [fold(_text(column, item)) for item in items]
            if column.name == "kind" and (
                unknown := next((item for item, text in zip(items, wanted, strict=True) if text not in KINDS), None)
            ):
                raise Refused(unknown.at, f"unknown kind. Allowed are {', '.join(KINDS)}.")
            texts = self._columns.texts(column.name)
            if len(wanted) == 1:
                return texts.of_rows(pc.equal(texts.values, wanted[0]))
            found = pc.is_in(texts.values, pa.array(wanted, pa.string()))
            return texts.of_rows(pc.if_else(pc.is_null(texts.values), pa.scalar(None, pa.bool_()), found))
        by_source: dict[str, Intervals] = {}
        for item in items:
            source, bounds = _interval(column, item)
            by_source.setdefault(source, []).append(bounds)
        return reduce(pc.or_kleene, [_inside(self._columns.numbers(source), each) for source, each in by_source.items()])

    def _like(self, test: Like) -> pa.Array:
        column, pattern = column_of(_name(test.left)), _value(test.pattern)
        if column.type not in {str, tuple}:
            raise Refused(test.at, f"LIKE compares text, and {column.name} is {kind_of(column)}. Write =, < or >.")
        if not isinstance(pattern, Literal):
            raise Refused(pattern.at, "LIKE needs a text in single quotes, such as '%lake%'.")
        text = _text(column, pattern)
        if len(text) > MAX_PATTERN:
            raise Refused(pattern.at, f"the pattern is too long. At most {MAX_PATTERN:,} characters are allowed after LIKE.")
        try:
            matches, num_wildcards = like(text, test.escape)
        except ValueError:
            raise Refused(pattern.at, "nothing follows the escape character. Write it twice to find it.") from None
        self._num_wildcards, self._num_patterns = self._num_wildcards + num_wildcards, self._num_patterns + 1
        if self._num_wildcards > MAX_WILDCARDS or self._num_patterns > MAX_PATTERNS:
            raise Refused(pattern.at, f"too many patterns. At most {MAX_PATTERNS} LIKE with {MAX_WILDCARDS} % and _ are allowed.")
        texts = self._columns.texts(column.name)
        return texts.of_rows(matches(texts.values))


def column_of_right(name: Name) -> ColumnInfo:
    """The column on the right of a comparison, where people write a text without quotes."""
    try:
        return column_of(name)
    except Refused as refused:
        advice = "" if "single quotes" in refused.reason else f" Text is written in single quotes: '{name.text[:40]}'."
        raise Refused(name.at, refused.reason + advice) from None


def _name(part: Expression) -> Name:
    if not isinstance(part, Name):
        raise Refused(part.at, "a column must stand here, such as width.")
    return part


def _value(part: Expression) -> Name | Literal:
    if isinstance(part, Items):
        if len(part.items) > 1:
            raise Refused(part.at, "a list must follow IN.")
        return part.items[0]
    if not isinstance(part, Name | Literal):
        raise Refused(part.at, "a condition cannot be compared. Join conditions with AND or OR.")
    return part


def _text(column: ColumnInfo, literal: Literal) -> str:
    _refuse_null(literal)
    if not isinstance(literal.value, str):
        raise Refused(literal.at, f"{column.name} is {kind_of(column)}. Write the value in single quotes, such as '2021'.")
    return literal.value


def _refuse_null(literal: Literal) -> None:
    if literal.value is None:
        raise Refused(literal.at, "nothing is equal to null. Write IS NULL or IS NOT NULL.")


def _interval(column: ColumnInfo, literal: Literal) -> tuple[str, tuple[Any, Any]]:
    """The values of the column that a literal stands for, as a closed interval; and the name of the array to look in."""
    _refuse_null(literal)
    value = literal.value
    if column.type is bool:
        if not isinstance(value, bool):
            raise Refused(literal.at, f"{column.name} is true or false. Write {column.name} or NOT {column.name}.")
        return column.name, (int(value), int(value))
    if column.type in {int, float}:
        if not isinstance(value, Decimal):
            raise Refused(literal.at, f"{column.name} is a number. Write a number without quotes, such as 1000.")
        return column.name, (math.ceil(value), math.floor(value)) if column.type is int else (float(value), float(value))
    if not isinstance(value, str):
        raise Refused(
            literal.at, f"{column.name} is {kind_of(column)}. Write it in single quotes, such as '2025-09' or '2025-09-11 08:59'."
        )
    try:
        start, end, has_zone = interval(value)
    except ValueError:
        raise Refused(literal.at, "this is no date. Write a year, month, day or time, such as '2025-09' or '2025-09-11 08:59'.") from None
    if has_zone and column.arrow_name == "local":
        raise Refused(literal.at, f"{column.name} is a local time. Leave out the zone, or ask taken_at.")
    return CLOCK if column.name == "taken_at" and not has_zone else column.name, (start, end)


def _before(value: Any) -> Any:
    return math.nextafter(value, -math.inf) if isinstance(value, float) else value - 1


def _after(value: Any) -> Any:
    return math.nextafter(value, math.inf) if isinstance(value, float) else value + 1


def _inside(values: pa.Array, intervals: "Intervals") -> pa.Array:
    """Which values are in one of the closed intervals; None is no bound."""
    least, most = (-math.inf, math.inf) if pa.types.is_floating(values.type) else _INT64
    bounds = [(least if low is None else max(low, least), most if high is None else min(high, most)) for low, high in intervals]
    bounds = sorted((low, high) for low, high in bounds if low <= high)
    is_valid = pc.is_valid(values)
    if len(bounds) == 1:
        low, high = (pa.scalar(each, values.type) for each in bounds[0])
        if bounds[0][0] == bounds[0][1]:
            return pc.equal(values, low)
        if bounds[0][0] == least:
            return pc.less_equal(values, high)
        return (
            pc.greater_equal(values, low) if bounds[0][1] == most else pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
        )
    if not bounds:
        return pc.if_else(is_valid, False, pa.scalar(None, pa.bool_()))
    kind = values.type.to_pandas_dtype()
    starts, ends = np.array([low for low, _ in bounds], kind), np.maximum.accumulate(np.array([high for _, high in bounds], kind))
    plain = pc.fill_null(values, 0).to_numpy()
    nearest = np.searchsorted(starts, plain, side="right") - 1
    found = (nearest >= 0) & (plain <= ends[np.maximum(nearest, 0)])
    return pa.array(found, mask=~is_valid.to_numpy(zero_copy_only=False))
