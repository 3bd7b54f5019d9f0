"""The parts of a report: tables with published figures beside ours, curves, and examples. All rates are in percent."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.datasets.dataset import Medium
from evaluation.measures.intervals import Measure


@dataclass(frozen=True)
class Row:
    """The figures of one system by column. `source` names the publication of figures that are not ours."""

    name: str
    values: Mapping[str, Measure]
    source: str = ""


@dataclass(frozen=True)
class Table:
    """Systems side by side. A cell is empty if the system was not measured by the column. `bars` are the columns to draw, in percent."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    bars: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line of a curve: y at each x."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A plot: lines over one pair of axes. `diagonal` also draws the line x = y."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    diagonal: bool = False
    log_x: bool = False


@dataclass(frozen=True)
class Example:
    """A query and what was found, best first, for people to judge: media with a caption each. `right` None: only people can tell."""

    title: str
    right: bool | None
    found: tuple[tuple[Medium, str], ...]


def cells(table: Table, row: Row) -> list[str]:
    """The text of a row, one cell a column."""
    return [shown(row.values[column]) if column in row.values else "" for column in table.columns]


def shown(measure: Measure) -> str:
    """A figure with its interval: 43.0 (41.6–44.4)."""
    interval = "" if measure.low is None or measure.high is None else f" ({measure.low:.1f}–{measure.high:.1f})"
    return f"{measure.value:.1f}{interval}"
