"""The chart of the page: one bar for each ratio, on a logarithmic scale."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measure.result import Result

_FASTER, _SLOWER, _INK, _GRID = "#2a6f97", "#c8963e", "#333333", "#e4e4e4"
_WIDTH_INCHES, _ROW_INCHES, _DPI = 8.0, 0.235, 200  # shown at 800 pixels, half its size, letters are 11 to 12 pixels high


def draw(results: Sequence[Result], file: Path) -> None:
    """Write the chart as a PNG: for each benchmark its name as a heading, then its bars."""
    rows = [row for result in results for row in [(result.benchmark, None), *result.ratios.items()]]
    figure = Figure(figsize=(_WIDTH_INCHES, 0.9 + _ROW_INCHES * len(rows)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    bars = {position: value for position, (_, value) in enumerate(rows) if value is not None}
    drawn = axes.barh(
        list(bars), [value - 1 for value in bars.values()], left=1, height=0.68, zorder=2,
        color=[_FASTER if value >= 1 else _SLOWER for value in bars.values()],
    )  # fmt: skip
    axes.bar_label(drawn, [times(value) for value in bars.values()], padding=4, fontsize=8.5, color=_INK)
    axes.set_xscale("log")
    low, high = min([0.4, *bars.values()]), max([2.5, *bars.values()])
    room = (high / low) ** 0.15  # for the numbers beside the bars
    axes.set_xlim(low / room, high * room)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8.5, color=_INK)
    for label, (_, value) in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if value is None else "normal")
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if low / room <= tick <= high * room]
    axes.set_xticks(ticks, [f"{tick:g}\u00d7" for tick in ticks], fontsize=8.5, color=_INK)
    axes.set_xticks([], minor=True)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=_GRID, linewidth=0.8, zorder=0)
    axes.axvline(1, color=_INK, linewidth=1.1, zorder=3)
    axes.set_xlabel("how many times as fast the first side is", fontsize=9, color=_INK)
    axes.set_frame_on(False)
    figure.savefig(file, metadata={"Software": None})


def times(value: float) -> str:
    """A ratio with two or three digits: 0.31x, 4.3x, 31x."""
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:.{digits}f}\u00d7"
