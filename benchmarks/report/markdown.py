"""`docs/benchmarks.md` from the results of the benchmarks: a chart, the machine, and the tables of each benchmark."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure.result import Result
from benchmarks.report.chart import draw
from benchmarks.report.this_machine import machine, versions

_INTRODUCTION = """\
Each benchmark first checks that its sides give the same output. Then the sides take turns in one run, so that other load on the machine
affects all of them. "A to B" is how many times as fast A is as B: the median over the rounds of B's time divided by A's time. Below 1,
A is slower."""


@dataclass(frozen=True)
class Page:
    """The content of the page."""

    results: Sequence[Result]  # of the benchmarks that ran
    failed: Mapping[str, str]  # benchmark -> how it failed, without paths
    command: str  # that ran them
    date: datetime.date = field(default_factory=datetime.date.today)
    machine: Mapping[str, str] = field(default_factory=machine)
    versions: Mapping[str, str] = field(default_factory=versions)

    def write(self, file: Path) -> None:
        """Write the page. If there are results, write the chart beside it, under the same name with `.png`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = file.with_suffix(".png")
        if self.results:
            draw(self.results, picture)
        file.write_text(self.markdown(picture.name))

    def markdown(self, picture: str) -> str:
        """The page as Markdown. `picture` is the address of the chart."""
        parts = [
            "# Benchmarks",
            f"Written by `{self.command}` on {self.date.isoformat()}. Do not edit it by hand.",
            *(f"**{name} failed** ({what}). It has no figures here." for name, what in self.failed.items()),
            f"![The ratios as bars on a logarithmic scale]({picture})" if self.results else "",
            _INTRODUCTION,
            _table(["Machine", ""], [[name, value] for name, value in self.machine.items()]),
            "Versions: " + ", ".join(f"{name} {value}" for name, value in self.versions.items()) + ".",
            *(_section(result) for result in self.results),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def _section(result: Result) -> str:
    columns = list(dict.fromkeys(column for side in result.sides.values() for column in side))
    rows = [[name, *(number(side[column]) if column in side else "" for column in columns)] for name, side in result.sides.items()]
    size = [f"{name} {number(value)}" for name, value in {**result.size, "threads": result.threads}.items()]
    parts = [
        f"## {result.benchmark}",
        result.what,
        _table(["Side", *(column.replace("_", " ") for column in columns)], rows),
        _table(["Ratio", "times as fast"], [[name, number(value)] for name, value in result.ratios.items()]),
        "Agreement: " + ", ".join(f"{name} {value:.6g}" for name, value in result.agreement.items()) + ". Size: " + ", ".join(size) + ".",
    ]
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---", *("--:" if len(head) > 2 or head[1] else "---" for _ in head[1:])])
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float) -> str:
    """Three digits or more, without an exponent: 0.0123, 4.56, 123, 100,000."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
