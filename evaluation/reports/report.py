"""The result of an evaluation, as JSON, Markdown, HTML and CSV."""

import base64
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.datasets.dataset import Medium
from evaluation.errors import EvaluationError
from evaluation.reports.parts import Curve, Example, Table, cells
from media import MediaError, make_thumbnail, open_picture
from media.atomic_write import atomic_write
from media.video.frame_at import frame_at

_COUNTS = ("pictures", "videos", "files", "media", "texts", "references", "classes", "sentences", "segments", "queries")
_SINGULAR = {"media": "medium", "classes": "class", "queries": "query"}  # the others only lose their s
_MEANINGS = {  # part of a column's name, empty for any: how to read the figures
    "": "Rates are in percent. Brackets hold 95 % intervals, if there are enough queries.",
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
    """The result of one evaluation."""

    task: str  # "retrieval", "classify", "caption", "moments" or "collection"
    title: str
    tables: tuple[Table, ...]
    metadata: Mapping[str, Any]  # how it was measured: model, arithmetic, data set, counts, versions
    curves: tuple[Curve, ...] = ()
    examples: tuple[Example, ...] = ()
    missing: tuple[str, ...] = ()  # the records that were left out
    records: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)  # the result of every query, to compare two models
    examples_are: str = "Examples, drawn at random"  # the heading above the examples

    @property
    def size(self) -> str:
        """How much was measured, for people."""
        counts = {name: self.metadata[name] for name in _COUNTS if self.metadata.get(name)}
        return ", ".join(
            f"{count:,} {name if count != 1 else _SINGULAR.get(name, name.removesuffix('s'))}" for name, count in counts.items()
        )

    @property
    def meanings(self) -> list[str]:
        """How to read the figures, and what the columns mean."""
        columns = " ".join(column for table in self.tables for column in table.columns)
        return [meaning for part, meaning in _MEANINGS.items() if part in columns]

    def to_json(self) -> str:
        """The report as one JSON document, without pictures. `metadata` is called "facts" there, as in earlier reports."""
        document = {"task": self.task, "title": self.title, "facts": dict(self.metadata), "tables": self.tables, "curves": self.curves}
        examples = []
        for example in self.examples:
            found = [[medium.name, words] for medium, words in example.found]
            examples.append({"title": example.title, "right": example.right, "found": found})

        def fields(part: object) -> dict[str, Any]:  # of a table, row, measure, curve or line
            return {name: value for name, value in vars(part).items() if name != "bars" and value is not None}

        return json.dumps(document | {"examples": examples, "missing": self.missing}, default=fields, indent=1)

    def to_markdown(self, picture: str = "") -> str:
        """The report as Markdown. `picture` is the address of the chart."""
        parts = [f"# {_escaped(self.title)}"]
        for table in self.tables:
            lines = [f"| {table.title} | {' | '.join(table.columns)} |", "|---|" + "---:|" * len(table.columns)]
            for row in table.rows:
                name = f"{row.name} ({row.source})" if row.source else row.name
                lines.append(f"| {_escaped(name)} | {' | '.join(cells(table, row))} |")
            parts += ["\n".join(lines), *([table.note] if table.note else [])]
        parts += [f"![The tables as bars, and the curves]({picture})"] if picture else []
        if self.examples:
            lines = ["| | |", "|---|---|"]
            for example in self.examples:
                mark = "" if example.right is None else "✓ " if example.right else "✗ "
                found = "; ".join(f"`{medium.name}` {words}" for medium, words in example.found)
                lines.append(f"| {_escaped(mark + example.title)} | {_escaped(found)} |")
            parts += [f"## {self.examples_are}", "\n".join(lines)]
        parts += ["## How it was measured", "\n".join(f"- {name}: {value}" for name, value in self.metadata.items())]
        parts += ["## Left out", "\n".join(f"- {_escaped(record)}" for record in self.missing)] if self.missing else []
        return "\n\n".join(parts) + "\n"

    def to_html(self, chart: bytes) -> str:
        """The report as one HTML page that needs nothing beside it. Its pictures and the chart, a PNG, are embedded."""
        from jinja2 import Environment

        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
        return template.render(report=self, chart=base64.b64encode(chart).decode(), cells=cells, thumbnail=_thumbnail)

    def records_csv(self) -> str:
        """The records as CSV with a header."""
        text = io.StringIO()
        rows = csv.DictWriter(text, list(self.records[0]) if self.records else [], lineterminator="\n")
        rows.writeheader()
        rows.writerows(self.records)
        return text.getvalue()

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write `report.json`, `.md`, `.png` and `.html`, and `records.csv`, each atomically. Returns their paths.

        Only the HTML page holds pictures of the data set. Raises EvaluationError if the folder cannot be written.
        """
        from evaluation.reports.chart import draw  # matplotlib takes half a second to import

        chart = draw(self.title, self.tables, self.curves)
        contents = {
            "report.json": self.to_json().encode(),
            "report.md": self.to_markdown("report.png").encode(),
            "report.png": chart,
            "report.html": self.to_html(chart).encode(),
            "records.csv": self.records_csv().encode(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                atomic_write(folder / name, content)
        except OSError as error:
            reason = error.strerror or error
            raise EvaluationError(f"{folder}: the report cannot be written ({reason}). Name another folder with --out.") from error
        return tuple(folder / name for name in contents)


def _escaped(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())


def _thumbnail(medium: Medium) -> str:
    """The picture or the frame of a video at `medium.seconds`, a small WebP in base64. Empty if the medium cannot be read."""
    try:
        image = medium.kind == "image"
        picture = open_picture(medium.read(), min_side=256) if image else frame_at(medium.path, medium.seconds)
        return base64.b64encode(make_thumbnail(picture)).decode()
    except (MediaError, OSError):
        return ""
