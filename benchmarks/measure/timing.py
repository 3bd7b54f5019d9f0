"""Times several sides in one run. The sides take turns, so that other load on the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

Input = TypeVar("Input")


def seconds_of(sides: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of each side in each round. The first round is a warm-up and is not counted."""
    calls = {name: lambda _, run=run: run() for name, run in sides.items()}
    return seconds_of_each(calls, [None] * rounds, before=1)


def seconds_of_each(sides: Mapping[str, Callable[[Input], object]], inputs: Sequence[Input], before: int = 3) -> dict[str, list[float]]:
    """Seconds of each side for each input. The sides take turns. The first `before` inputs run once more at the start, as a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for given in [*inputs[:before], *inputs]:
        for name, run in sides.items():
            since = time.perf_counter()
            run(given)
            seconds[name].append(time.perf_counter() - since)
    return {name: values[len(values) - len(inputs) :] for name, values in seconds.items()}


def rate(seconds: list[float], count: int) -> float:
    """Items per second in the median round, for rounds of `count` items."""
    return round(count / statistics.median(seconds), 2)


def rates(seconds: Mapping[str, list[float]], unit: str, count: int) -> dict[str, dict[str, float]]:
    """The `rate` of each side, under the name of the unit."""
    return {name: {unit: rate(values, count)} for name, values in seconds.items()}


def latency(seconds: list[float]) -> dict[str, float]:
    """The 50th and 99th percentile in milliseconds, interpolated linearly."""
    return {f"p{percent}_ms": round(1000 * float(np.percentile(seconds, percent)), 3) for percent in (50, 99)}


def ratio(seconds: Mapping[str, list[float]], fast: str, slow: str) -> float:
    """How many times as fast `fast` is as `slow`: the median over the rounds of the ratio of their times."""
    return round(statistics.median(b / a for a, b in zip(seconds[fast], seconds[slow], strict=True)), 4)


def ratios(seconds: Mapping[str, list[float]], *pairs: tuple[str, str]) -> dict[str, float]:
    """The `ratio` of each pair (fast, slow), under the name "fast to slow"."""
    return {f"{fast} to {slow}": ratio(seconds, fast, slow) for fast, slow in pairs}
