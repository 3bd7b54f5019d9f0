"""What every `coca-search eval` command shares: the model with its cache and progress bars, the printed tables, the written files."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

if TYPE_CHECKING:
    from evaluation.features.extract import FeatureSource, OnProgress
    from evaluation.reports.report import Report

_WIDTH_OF_A_PIPE = 200
_SECONDS_A_LINE = 30.0


@contextmanager
def feature_source(model: str, cache: Path | None, *, dtype: str, allow_missing: bool) -> Iterator["FeatureSource"]:
    """Features by the model, kept in the cache; `dtype` is a torch dtype's name, or "auto" for what the machine does fast."""
    import torch

    from coca_model import load
    from evaluation.features.cache import ResultCache, default_cache_path
    from evaluation.features.extract import FeatureSource

    results = ResultCache(cache or default_cache_path())
    try:
        with progress_bars() as on_progress:
            yield FeatureSource(
                load(model, dtype=None if dtype == "auto" else getattr(torch, dtype)),
                results,
                allow_missing=allow_missing,
                on_progress=on_progress,
            )
    finally:
        results.close()


@contextmanager
def progress_bars() -> Iterator["OnProgress"]:
    """A bar for each stage on standard error, with rate and time left; a line now and then where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    if not console.is_terminal:
        yield _lines_of_progress()
        return
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, rate="", total=total)
            speed = progress.tasks[bars[stage]].speed
            progress.update(bars[stage], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield on_progress


def _lines_of_progress() -> "OnProgress":
    said = time.monotonic()

    def on_progress(stage: str, done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > _SECONDS_A_LINE:
            said = time.monotonic()
            print(f"coca-search: {stage}: {done} of {total}", file=sys.stderr, flush=True)

    return on_progress


def finish(report: "Report", out: Path | None) -> None:
    """Write the files into `out`, or a folder of the report's name in the user's data directory; then print the tables."""
    folder = out or default_folder(report)
    report.write(folder)  # first: the reader of what is printed may have seen enough
    for line in _lines(report):
        print(line)
    if report.missing:
        print(f"{len(report.missing)} records were left out; the report names them.")
    print(f"{folder}: report.html, report.md, report.json, report.png, records.csv")


def default_folder(report: "Report") -> Path:
    """Not below the current directory: the next run would take its pictures for the user's own."""
    name = f"{report.title} {report.facts.get('model', '')}".split("@")[0]
    return user_data_path("coca-search") / "eval" / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:100]


def _lines(report: "Report") -> Iterator[str]:
    """The tables as lines of text, as wide as the terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from evaluation.reports.report import cells

    console = Console(width=None if Console().is_terminal else _WIDTH_OF_A_PIPE, highlight=False)
    with console.capture() as written:
        console.print(f"[bold]{escape(report.title)}[/bold]: {escape(report.size)}\n")
        for table in report.tables:
            shown = Table(box=None, pad_edge=False, header_style="bold")
            for place, column in enumerate((table.title, *table.columns)):
                shown.add_column(escape(column), justify="right" if place else "left", overflow="fold")
            for row in table.rows:
                shown.add_row(*(escape(cell) for cell in (row.name, *cells(table, row))), style="dim" if row.source else "")
            console.print(shown)
            for note in (*dict.fromkeys(row.source for row in table.rows if row.source), *([table.note] if table.note else [])):
                console.print(f"  {escape(note)}", style="dim")
            console.print()
    yield from written.get().splitlines()
