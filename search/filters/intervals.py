"""Sets of numbers as closed intervals. Each comparison of a column with numbers is one, and so are their AND, OR and NOT."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from search.filters.bits import as_bool, numbers

Intervals = tuple[tuple[Any, Any], ...]  # (low, high) of int or float, rising and apart; -inf and inf are no bounds

EVERYTHING: Intervals = ((-math.inf, math.inf),)
FEW = 4  # so many are looked for one by one


def before(value: Any) -> Any:
    """The largest value below another of its type."""
    return math.nextafter(value, -math.inf) if isinstance(value, float) else value - 1


def after(value: Any) -> Any:
    return math.nextafter(value, math.inf) if isinstance(value, float) else value + 1


def united(intervals: Iterable[tuple[Any, Any]]) -> Intervals:
    """What is in any of the intervals."""
    found: list[tuple[Any, Any]] = []
    for each in sorted(each for each in intervals if each[0] <= each[1]):
        if found and each[0] <= after(found[-1][1]):
            found[-1] = (found[-1][0], max(each[1], found[-1][1]))
        else:
            found.append(each)
    return tuple(found)


def complement(intervals: Intervals) -> Intervals:
    """What is in none of the intervals."""
    lows = [-math.inf, *(after(high) for _, high in intervals)]
    highs = [*(before(low) for low, _ in intervals), math.inf]
    if intervals and intervals[0][0] == -math.inf:
        lows, highs = lows[1:], highs[1:]
    if intervals and intervals[-1][1] == math.inf:
        lows, highs = lows[:-1], highs[:-1]
    return tuple(zip(lows, highs, strict=True))


def are_points(intervals: Intervals) -> bool:
    return all(low == high and isinstance(low, int) for low, high in intervals)


def intersected(sets: Iterable[Intervals]) -> Intervals:
    return complement(united(interval for each in sets for interval in complement(each)))


def inside(values: NDArray[Any], intervals: Intervals) -> NDArray[np.bool_]:
    """Which values are in one of the intervals, bool (n,). NaN is in none."""
    limits: Any = np.finfo(values.dtype) if values.dtype.kind == "f" else np.iinfo(values.dtype)
    least, most = (-math.inf, math.inf) if values.dtype.kind == "f" else (int(limits.min), int(limits.max))
    bounds = [(max(low, least), min(high, most)) for low, high in intervals if low <= most and high >= least]
    if len(bounds) <= FEW:
        found = np.zeros(len(values), bool)
        for low, high in bounds:
            found |= _between(values, low, high, low == least, high == most)
        return found
    lows, highs = np.array(bounds, values.dtype).T
    if are_points(intervals):
        return as_bool(pc.is_in(numbers(values), numbers(lows)))
    nearest = np.searchsorted(lows, values, side="right") - 1
    return (nearest >= 0) & (values <= highs[np.maximum(nearest, 0)])


def _between(values: NDArray[Any], low: Any, high: Any, is_least: bool, is_most: bool) -> NDArray[np.bool_]:
    if low == high:
        return values == low
    if is_most:
        return values >= low
    if is_least:
        return values <= high
    return (values >= low) & (values <= high)
