"""`coca-search export`, `import` and `merge`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from media.sources.addresses import is_address
from search.options import CollectionOption, WhereOption, all_of

if TYPE_CHECKING:
    from indexer.exchange.take_in import TakenIn

_INCOMPLETE = 3  # exit code: done, but something was left out
MovedOption = Annotated[
    list[str] | None,
    typer.Option("--moved", metavar="OLD=NEW", help="A folder that lies elsewhere on this machine. May be given several times."),
]


def export(
    out: Annotated[Path, typer.Argument(help="A new folder; or a new file whose name ends with .parquet.")],
    collection: CollectionOption = None,
    layout: Annotated[str, typer.Option("--format", help="`parquet`, or `clip-retrieval`: the folders img_emb and metadata.")] = "parquet",
    where: WhereOption = None,
    kinds: Annotated[str, typer.Option(help="Which segments: some of image,shot,clip.")] = "image,shot,clip",
) -> None:
    """Write rows and vectors to files for other programs, or for `coca-search import`."""
    from indexer.exchange.export import export as write

    done = write(out, collection=collection, format=layout, where=all_of(where), kinds=kinds.replace(" ", "").split(","))  # type: ignore[arg-type]
    print(f"{done.num_rows} rows were written to {out}, in {len(done.files)} files.")


def import_files(
    path: Annotated[Path, typer.Argument(help="A Parquet file, a folder of them, or a folder with img_emb and metadata.")],
    collection: CollectionOption = None,
    model: Annotated[
        str | None, typer.Option(help="The model that made the vectors, as for `index`. Needed if coca-search did not write the files.")
    ] = None,
    moved: MovedOption = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Also take rows whose files are not on this machine: found, but without thumbnails.")
    ] = False,
    thumbnails: Annotated[bool, typer.Option(help="Make thumbnails from the files. `verify --repair` makes them later.")] = True,
) -> None:
    """Take rows and vectors from files that `export` or clip-retrieval wrote. Nothing is embedded again."""
    from indexer.exchange.read_in import ImportOptions, read_in

    options = ImportOptions(_folders(moved), keep_missing=keep_missing, thumbnails=thumbnails)
    with _counting_files() as on_progress:
        done = read_in(path, collection=collection, model=model, options=options, on_progress=on_progress)
    _report(done)


def merge(
    other: Annotated[Path, typer.Argument(help="The folder of the other collection. It does not change.")],
    collection: CollectionOption = None,
    moved: MovedOption = None,
) -> None:
    """Take another collection of the same model into this one, with its thumbnails. Nothing is embedded again."""
    from indexer.exchange.merge import merge as take

    with _counting_files() as on_progress:
        done = take(other, collection=collection, moved=_folders(moved), on_progress=on_progress)
    _report(done)


@contextmanager
def _counting_files() -> Iterator[Callable[[int], None]]:
    """Shows the number of files that are done, if a person looks at the terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.completed} files"), TextColumn("{task.fields[rate]}")
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, rate="")
        yield lambda count: bar.update(task, completed=count, rate=f"{bar.tasks[0].speed or 0:.0f} files/s")


def _folders(moved: list[str] | None) -> dict[str, str]:
    """OLD=NEW as {OLD: NEW}."""
    folders = {}
    for pair in moved or []:
        old, equals, new = pair.partition("=")
        if not (old and equals and new):
            raise typer.BadParameter(f"{pair}: expected OLD=NEW, two folders.", param_hint="--moved")
        folders[_absolute(old)] = _absolute(new)
    return folders


def _absolute(folder: str) -> str:
    return folder if is_address(folder) else str(Path(os.path.normpath(Path(folder).expanduser().absolute())))


def _report(done: "TakenIn") -> None:
    counts = f"{done.num_new} new, {done.num_replaced} replaced by a later version, {done.num_known} here already"
    print(f"{counts}, {done.skipped.total()} left out" + (f"; {done.num_failures} failed files noted" if done.num_failures else ""))
    if done.num_without_thumbnails:
        print(f"{done.num_without_thumbnails} files lack thumbnails. If the files are here, make them with: coca-search verify --repair")
    for reason, count in done.skipped.most_common():
        typer.echo(f"  left out: {count} {reason}, such as {done.examples[reason]}", err=True)
    if done.skipped:
        raise typer.Exit(_INCOMPLETE)


def add_commands(app: typer.Typer) -> None:
    app.command()(export)
    app.command("import")(import_files)
    app.command()(merge)
