"""What a filter asks of the rows, after it was checked. Each condition is true or not: what is null or unknown is not.

So NOT stands only at single tests: `NOT (a AND b)` was written as `NOT a OR NOT b`, which is the same in SQL's logic of nulls. `at` is the
place in the filter. Equal conditions at other places are equal.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from search.filters.columns import known
from search.filters.intervals import FEW, Intervals, are_points, intersected, united
from search.filters.literals import Refused
from search.filters.text import Pattern

_MOST_WORK = 90.0  # milliseconds for 100,000 rows, about
_LONGEST_EXPRESSION = 20_000  # characters; RE2 becomes 30 times as slow with longer ones
_SHORT_LIST = 1_000  # longer ones stay apart, because each of 32 levels of parentheses would merge them anew
_FREE = 1.0  # so little work can be done twice


@dataclass(frozen=True)
class Constant:
    at: int = field(compare=False)
    value: bool
    work: float = field(default=0.1, init=False, compare=False)


@dataclass(frozen=True)
class Null:
    at: int = field(compare=False)
    column: str
    is_null: bool
    work: float = field(default=0.05, init=False, compare=False)


@dataclass(frozen=True)
class Within:
    """A number or a time is in one of the intervals."""

    at: int = field(compare=False)
    column: str
    intervals: Intervals

    @cached_property
    def work(self) -> float:
        count = len(self.intervals)
        if count <= FEW:
            return 0.1 * count
        return 2.7 if are_points(self.intervals) else min(10.0, 2 + count / 50)


@dataclass(frozen=True)
class OneOf:
    """A folded text is one of these, or contains one of them; for a column of lists, any of its elements is or does."""

    at: int = field(compare=False)
    column: str
    texts: frozenset[str]
    contains: bool = False

    @cached_property
    def work(self) -> float:
        if self.contains and len(self.texts) > 1:
            return 18.0 if sum(map(len, self.texts)) <= _LONGEST_EXPRESSION else math.inf
        if self.contains:
            return _of_lists(self.column) + 12.0
        return _of_lists(self.column) + (0.15 * len(self.texts) if len(self.texts) <= FEW else 2.5)


@dataclass(frozen=True)
class Ordered:
    """`column operator text`; operators are < <= > >=."""

    at: int = field(compare=False)
    column: str
    operator: str
    text: str
    work: float = field(default=0.6, init=False, compare=False)


@dataclass(frozen=True)
class Matching:
    """A folded text matches a pattern; for a column of lists, any of its elements does."""

    at: int = field(compare=False)
    column: str
    pattern: Pattern

    @property
    def work(self) -> float:
        return _of_lists(self.column) + self.pattern.work


@dataclass(frozen=True)
class Pair:
    """`left operator right`, two columns of one type. Integers above 2^53 are no exact float64; sizes in bytes stay below."""

    at: int = field(compare=False)
    left: str
    operator: str
    right: str
    are_texts: bool

    @property
    def work(self) -> float:
        return 1.5 if self.are_texts else 0.2


@dataclass(frozen=True)
class Negated:
    """The column is not null, and the test is not true."""

    test: OneOf | Matching

    @property
    def at(self) -> int:
        return self.test.at

    @property
    def work(self) -> float:
        return self.test.work


@dataclass(frozen=True)
class Joined:
    """All of the parts are true, or any of them is. The cheapest comes first."""

    is_all: bool
    parts: tuple["Condition", ...]

    @property
    def at(self) -> int:
        return self.parts[0].at

    @cached_property
    def work(self) -> float:
        return sum(part.work for part in self.parts)


Condition = Constant | Null | Within | OneOf | Ordered | Matching | Pair | Negated | Joined


def join(is_all: bool, parts: Iterable[Condition]) -> Condition:
    """AND or OR of conditions. Tests of one column become one test, and equal ones too."""
    flat = [each for part in parts for each in (part.parts if isinstance(part, Joined) and part.is_all == is_all else (part,))]
    alike: dict[object, list[Condition]] = {}
    for part in flat:
        alike.setdefault(_merged_with(part, is_all), []).append(part)
    found = sorted((_merged(parts, is_all) for parts in alike.values()), key=lambda part: part.work)
    return found[0] if len(found) == 1 else Joined(is_all, tuple(found))


def _merged_with(part: Condition, is_all: bool) -> object:
    """Conditions with the same key become one."""
    test = part.test if isinstance(part, Negated) else part
    if isinstance(test, Within) and len(test.intervals) <= _SHORT_LIST:
        return Within, test.column
    return (OneOf, test.column, test.contains) if isinstance(test, OneOf) and isinstance(part, Negated) == is_all else part


def _merged(parts: list[Condition], is_all: bool) -> Condition:
    first = parts[0]
    if isinstance(first, Within) and len(parts) > 1:
        sets = [part.intervals for part in parts if isinstance(part, Within)]
        return replace(first, intervals=intersected(sets) if is_all else united(interval for each in sets for interval in each))
    test = first.test if isinstance(first, Negated) else first
    if not isinstance(test, OneOf) or len(parts) == 1:
        return first
    tests = [part.test if isinstance(part, Negated) else part for part in parts]
    merged = replace(test, texts=frozenset().union(*(each.texts for each in tests if isinstance(each, OneOf))))
    return Negated(merged) if isinstance(first, Negated) else merged


def _of_lists(column: str) -> float:
    return 1.0 if known()[column].type is tuple else 0.1


def refuse_too_much_work(condition: Condition) -> None:
    """Raises Refused where a condition is reached that would take too long together with those before it in the filter."""
    work = 0.0
    for test in sorted(_tests(condition), key=lambda test: test.at):
        work += test.work
        if work > _MOST_WORK:
            raise Refused(
                test.at,
                "up to here it is too much work. Use IN instead of many comparisons, % only at the end of a pattern, and fewer patterns.",
            )


def repeated(condition: Condition) -> set[Condition]:
    """The expensive tests that occur more than once."""
    tests = [test.test if isinstance(test, Negated) else test for test in _tests(condition) if test.work > _FREE]
    seen: set[Condition] = set()
    return {test for test in tests if test in seen or seen.add(test)}  # type: ignore[func-returns-value]


def _tests(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, Joined):
        for part in condition.parts:
            yield from _tests(part)
    else:
        yield condition
