"""What all `coca-search eval` commands share: the model with its cache, progress bars, printed tables, written files."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_data_path

if TYPE_CHECKING:
    from evaluation.features import FeatureSource, OnProgress
    from evaluation.reports.report import Report

_WIDTH_OF_A_PIPE = 200
_SECONDS_A_LINE = 30.0


def run(
    evaluate: "Callable[[FeatureSource], Report]", model: str, cache: Path | None, out: Path | None, *, dtype: str, allow_missing: bool
) -> None:
    """Load the model, evaluate, and finish. `dtype` is a torch dtype, or "auto" for the fastest one on this machine."""
    import torch

    from coca_model import load
    from evaluation.features import FeatureSource, ResultCache

    file = cache or user_cache_path("coca-search") / "evaluation.sqlite"
    with closing(ResultCache(file)) as results, progress_bars() as on_progress:
        encoder = load(model, dtype=None if dtype == "auto" else getattr(torch, dtype))
        report = evaluate(FeatureSource(encoder, results, allow_missing=allow_missing, on_progress=on_progress))
    finish(report, out)


@contextmanager
def progress_bars() -> Iterator["OnProgress"]:
    """A bar for each stage on standard error, with speed and time left. Without a terminal, a line from time to time."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console, last = Console(stderr=True), time.monotonic()

    def print_line(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_A_LINE:
            last = time.monotonic()
            print(f"coca-search: {stage}: {done} of {total}", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield print_line
        return
    bars: dict[str, TaskID] = {}
    name, rate = TextColumn("{task.description:10}"), TextColumn("{task.fields[rate]}")
    with Progress(name, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), console=console) as progress:

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, rate="", total=total)
            speed = progress.tasks[bars[stage]].speed
            progress.update(bars[stage], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield on_progress


def finish(report: "Report", out: Path | None) -> None:
    """Write the files into `out`, or a folder named after the report in the user's data directory. Then print the tables."""
    # The default is not in the current folder: the next run could read the report's pictures as the user's.
    name = f"{report.title} {report.metadata.get('model', '')}".split("@")[0]
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:100]
    folder = out or user_data_path("coca-search") / "eval" / name
    report.write(folder)  # before printing, because the reader of a pipe may close it early
    _print_tables(report)
    if report.missing:
        print(f"{len(report.missing)} records were left out. The report names them.")
    print(f"{folder}: report.html, report.md, report.json, report.png, records.csv")


def _print_tables(report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from evaluation.reports.parts import cells

    console = Console(width=None if Console().is_terminal else _WIDTH_OF_A_PIPE, highlight=False)
    console.print(f"[bold]{escape(report.title)}[/bold]: {escape(report.size)}\n")
    for table in report.tables:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate((table.title, *table.columns)):
            shown.add_column(escape(column), justify="right" if index else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*(escape(cell) for cell in (row.name, *cells(table, row))), style="dim" if row.source else "")
        console.print(shown)
        for note in dict.fromkeys(filter(None, (*(row.source for row in table.rows), table.note))):
            console.print(f"  {escape(note)}", style="dim")
        console.print()
