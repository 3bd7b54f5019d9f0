"""Times several sides in one run. The sides take turns, so that other load on the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

Input = TypeVar("Input")
_MANY, _AT_ONCE = 50, 10
_REST_SECONDS = 0.15


def seconds_of(sides: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of each side in each round. The first round is a warm-up and is not counted."""
    calls = {name: lambda _, run=run: run() for name, run in sides.items()}
    return seconds_of_each(calls, [None] * rounds, before=1)


def seconds_of_each(sides: Mapping[str, Callable[[Input], object]], inputs: Sequence[Input], before: int = 3) -> dict[str, list[float]]:
    """Seconds of each side for each input. The first `before` inputs run once more at the start, as a warm-up.

    The sides take turns. If there are many inputs, each takes several at a time, and the threads of the side before have time to rest:
    those of OpenBLAS spin for 0.1 seconds after their work, and would take a core from the next side.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    inputs_with_warm_up = [*inputs[:before], *inputs]
    at_once = _AT_ONCE if len(inputs) > _MANY else 1
    for block in (inputs_with_warm_up[start : start + at_once] for start in range(0, len(inputs_with_warm_up), at_once)):
        for name, run, given in ((name, run, given) for name, run in sides.items() for given in _rested(block)):
            since = time.perf_counter()
            run(given)
            seconds[name].append(time.perf_counter() - since)
    return {name: values[len(values) - len(inputs) :] for name, values in seconds.items()}


def _rested(block: Sequence[Input]) -> Iterator[Input]:
    if len(block) > 1:
        time.sleep(_REST_SECONDS)
    yield from block


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
