"""The console command `coca-search`: the commands of all packages. Their errors become one line and exit code 2."""

import codecs
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
from indexer.exchange import cli as exchange_cli
from media.errors import MediaError
from search import cli as search_cli
from search.errors import SearchError
from training import cli as training_cli
from training.errors import TrainingError
from ui import cli as ui_cli

_STOPPED = 130  # the exit code of typer after Ctrl-C


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
for cli in (indexer_cli, exchange_cli, search_cli, ui_cli, model_cli, evaluation_cli, training_cli):
    cli.add_commands(app)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)] = False,
) -> None:
    pass


def _write_name(error: UnicodeError) -> tuple[str | bytes, int]:
    """Names that are not valid UTF-8 are written as they are. If the terminal cannot show another name, the run must not fail."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    shown = bytes([ord(character) - 0xDC00]) if "\udc80" <= character <= "\udcff" else ascii(character)[1:-1]
    return shown, error.start + 1


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"coca-search: {message}", file=sys.stderr)


def main() -> None:
    """Run the command line."""
    # Waiting threads sleep instead of spinning. Spinning is up to twice as fast on an idle machine, but eight times as slow on a busy
    # one. Set this before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    codecs.register_error("file-names", _write_name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="file-names")
    warnings.showwarning = _warn
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # Pillow tells of damaged tags; a picture that is lost is reported by us
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    try:
        app()
    except (CocaModelError, EvaluationError, IndexerError, MediaError, SearchError, TrainingError) as error:
        print(f"coca-search: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, such as `head`, has exited
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, or a folder that may not be written
        print("coca-search:", f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}.", file=sys.stderr)
        sys.exit(2)
    except SystemExit as done:
        if done.code == _STOPPED and sys.argv[1:2] != ["ui"]:  # the page writes nothing
            print("coca-search: stopped. What was written so far is kept. Run the command again to continue.", file=sys.stderr)
        raise
