"""`coca-search index`, with its progress bar."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.options import CollectionOption

if TYPE_CHECKING:
    from indexer.progress import Progress


def index(
    paths: Annotated[list[Path], typer.Argument(help="Folders, or single pictures and videos.")],
    collection: CollectionOption = None,
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint folder, open_clip's weights, or a name on the Hugging Face hub. Default: the collection's."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Decoding threads. Default: one for each core, at most 8.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also try files that failed before.")] = False,
) -> None:
    """Make folders of pictures and videos searchable. Run it again after they change."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    from indexer.run import IndexOptions
    from indexer.run import index as run

    options = IndexOptions(retry_failed=retry_failed) if workers is None else IndexOptions(workers=workers, retry_failed=retry_failed)
    console = Console(stderr=True)
    bar = Bar(TextColumn("indexing"), BarColumn(), TextColumn("{task.description}"), console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=None)

    def on_progress(progress: "Progress") -> None:
        bar.start()  # not earlier: if nothing can be indexed, there is an error and no bar
        bar.update(task, completed=progress.num_done, total=progress.num_files, description=describe(progress))

    try:
        report = run(paths, collection=collection, model=model, options=options, on_progress=on_progress)
    finally:
        bar.stop()
    print(
        f"{report.num_new} new, {report.num_changed} changed, {report.num_moved} moved, {report.num_gone} gone, "
        f"{report.num_unchanged} unchanged, {len(report.failures)} failed; {report.num_rows} rows written to {report.collection}"
    )
    if report.num_new or report.num_changed:
        spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
        print(f"seconds by stage: {spent}; the bottleneck is {report.bottleneck}")
    for failure in report.failures:
        console.print(f"  {failure.uri}: {failure.stage}: {failure.reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if report.num_failed_before:
        console.print(f"  Failed before and not changed: {report.num_failed_before}. Retry with --retry-failed.", markup=False)


def describe(progress: "Progress") -> str:
    """What stands beside the progress bar."""
    parts = [f"{progress.num_done:,} of {progress.num_files:,} files"]
    if progress.num_done:
        parts += [f"{progress.files_per_second:.1f} files/s", f"{_duration(progress.seconds_left)} left", f"slowest: {progress.bottleneck}"]
    return ", ".join([*parts, *([f"{progress.num_failed} failed"] if progress.num_failed else [])])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def add_commands(app: typer.Typer) -> None:
    app.command()(index)
