"""From what a filter says to what it asks of the rows: each part is checked against the types of its columns, so no data is needed.

Null logic is that of SQL: a comparison with null is null, NOT null is null, and only true keeps a row.
Numbers and times are compared as closed intervals of the values of a column, so that all comparisons are exact.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from search.errors import QueryError
from search.filters.columns import CLOCK, column_of, kind_of
from search.filters.conditions import (
    Condition,
    Constant,
    Matching,
    Negated,
    Null,
    OneOf,
    Ordered,
    Pair,
    Within,
    join,
    refuse_too_much_work,
)
from search.filters.dates import interval
from search.filters.expression import And, Comparison, Expression, In, IsNull, Like, Name, Not, Or
from search.filters.intervals import after, before, complement, united
from search.filters.literals import Items, Literal, Refused
from search.filters.text import fold, pattern_of
from search.schema import ColumnInfo

MAX_WILDCARDS = 32  # in a pattern
MAX_PATTERN = 5_000  # characters, more than those of a path; RE2 becomes 30 times as slow with longer ones
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INVERSE = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def condition_of(where: str) -> Condition:
    """What a filter asks. Raises QueryError, which shows the place, for a bad one."""
    with _shows_the_place([where], [0]):
        return _condition(where)


def joined(filters: Sequence[str]) -> str:
    """One filter that keeps what each of several keeps. Raises QueryError with the place in one of them."""
    for each in filters:
        condition_of(each)
    whole, starts = "", []
    for each in filters:
        whole += " AND (" if whole else "("
        starts.append(len(whole))
        whole += each + ")"
    with _shows_the_place(filters, starts):
        _condition(whole)
    return whole


def _condition(where: str) -> Condition:
    from search.filters.grammar import parse  # Lark, which only filters need

    found = _asked(parse(where), is_true=True)
    refuse_too_much_work(found)
    return found


@contextmanager
def _shows_the_place(filters: Sequence[str], starts: Sequence[int]) -> Iterator[None]:
    """`starts`: where each filter is in the text that is checked."""
    try:
        yield
    except Refused as refused:
        which = max((number for number, start in enumerate(starts) if start <= refused.at), default=0)
        at = min(max(0, refused.at - starts[which]), len(filters[which]))
        place = f"at character {at + 1} ({_excerpt(filters[which], at)})"
        raise QueryError(f"The filter cannot be used {place}: {refused.reason}") from None


def _excerpt(where: str, at: int) -> str:
    start, stop = max(0, at - 12), at + 24
    shown = " ".join(where[start:stop].encode(errors="replace").decode().split())
    return f"{'…' if start else ''}{shown}{'…' if stop < len(where) else ''}"


def _asked(part: Expression, *, is_true: bool) -> Condition:  # noqa: PLR0911
    """The condition that a part is true, or that it is false."""
    match part:
        case And() | Or():
            return join(isinstance(part, And) == is_true, [_asked(each, is_true=is_true) for each in part.parts])
        case Not():
            return _asked(part.inner, is_true=not is_true)
        case IsNull():
            return Null(part.at, column_of(_name(part.left)).name, is_true)
        case Comparison():
            return _comparison(part, is_true)
        case In():
            return _among(column_of(_name(part.left)), part.items, part.at, is_true)
        case Like():
            return _like(part, is_true)
        case Items() if len(part) == 1:
            return _asked(next(iter(part)), is_true=is_true)
        case Literal(value=bool()):
            return Constant(part.at, part.value == is_true)
        case Name():
            if column_of(part).type is not bool:
                raise Refused(part.at, f"{part.text[:40]} alone is no condition. Compare it with a value.")
            return Within(part.at, column_of(part).name, ((int(is_true), int(is_true)),))
    raise Refused(part.at, "a value alone is no condition. Compare a column with it.")


def _comparison(test: Comparison, is_true: bool) -> Condition:
    left, operator, right = _value(test.left), test.operator, _value(test.right)
    if isinstance(left, Literal):
        left, operator, right = right, _MIRRORED.get(operator, operator), left
    if not isinstance(left, Name):
        raise Refused(left.at, "two values are compared. Compare a column with a value.")
    column = column_of(left)
    if isinstance(right, Name):
        return _pair(column, operator if is_true else _INVERSE[operator], _column_of_right(right), test.at)
    if operator in {"=", "!="}:
        return _among(column, (right,), test.at, is_true == (operator == "="))
    if column.type in {tuple, bool}:
        raise Refused(test.at, f"{column.name} is {kind_of(column)} and has no order. Write = or !=.")
    if column.type is str:
        return Ordered(test.at, column.name, operator if is_true else _INVERSE[operator], fold(_text(column, right)))
    source, (low, high) = _interval(column, right)
    bounds = {"<": (-math.inf, before(low)), "<=": (-math.inf, high), ">": (after(high), math.inf), ">=": (low, math.inf)}[operator]
    return _within(test.at, source, [bounds], is_true)


def _pair(left: ColumnInfo, operator: str, right: ColumnInfo, at: int) -> Condition:
    if left.type is tuple and right.type is tuple:
        raise Refused(at, f"{left.name} and {right.name} are lists. Compare a list with a text.")
    if kind_of(left) != kind_of(right):
        raise Refused(at, f"{left.name} is {kind_of(left)} and {right.name} is {kind_of(right)}. Compare columns of one type.")
    return Pair(at, left.name, operator, right.name, left.type is str)


def _among(column: ColumnInfo, items: Iterable[Literal], at: int, is_true: bool) -> Condition:
    if column.type not in {str, tuple}:
        by_source: dict[str, list[tuple[Any, Any]]] = {}
        for item in items:
            source, bounds = _interval(column, item)
            by_source.setdefault(source, []).append(bounds)
        return join(not is_true, [_within(at, source, each, is_true) for source, each in by_source.items()])
    texts = set()
    for item in items:
        texts.add(text := fold(_text(column, item)))
        _refuse_impossible(column, text, item.at)
    found = OneOf(at, column.name, frozenset(texts))
    return found if is_true else Negated(found)


def _within(at: int, source: str, bounds: Sequence[tuple[Any, Any]], is_true: bool) -> Condition:
    return Within(at, source, united(bounds) if is_true else complement(united(bounds)))


def _like(test: Like, is_true: bool) -> Condition:
    column, literal = column_of(_name(test.left)), _value(test.pattern)
    if column.type not in {str, tuple}:
        raise Refused(test.at, f"LIKE compares text, and {column.name} is {kind_of(column)}. Write =, < or >.")
    if not isinstance(literal, Literal):
        raise Refused(literal.at, "LIKE needs a text in single quotes, such as '%lake%'.")
    text = _text(column, literal)
    if len(text) > MAX_PATTERN:
        raise Refused(literal.at, f"the pattern has {len(text):,} characters. At most {MAX_PATTERN:,} are allowed.")
    try:
        pattern = pattern_of(text, test.escape)
    except ValueError:
        raise Refused(literal.at, "nothing follows the escape character. Write it twice to find it.") from None
    if pattern.num_wildcards > MAX_WILDCARDS:
        raise Refused(literal.at, f"the pattern has too many wildcards. At most {MAX_WILDCARDS} % and _ are allowed.")
    if pattern.test == "equal":
        _refuse_impossible(column, pattern.text, literal.at)
    found: OneOf | Matching = Matching(test.at, column.name, pattern)
    if pattern.test in {"equal", "inside"}:
        found = OneOf(test.at, column.name, frozenset([pattern.text]), pattern.test == "inside")
    return found if is_true else Negated(found)


def _column_of_right(name: Name) -> ColumnInfo:
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
        if len(part) > 1:
            raise Refused(part.at, "a list must follow IN.")
        return next(iter(part))
    if not isinstance(part, Name | Literal):
        raise Refused(part.at, "a condition cannot be compared. Join conditions with AND or OR.")
    return part


def _text(column: ColumnInfo, literal: Literal) -> str:
    _refuse_null(literal)
    if not isinstance(literal.value, str):
        raise Refused(literal.at, f"{column.name} is {kind_of(column)}. Write the value in single quotes, such as '2021'.")
    return literal.value


def _refuse_impossible(column: ColumnInfo, text: str, at: int) -> None:
    if column.choices and text not in column.choices:
        raise Refused(at, f"{column.name} is never '{text[:40]}'. Write {_or(column.choices)}.")


def _refuse_null(literal: Literal) -> None:
    if literal.value is None:
        raise Refused(literal.at, "nothing is equal to null. Write IS NULL or IS NOT NULL.")


def _interval(column: ColumnInfo, literal: Literal) -> tuple[str, tuple[Any, Any]]:
    """The values of the column that a literal stands for, as a closed interval; and the name of the array to look in."""
    value = literal.value
    if type(value) is int and column.type is int:
        return column.name, (value, value)
    _refuse_null(literal)
    if column.type is bool:
        if not isinstance(value, bool):
            raise Refused(literal.at, f"{column.name} is true or false. Write {column.name} or NOT {column.name}.")
        return column.name, (int(value), int(value))
    if column.type in {int, float}:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise Refused(literal.at, f"{column.name} is a number. Write a number without quotes, such as 1000.")
        return column.name, _whole(value) if column.type is int else (float(value),) * 2
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


def _whole(value: Decimal | int) -> tuple[int, int]:
    """The integers that are equal to a number, as a closed interval, which is empty for a fraction. `math.ceil` is 40 times as slow."""
    whole = int(value)
    return (whole + 1 if whole < value else whole), (whole - 1 if whole > value else whole)


def _or(choices: Sequence[str]) -> str:
    quoted = [f"'{each}'" for each in choices]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
