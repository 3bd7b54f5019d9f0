"""The console command `coca-search`: joins the commands of the packages and turns their errors into one line and exit code 2."""

import io
import logging
import os
import sys
import warnings
from importlib import metadata
from typing import Annotated

import typer

from coca_model import cli as model_cli
from coca_model.errors import CocaModelError
from evaluation import cli as evaluation_cli
from evaluation.errors import EvaluationError
from indexer import cli as indexer_cli
from indexer.errors import IndexerError
from media.errors import MediaError
from search import cli as search_cli
from search.errors import SearchError
from training import cli as training_cli
from training.errors import TrainingError
from ui import cli as ui_cli

_STOPPED = 130  # what typer makes of Ctrl-C


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"coca-search {metadata.version('coca-search')}")
        raise typer.Exit


app = typer.Typer(
    help="Find pictures, and moments in videos, by what you remember of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for cli in (indexer_cli, search_cli, ui_cli, model_cli, evaluation_cli, training_cli):
    cli.add_commands(app)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)] = False,
) -> None:
    pass


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"coca-search: {message}", file=sys.stderr)


def main() -> None:
    """Run the command line."""
    # Threads that wait for each other sleep instead of spinning. Spinning is up to twice as fast on a machine that does nothing else,
    # and eight times as slow on one that does, which is where people search. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to stop
    warnings.showwarning = _warn
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        app()
    except (CocaModelError, EvaluationError, IndexerError, MediaError, SearchError, TrainingError) as error:
        print(f"coca-search: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written, where nobody knew more to say
        print("coca-search:", f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.", file=sys.stderr)
        sys.exit(2)
    except SystemExit as done:
        if done.code == _STOPPED:
            print("coca-search: stopped; what was written so far is kept, and the next run goes on from there.", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
