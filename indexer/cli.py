"""`coca-search index`, with its progress bar."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from search.options import CollectionOption

if TYPE_CHECKING:
    from coca_model import Encoder
    from indexer.processing.progress import Progress
    from indexer.report import Report
    from search.errors import OtherModelError

_REFUSED, _INCOMPLETE, _STOPPED = 2, 3, 130

_HELP = """Make folders of pictures and videos searchable. Run it again after they change.

Exit codes: 0, all is well. 2, an error: nothing was done, or the disk is full. 3, done, but this run met files that failed, cannot be
read, are still being written, or are absent. 130, stopped by Ctrl-C: what was done is kept."""


def index(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, pictures, videos, also at s3://, gs://, az://, https://; patterns. `-`: a list on standard input."),
    ] = None,
    collection: CollectionOption = None,
    model: Annotated[
        str | None,
        typer.Option(help="A checkpoint folder, open_clip's weights, or a name on the Hugging Face hub. Default: the collection's."),
    ] = None,
    new_model: Annotated[
        bool,
        typer.Option("--new-model", help="If the collection is of another model, make it anew with this one. Needs no folder."),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads that read, decode and embed. Default: one for each core, at most 16.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also try files that failed before.")] = False,
    check_content: Annotated[
        bool, typer.Option("--check-content", help="Read every file to see whether it changed, not only its size and times.")
    ] = False,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Exclude files and folders of this name, from now on. `none` empties the list, `default` restores it. Repeatable.",
        ),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROOT",
            help="First remove an indexed folder, by its path or id; with --new-model, also what is in it. Its files stay. Repeatable.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="A CSV or Parquet file with the column `path`, and columns such as title, keywords, taken_at.")
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Read a list on standard input, separated by NUL, as by `find -print0`.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and index again whenever files change. Ctrl-C ends it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With --dry-run: also show the files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    from indexer.options import IndexOptions, default_workers
    from indexer.run import index as run
    from media.sources.addresses import is_address
    from search.errors import OtherModelError

    options = IndexOptions(
        workers=workers or default_workers(),
        retry_failed=retry_failed,
        check_content=check_content,
        forget=tuple(forget or ()),
        leave_out=tuple(leave_out or ()),
        dry_run=dry_run,
    )
    named = [path for path in paths or [] if path != "-"]
    listed = list(_read_list("\0" if null else "\n")) if null or "-" in (paths or []) else []
    if not (named or listed or manifest or forget or retry_failed or (new_model and not watch)):
        raise typer.BadParameter("Name a folder, a picture or a video." if paths is None else "The list on standard input is empty.")
    if new_model and dry_run:
        raise typer.BadParameter(
            "--new-model does not go with --dry-run. Without --new-model, a run on a terminal says what a rebuild takes, and asks."
        )
    if watch and (dry_run or listed or manifest or any("://" in path for path in named)):
        raise typer.BadParameter("--watch takes folders and files of this machine. It does not go with --dry-run, a list or a manifest.")

    is_first, encoder = True, None

    def run_once() -> "Report":
        nonlocal new_model, encoder
        try:
            return run_with_bars()
        except OtherModelError as error:
            is_remote = is_address(collection or "")  # not made anew in its place
            if as_json or is_remote or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            encoder, new_model = ask_for_new_model(error, collection, model), True
            return run_with_bars()

    def run_with_bars() -> "Report":
        nonlocal options, is_first
        with _bars() as (on_check, on_progress), _stop_by_signals() as should_stop:
            report = run(
                named,
                listed=listed,
                manifest=manifest,
                collection=collection,
                model=model,
                encoder=encoder,
                new_model=new_model,
                options=options,
                on_progress=on_progress,
                on_check=on_check,
                should_stop=should_stop,
            )
        options = replace(options, forget=())  # once is enough when we watch
        if as_json:
            print(json.dumps(report.to_json(), ensure_ascii=False), flush=True)
        elif is_first or report.has_news:
            if watch:
                print(time.strftime("%H:%M:%S "), end="")
            _show(report, verbose=verbose)
        is_first = False
        if report.is_stopped:
            raise typer.Exit(_STOPPED)
        return report

    if watch:
        _watch(named, run_once, collection)
    if not run_once().is_complete:
        raise typer.Exit(_INCOMPLETE)


def ask_for_new_model(error: "OtherModelError", collection: str | None, model: str | None) -> "Encoder":
    """Say what it takes to make a collection anew, and ask. Returns the model. Ends with code 2 if the answer is no."""
    from coca_model import load
    from indexer.forecast import forecast, in_words
    from search.collection import open_collection

    opened = open_collection(collection)
    print(f"coca-search: {error}", file=sys.stderr)
    encoder = load(model or opened.identity.model)
    needs = forecast(opened, encoder)
    lasts = "" if needs.seconds is None else f"about {_duration(needs.seconds)} and "
    print(
        f"To make it anew, {needs.num_files:,} files are embedded again. That takes {lasts}{in_words(needs.size_bytes)} on the disk. "
        "The old collection stays until the new one is complete, and a run that was stopped goes on where it was.",
        file=sys.stderr,
    )
    if not typer.confirm(f"Make the collection anew with {encoder.model_id}?", err=True):
        print("Nothing was changed.", file=sys.stderr)
        raise typer.Exit(_REFUSED)
    return encoder


def _watch(paths: list[str], run_once: Callable[[], "Report"], collection: str | Path | None) -> NoReturn:
    """Index until Ctrl-C."""
    from indexer.watch import watch
    from search.collection import default_path

    def run() -> bool:
        return bool(run_once().unfinished)

    print("Watching. Ctrl-C ends it.", file=sys.stderr)
    with suppress(KeyboardInterrupt):
        watch(paths, run, collection=Path(collection or default_path()), on_wait=lambda why: print(f"coca-search: {why}", file=sys.stderr))
    raise typer.Exit(_STOPPED)


def _read_list(separator: str) -> Iterator[str]:
    """The paths on standard input, also those that are not valid UTF-8."""
    for path in sys.stdin.buffer.read().split(separator.encode()):
        name = path if separator == "\0" else path.removesuffix(b"\r")
        if name:
            yield name.decode(errors="surrogateescape")


@contextmanager
def _bars() -> Iterator[tuple[Callable[[int, int], None], Callable[["Progress"], None]]]:
    """Two progress bars: for reading files to see whether they changed, and for indexing. Each appears when it has something to show."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    bars = Bars(
        TextColumn("{task.fields[name]}"), BarColumn(), TextColumn("{task.description}"), console=console, disable=not console.is_terminal
    )
    checking = bars.add_task("", total=None, name="comparing", visible=False)
    indexing = bars.add_task("", total=None, name="indexing", visible=False)

    def on_check(done: int, total: int) -> None:
        bars.start()  # not earlier: if nothing can be indexed, there is an error and no bar
        bars.update(checking, completed=done, total=total, description=f"{done:,} of {total:,} files", visible=True)

    def on_progress(progress: "Progress") -> None:
        bars.start()
        bars.update(indexing, completed=progress.share_done, total=1.0, description=describe(progress), visible=True)

    try:
        yield on_check, on_progress
    finally:
        bars.stop()


def describe(progress: "Progress") -> str:
    """What stands beside the progress bar."""
    parts = [f"{progress.num_done:,} of {progress.num_files:,} files"]
    if progress.num_done:
        parts.append(f"{progress.files_per_second:.1f} files/s")
    if progress.share_done:
        parts += [f"{_duration(progress.seconds_left)} left", f"slowest: {progress.bottleneck}"]
    return ", ".join([*parts, *([f"{progress.num_failed} failed"] if progress.num_failed else [])])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def _stop_by_signals() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C, `kill`, or end of the terminal finishes the files in progress. The second one stops at once."""
    is_asked = False

    def ask(number: int, _: object) -> None:
        nonlocal is_asked
        is_asked = True
        signal.signal(number, before[number])
        if number == signal.SIGHUP:
            _write_nowhere(terminals)
        print("coca-search: stopping after the files in progress. Press Ctrl-C again to stop at once.", file=sys.stderr)

    # Not those that are ignored, as after `nohup`, or that a program around us handles.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    terminals = [number for number in (1, 2) if os.isatty(number)]
    before: dict[int, Any] = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: is_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_nowhere(terminals: Iterable[int]) -> None:
    """Each write to a terminal that is closed would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in terminals:
        os.dup2(nowhere, number)
    os.close(nowhere)


def _show(report: "Report", *, verbose: bool) -> None:
    print(report.summary())
    if report.num_new + report.num_changed and report.seconds:
        spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
        print(f"seconds by stage: {spent}; the bottleneck is {report.bottleneck}")
    if verbose:
        for what, uris in report.files.items():
            for uri in uris:
                print(f"{what:8} {uri}")
    for failure in report.failures:
        print(f"  {failure.uri}: {failure.stage}: {failure.reason}", file=sys.stderr)
    for line in report.remarks(brief=not (verbose or report.has_news)):
        print(f"  {line}", file=sys.stderr)


def add_commands(app: typer.Typer) -> None:
    app.command(help=_HELP)(index)
