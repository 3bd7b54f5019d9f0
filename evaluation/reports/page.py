"""A report as a picture and as one HTML file that needs nothing beside it: the only file that imports matplotlib."""

import base64
import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from jinja2 import Environment
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from coca_model import PictureError, open_picture
from evaluation.datasets.dataset import Medium
from evaluation.reports.report import Curve, Report, Table, cells, meanings
from indexer.errors import MediaError
from indexer.pyav_reader import probe, read_frames
from search.thumbnails import small_webp

_COLOURS = ("#3f51b5", "#e07a3f", "#4f9d69", "#8e5ea2", "#777777")
_PANEL, _BAR = (5.2, 3.6), 1.3  # inches: of a panel, and the least width for a group of bars


def draw(report: Report) -> bytes:
    """The tables' bars and the curves as a PNG. A dollar in a name is a dollar, and a letter that the font lacks is a box."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return _draw(report)


def _draw(report: Report) -> bytes:
    tables = [table for table in report.tables if table.bars]
    panels = len(tables) + len(report.curves)
    columns = min(3, max(1, panels))
    rows = max(1, -(-panels // columns))
    width = max([_PANEL[0], *(_BAR * len(table.bars) for table in tables)])
    figure = Figure(figsize=(width * columns, _PANEL[1] * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for axis, table in zip(axes, tables, strict=False):
        _bars(axis, table)
    for axis, curve in zip(axes[len(tables) :], report.curves, strict=False):
        _curve(axis, curve)
    for axis in axes[panels:]:
        axis.set_axis_off()
    figure.suptitle(report.title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def page(report: Report, chart: bytes) -> str:
    """The report as one HTML document, its pictures inside."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    )
    return template.render(report=report, chart=base64.b64encode(chart).decode(), cells=cells, meanings=meanings, thumbnail=_thumbnail)


def _bars(axis: Axes, table: Table) -> None:
    width = 0.8 / len(table.rows)
    for number, row in enumerate(table.rows):
        shown = [(place, row.values[name]) for place, name in enumerate(table.bars) if name in row.values]
        if not shown:
            continue
        x = np.array([place + (number + 0.5) * width - 0.4 for place, _ in shown])
        y = np.array([measure.value for _, measure in shown])
        low = [max(0.0, measure.value - (measure.value if measure.low is None else measure.low)) for _, measure in shown]
        high = [max(0.0, (measure.value if measure.high is None else measure.high) - measure.value) for _, measure in shown]
        colour = _COLOURS[number % len(_COLOURS)]
        axis.bar(x, y, width * 0.92, color=colour, label=row.name, yerr=np.array([low, high]), ecolor="#333333", capsize=2)
        for at, value, above in zip(x, y, high, strict=True):
            axis.annotate(f"{value:.1f}", (at, value + above), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axis.set_xticks(range(len(table.bars)), table.bars)
    axis.set_xlim(-0.6, len(table.bars) - 0.4)
    drawn = [row.values[name] for row in table.rows for name in table.bars if name in row.values]
    highest = max((max(measure.value, measure.high or 0.0) for measure in drawn), default=0.0)
    axis.set_ylim(0, 1.15 * max(1.0, highest))
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
        ticks = [x for x in (1, 2, 5, 10, 20, 50, 100, 1000, 10000) if x <= max(max(line.x) for line in curve.lines)]
        axis.set_xscale("log")
        axis.set_xticks(ticks, [str(x) for x in ticks])
        axis.minorticks_off()
    if curve.y_label.endswith("%"):
        axis.set_ylim(0, 100)
    if curve.x_label.endswith("%"):
        axis.set_xlim(left=0)
    axis.set_xlabel(curve.x_label)
    axis.set_ylabel(curve.y_label)
    axis.set_title(curve.title, fontsize=10)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def _thumbnail(medium: Medium) -> str:
    """A small WebP in base64, or nothing where the medium cannot be shown."""
    try:
        if medium.kind == "image":
            picture = open_picture(medium.read(), min_side=256)
        else:
            seconds = medium.seconds if medium.seconds is not None else probe(str(medium.path)).duration_seconds / 2
            frame = next((pixels for _, pixels in read_frames(str(medium.path), [seconds])), None)
            if frame is None:
                return ""
            picture = Image.fromarray(frame)
    except (PictureError, MediaError, OSError):
        return ""
    return base64.b64encode(small_webp(picture)).decode()
