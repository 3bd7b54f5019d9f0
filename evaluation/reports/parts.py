"""The parts of a report: tables with published figures beside ours, curves, examples, and metadata. All rates are in percent."""

import hashlib
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from coca_model import Encoder
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
    """Systems side by side. A cell is empty if the system has no figure for the column. `bars` are the columns to draw, in percent."""

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
    """A query and the media found, best first, each with a caption. `right` is None if only a person can judge."""

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


def model_name(encoder: Encoder) -> str:
    """The model's name for people, without the digest of the weights."""
    return encoder.model_id.split("@")[0]


def provenance(encoder: Encoder) -> dict[str, Any]:
    """The metadata that every report has: the model, its arithmetic, and the versions of the programs."""
    return {
        "model": encoder.model_id,
        "preprocessing": encoder.preprocessing_id,
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "device": encoder.device.type,
        "coca-search": version("coca-search"),
        "torch": version("torch"),
    }


def data_metadata(title: str, counts: Mapping[str, Any], data: Iterable[bytes | str], missing: Sized) -> dict[str, Any]:
    """The metadata about a data set: title, what was counted, a digest of the `data`, and the number of records that were left out."""
    return {"data set": title, **counts, "data sha256": digest(data), "left out": len(missing)}


def digest(parts: Iterable[bytes | str]) -> str:
    """A short digest of a data set. Reports with the same digest measured the same data."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:16]
