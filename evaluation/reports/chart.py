"""Draws the tables' bars and the curves of a report as a PNG: the only file that imports matplotlib."""

import io
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.reports.parts import Curve, Table

_COLOURS = ("#3f51b5", "#e07a3f", "#4f9d69", "#8e5ea2", "#777777")
_PANEL, _BAR = (5.2, 3.6), 1.3  # inches: of a panel, and the least width of a group of bars
_TICKS = (1, 2, 5, 10, 20, 50, 100, 1000, 10000)


def draw(title: str, tables: Sequence[Table], curves: Sequence[Curve]) -> bytes:
    """The chart as a PNG. A dollar sign in a name is drawn as such. A letter that the font lacks becomes a box."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        tables = [table for table in tables if table.bars]
        panels = len(tables) + len(curves)
        columns = min(3, max(1, panels))
        rows = max(1, -(-panels // columns))
        width = max([_PANEL[0], *(_BAR * len(table.bars) for table in tables)])
        figure = Figure(figsize=(width * columns, _PANEL[1] * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
        for axis, table in zip(axes, tables, strict=False):
            _bars(axis, table)
        for axis, curve in zip(axes[len(tables) :], curves, strict=False):
            _curve(axis, curve)
        for axis in axes[panels:]:
            axis.set_axis_off()
        figure.suptitle(title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()


def _bars(axis: Axes, table: Table) -> None:
    width, highest = 0.8 / len(table.rows), 1.0
    for number, row in enumerate(table.rows):
        columns = [name for name in table.bars if name in row.values]
        if not columns:
            continue
        x = np.array([table.bars.index(name) + (number + 0.5) * width - 0.4 for name in columns])
        drawn = [(row.values[name].value, row.values[name].low, row.values[name].high) for name in columns]
        y, low, high = np.array(drawn, np.float64).T  # the ends are NaN without an interval
        errors = np.nan_to_num(np.maximum(0, [y - low, high - y]))
        colour = _COLOURS[number % len(_COLOURS)]
        bars = axis.bar(x, y, width * 0.92, color=colour, label=row.name, yerr=errors, ecolor="#333333", capsize=2)
        axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        highest = max(highest, float((y + errors[1]).max()))
    axis.set_xticks(range(len(table.bars)), table.bars)
    axis.set(xlim=(-0.6, len(table.bars) - 0.4), ylim=(0, 1.15 * highest))
    axis.set_title(f"{table.title}, %", fontsize=10)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    axis.spines[["top", "right"]].set_visible(False)


def _curve(axis: Axes, curve: Curve) -> None:
    for number, line in enumerate(curve.lines):
        axis.plot(line.x, line.y, marker="o", markersize=3, color=_COLOURS[number % len(_COLOURS)], label=line.name)
    if curve.diagonal:
        low, high = axis.get_xlim()
        axis.plot([low, high], [low, high], color="#aaaaaa", linewidth=1, linestyle="--")
    if curve.log_x:
        ticks = [x for x in _TICKS if x <= max(max(line.x) for line in curve.lines)]
        axis.set_xscale("log")
        axis.set_xticks(ticks, [str(x) for x in ticks])
        axis.minorticks_off()
    if curve.y_label.endswith("%"):
        axis.set_ylim(0, 100)
    if curve.x_label.endswith("%"):
        axis.set_xlim(left=0)
    axis.set(xlabel=curve.x_label, ylabel=curve.y_label)
    axis.set_title(curve.title, fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
