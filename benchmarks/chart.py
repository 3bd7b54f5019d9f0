"""The picture of the page: how many times as fast each first-named side is as the other, on a logarithmic scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.result import Result

_FASTER, _SLOWER, _INK = "#2a6f97", "#c8963e", "#333333"
_WIDTH_INCHES, _ROW_INCHES, _DPI = 8.0, 0.235, 200  # half size, 800 pixels wide, letters are 11 to 12 pixels high


def draw(results: Sequence[Result], file: Path) -> None:
    """Write the chart as a PNG."""
    rows = _rows({result.benchmark: result.ratios for result in results})
    figure = Figure(figsize=(_WIDTH_INCHES, 0.9 + _ROW_INCHES * len(rows)), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    axes = figure.add_subplot()
    values = [value for _, value in rows if value is not None]
    axes.set_xscale("log")
    # The numbers stand outside their bars: room for the outermost ones, so that they touch no name.
    span = max([2.5, *values]) / min([0.4, *values])
    axes.set_xlim(min([0.4, *(value / span**0.13 for value in values)]), max([2.5, *(value * span**0.13 for value in values)]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for place, (label, value) in enumerate(rows):
        _draw_row(axes, place, label, value)
    _finish(axes)
    figure.savefig(file, metadata={"Software": None})


def _rows(ratios: Mapping[str, Mapping[str, float]]) -> list[tuple[str, float | None]]:
    """A heading, without a value, and the bars of each benchmark."""
    rows: list[tuple[str, float | None]] = []
    for benchmark, values in ratios.items():
        rows += [(benchmark, None), *values.items()]
    return rows


def _draw_row(axes: Axes, place: int, label: str, value: float | None) -> None:
    beside: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "ha": "right",
        "va": "center",
        "color": _INK,
    }
    if value is None:
        axes.annotate(label, (0, place + 0.1), (-8, 0), fontsize=9.5, fontweight="bold", annotation_clip=False, **beside)
        return
    faster = value >= 1
    axes.annotate(label, (0, place), (-8, 0), fontsize=8.5, annotation_clip=False, **beside)
    axes.barh(place, value - 1, left=1, height=0.68, color=_FASTER if faster else _SLOWER, zorder=2)
    axes.annotate(
        times(value), (value, place), (4 if faster else -4, 0), textcoords="offset points", ha="left" if faster else "right",
        va="center", fontsize=8.5, color=_INK,
    )  # fmt: skip


def times(value: float) -> str:
    """A ratio in three digits: 0.31x, 4.3x, 31x."""
    digits = 2 if value < 1 else 1 if value < 10 else 0
    return f"{value:.{digits}f}\u00d7"


def _finish(axes: Axes) -> None:
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}\u00d7" for tick in ticks], fontsize=8.5, color=_INK)
    axes.set_xticks([], minor=True)
    axes.set_yticks([])
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.8, zorder=0)
    axes.axvline(1, color=_INK, linewidth=1.1, zorder=3)
    axes.set_xlabel("how many times as fast the side named first is", fontsize=9, color=_INK)
    axes.tick_params(axis="x", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
