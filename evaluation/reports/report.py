"""What an evaluation found: tables with published figures beside ours, curves, examples; as text, JSON and Markdown.

All rates are in percent, as papers print them.
"""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import Medium
from evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Measure:
    """A figure; `low` and `high` are its 95 % interval where one was computed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One system's figures by column. `source` names the publication of figures that are not ours."""

    name: str
    values: Mapping[str, Measure]
    source: str = ""


@dataclass(frozen=True)
class Table:
    """Systems side by side. A column that a system was not measured by stays empty; `bars` are columns in percent, to draw."""

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
    """A plot: lines over one pair of axes; `diagonal` also draws where x equals y."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    diagonal: bool = False
    log_x: bool = False


@dataclass(frozen=True)
class Example:
    """One question and what was found, best first, for people to judge: media with a line of words each.

    `right` is None where only people can tell.
    """

    title: str
    right: bool | None
    found: tuple[tuple[Medium, str], ...]


@dataclass(frozen=True)
class Report:
    """All of one evaluation.

    Attributes:
        task: "retrieval", "classify", "caption", "moments" or "collection".
        facts: what was measured how: model, arithmetic, data set, counts, versions; for people and for JSON.
        examples_are: how the examples were chosen, the heading above them.
        records: what was found for every single query, for programs and for comparing two models query by query.
        missing: the records that were left out.
    """

    task: str
    title: str
    tables: tuple[Table, ...]
    facts: Mapping[str, Any]
    curves: tuple[Curve, ...] = ()
    examples: tuple[Example, ...] = ()
    missing: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    examples_are: str = "Examples, drawn blindly"

    def to_json(self) -> str:
        """The report as one JSON document, without the examples' pictures."""
        tables = [
            {
                "title": t.title,
                "columns": t.columns,
                "note": t.note,
                "rows": [{"name": r.name, "source": r.source, "values": _values(r)} for r in t.rows],
            }
            for t in self.tables
        ]
        examples = [
            {"title": e.title, "right": e.right, "found": [[medium.name, words] for medium, words in e.found]} for e in self.examples
        ]
        document = {"task": self.task, "title": self.title, "facts": dict(self.facts), "tables": tables}
        return json.dumps(document | {"curves": [asdict(c) for c in self.curves], "examples": examples, "missing": self.missing}, indent=1)

    def to_markdown(self, picture: str = "") -> str:
        """The same as Markdown; `picture` is the address of its PNG."""
        parts = [f"# {_escaped(self.title)}"]
        for table in self.tables:
            lines = [f"| {table.title} | {' | '.join(table.columns)} |", "|---|" + "---:|" * len(table.columns)]
            lines += [f"| {_escaped(_with_source(row))} | {' | '.join(cells(table, row))} |" for row in table.rows]
            parts += ["\n".join(lines), *([table.note] if table.note else [])]
        parts += [f"![The tables as bars, and the curves]({picture})"] if picture else []
        if self.examples:
            found = ["; ".join(f"`{medium.name}` {words}" for medium, words in example.found) for example in self.examples]
            lines = [f"| {_escaped(_mark(e) + e.title)} | {_escaped(f)} |" for e, f in zip(self.examples, found, strict=True)]
            parts += [f"## {self.examples_are}", "\n".join(["| | |", "|---|---|", *lines])]
        parts += ["## How it was measured", "\n".join(f"- {name}: {value}" for name, value in self.facts.items())]
        parts += ["## Left out", "\n".join(f"- {_escaped(record)}" for record in self.missing)] if self.missing else []
        return "\n\n".join(parts) + "\n"

    def records_csv(self) -> str:
        """The records as CSV, with a line of names."""
        text = io.StringIO()
        rows = csv.DictWriter(text, list(self.records[0]) if self.records else [], lineterminator="\n")
        rows.writeheader()
        rows.writerows(self.records)
        return text.getvalue()

    @property
    def size(self) -> str:
        """How much was measured, for people."""
        counts = {name: self.facts[name] for name in _COUNTS if self.facts.get(name)}
        return ", ".join(f"{count:,} {name if count != 1 else name.removesuffix('s')}" for name, count in counts.items())

    def write(self, folder: Path) -> tuple[Path, ...]:
        """`report.json`, `.md`, `.png` and `.html`, and `records.csv`, in `folder`, each whole or not at all. Returns their paths.

        Only the page holds pictures of the data set.

        Raises:
            EvaluationError: the folder cannot be written.
        """
        from evaluation.reports.page import draw, page

        picture = draw(self)
        contents = {
            "report.json": self.to_json().encode(),
            "report.md": self.to_markdown("report.png").encode(),
            "report.png": picture,
            "report.html": page(self, picture).encode(),
            "records.csv": self.records_csv().encode(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                partial = folder / f"{name}.partial"
                partial.write_bytes(content)
                partial.replace(folder / name)
        except OSError as error:
            for name in contents:
                with suppress(OSError):
                    (folder / f"{name}.partial").unlink(missing_ok=True)
            raise EvaluationError(
                f"{folder}: the report cannot be written ({error.strerror or error}). Name another folder with --out."
            ) from error
        return tuple(folder / name for name in contents)


_COUNTS = ("pictures", "videos", "files", "media", "texts", "references", "classes", "sentences", "segments", "queries")
MEANING = {
    "R@": "R@k: the part of the queries whose first right answer is among the first k.",
    "median rank": "Median rank: half of the queries have their first right answer at this rank or before.",
    "MRR": "MRR: the mean of 1 / rank of the first right answer.",
    "mAP": "mAP: the mean of the average precision over all right answers of a query.",
    "top-": "Top-k: the part of the media with a right class among the first k.",
    "IoU": "IoU: the seconds that found and true moment share, over those that either covers.",
    "self-retrieval": "Self-retrieval: the caption, as a query, finds its own picture first.",
    "CIDEr": "BLEU-4, METEOR, ROUGE-L, CIDEr, SPICE: likeness to what people wrote, times 100.",
    "calibration error": "Expected calibration error: how far a promised probability is from what comes true. Brier: its mean square.",
    "p99": "p50, p99: half, and 99 of 100, of the searches took no longer.",
}


def meanings(report: Report) -> list[str]:
    """What the columns of a report mean, and how to read its figures."""
    columns = " ".join(column for table in report.tables for column in table.columns)
    figures = "Rates are in percent; in brackets are 95 % intervals, where there are enough queries for one."
    return [figures, *(meaning for part, meaning in MEANING.items() if part in columns)]


def cells(table: Table, row: Row) -> list[str]:
    """What a table shows of a row, a text a column."""
    return [shown(row.values[column]) if column in row.values else "" for column in table.columns]


def shown(measure: Measure) -> str:
    """A figure with its interval: 43.0 (41.6-44.4)."""
    interval = "" if measure.low is None or measure.high is None else f" ({measure.low:.1f}–{measure.high:.1f})"
    return f"{measure.value:.1f}{interval}"


def _values(row: Row) -> dict[str, Any]:
    return {name: {key: value for key, value in asdict(measure).items() if value is not None} for name, measure in row.values.items()}


def _with_source(row: Row) -> str:
    return f"{row.name} ({row.source})" if row.source else row.name


def _escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def _mark(example: Example) -> str:
    return "" if example.right is None else "✓ " if example.right else "✗ "
