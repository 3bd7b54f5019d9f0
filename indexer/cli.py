"""`coca-search index`, with its progress bar."""

from typing import Annotated

import typer

from search.options import CollectionOption


def index(
    paths: Annotated[
        list[str], typer.Argument(help="Folders, or single pictures and videos, also in buckets (s3://, gs://, az://, https://).")
    ],
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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from indexer.run import IndexOptions
    from indexer.run import index as run
    from search.collection.bucket.place import shown

    options = IndexOptions(retry_failed=retry_failed) if workers is None else IndexOptions(workers=workers, retry_failed=retry_failed)
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, disable=not console.is_terminal)
    task = bar.add_task("", total=None, rate="")

    def on_progress(done: int, total: int, failed: int) -> None:
        bar.start()  # not earlier: if nothing can be indexed, there is an error and no bar
        speed = bar.tasks[0].speed
        rate = f"{speed:.0f} files/s" if speed else ""
        bar.update(task, completed=done, total=total, rate=f"{rate} {failed} failed" if failed else rate)

    try:
        report = run(paths, collection=collection, model=model, options=options, on_progress=on_progress)
    finally:
        bar.stop()
    print(
        f"{report.num_new} new, {report.num_changed} changed, {report.num_moved} moved, {report.num_gone} gone, "
        f"{report.num_unchanged} unchanged, {len(report.failures)} failed; {report.num_rows} rows written to {shown(report.collection)}"
    )
    if report.num_new or report.num_changed:
        spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
        print(f"seconds by stage: {spent}; the bottleneck is {report.bottleneck}")
    for failure in report.failures:
        console.print(f"  {failure.uri}: {failure.stage}: {failure.reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if report.num_failed_before:
        console.print(f"  Failed before and not changed: {report.num_failed_before}. Retry with --retry-failed.", markup=False)


def add_commands(app: typer.Typer) -> None:
    app.command()(index)
