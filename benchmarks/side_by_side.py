"""Timing of several sides in one run: in turn, many times, so that whatever else the machine does falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping


def seconds_of(sides: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds of each side in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, run in sides.items():
            since = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - since)
    return {name: values[1:] for name, values in seconds.items()}


def rate(seconds: list[float], count: int) -> float:
    """Things a second, of the median round."""
    return round(count / statistics.median(seconds), 2)


def ratio(seconds: Mapping[str, list[float]], fast: str, slow: str) -> float:
    """How many times as fast as `slow` is `fast`: the median of the rounds' own ratios."""
    return round(statistics.median(b / a for a, b in zip(seconds[fast], seconds[slow], strict=True)), 2)
