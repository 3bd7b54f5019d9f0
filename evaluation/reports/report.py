"""The result of an evaluation, as JSON, Markdown, HTML and CSV."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.reports.page import render
from evaluation.reports.parts import Curve, Example, Row, Table, cells
from media.atomic_write import atomic_write

_COUNTS = ("pictures", "videos", "files", "media", "texts", "references", "classes", "sentences", "segments", "queries")
_FIGURES = "Rates are in percent. Brackets hold 95 % intervals, if there are enough queries."
_MEANINGS = {  # part of a column's name: what it means
    "R@": "R@k: the share of queries with a right answer among the first k.",
    "median rank": "Median rank: half of the queries have their first right answer at this rank or better.",
    "MRR": "MRR: the mean of 1 / rank of the first right answer.",
    "mAP": "mAP: the mean over queries of the average precision over all right answers.",
    "top-": "Top-k: the share of media with a right class among the first k.",
    "IoU": "IoU: the seconds in both the found and the true moment, divided by the seconds in either.",
    "self-retrieval": "Self-retrieval: how often a caption, used as a query, finds its picture first.",
    "CIDEr": "BLEU-4, METEOR, ROUGE-L, CIDEr, SPICE: similarity to what people wrote, times 100.",
    "calibration error": "Expected calibration error: how far probabilities are from the truth. Brier: the mean squared error.",
    "p99": "p50, p99: half of the searches, and 99 of 100, took no longer.",
}


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Attributes:
        task: "retrieval", "classify", "caption", "moments" or "collection".
        metadata: how it was measured: model, arithmetic, data set, counts, versions.
        records: the result of every query, for programs, and to compare two models query by query.
        missing: the records that were left out.
        examples_are: how the examples were chosen, the heading above them.
    """

    task: str
    title: str
    tables: tuple[Table, ...]
    metadata: Mapping[str, Any]
    curves: tuple[Curve, ...] = ()
    examples: tuple[Example, ...] = ()
    missing: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    examples_are: str = "Examples, drawn at random"

    @property
    def size(self) -> str:
        """How much was measured, for people."""
        counts = {name: self.metadata[name] for name in _COUNTS if self.metadata.get(name)}
        return ", ".join(f"{count:,} {name if count != 1 else name.removesuffix('s')}" for name, count in counts.items())

    @property
    def meanings(self) -> list[str]:
        """How to read the figures, and what the columns mean."""
        columns = " ".join(column for table in self.tables for column in table.columns)
        return [_FIGURES, *(meaning for part, meaning in _MEANINGS.items() if part in columns)]

    def to_json(self) -> str:
        """The report as one JSON document, without pictures. `metadata` is called "facts" there, as in earlier reports."""
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
        document = {"task": self.task, "title": self.title, "facts": dict(self.metadata), "tables": tables}
        return json.dumps(document | {"curves": [asdict(c) for c in self.curves], "examples": examples, "missing": self.missing}, indent=1)

    def to_markdown(self, picture: str = "") -> str:
        """The report as Markdown. `picture` is the address of the chart."""
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
        parts += ["## How it was measured", "\n".join(f"- {name}: {value}" for name, value in self.metadata.items())]
        parts += ["## Left out", "\n".join(f"- {_escaped(record)}" for record in self.missing)] if self.missing else []
        return "\n\n".join(parts) + "\n"

    def records_csv(self) -> str:
        """The records as CSV with a header."""
        text = io.StringIO()
        rows = csv.DictWriter(text, list(self.records[0]) if self.records else [], lineterminator="\n")
        rows.writeheader()
        rows.writerows(self.records)
        return text.getvalue()

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write `report.json`, `.md`, `.png` and `.html`, and `records.csv`, each atomically. Returns their paths.

        Only the HTML page holds pictures of the data set.

        Raises:
            EvaluationError: the folder cannot be written.
        """
        from evaluation.reports.chart import draw  # matplotlib takes half a second to import

        chart = draw(self.title, self.tables, self.curves)
        contents = {
            "report.json": self.to_json().encode(),
            "report.md": self.to_markdown("report.png").encode(),
            "report.png": chart,
            "report.html": render(self, chart).encode(),
            "records.csv": self.records_csv().encode(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                atomic_write(folder / name, content)
        except OSError as error:
            raise EvaluationError(
                f"{folder}: the report cannot be written ({error.strerror or error}). Name another folder with --out."
            ) from error
        return tuple(folder / name for name in contents)


def _values(row: Row) -> dict[str, Any]:
    return {name: {key: value for key, value in asdict(measure).items() if value is not None} for name, measure in row.values.items()}


def _with_source(row: Row) -> str:
    return f"{row.name} ({row.source})" if row.source else row.name


def _escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def _mark(example: Example) -> str:
    return "" if example.right is None else "✓ " if example.right else "✗ "
