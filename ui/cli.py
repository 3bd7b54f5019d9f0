"""`coca-search ui`: the service, unless one answers already, and the page over it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from search.client import Client
from search.errors import NoServiceError, ServiceError

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_STOP_SECONDS = 3.0  # a paused video holds its connection open, and the service would wait for it

Process = subprocess.Popen[bytes]


def ui(
    collection: Annotated[
        Path | None,
        typer.Option("--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="Its directory; by default in your data directory."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the page is.")] = 8501,
    service_port: Annotated[int, typer.Option(min=1, max=65535, help="Where the service is, or is to be started.")] = 8460,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the search page."""
    with Client(f"http://127.0.0.1:{service_port}") as client, ExitStack() as running:
        _check_free(port)
        _stop_on_signals()
        if not _serves(client, collection):
            chosen = [] if collection is None else ["--collection", str(collection)]
            service = running.enter_context(_running(["-m", "coca_search", "serve", "--port", str(service_port), *chosen]))
            _await(service, client, collection)
        print(f"coca-search is at http://127.0.0.1:{port}, over {client.health()['collection']}", file=sys.stderr, flush=True)
        page = running.enter_context(_running(page_arguments(client.url, port, browser=browser)))
        raise typer.Exit(page.wait())


def _check_free(port: int) -> None:
    """Before the service is started for nothing: Streamlit would tell it only afterwards."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        url = f"http://127.0.0.1:{port}"
        raise ServiceError(
            f"{url}: the page cannot be there ({os.strerror(error.errno or 0)}). Open what answers there, or give another --port."
        ) from error


def page_arguments(service_url: str, port: int, *, browser: bool) -> list[str]:
    """What Python is told to serve the page."""
    return ["-m", "ui.server", service_url, str(port), *(["--browser"] if browser else [])]


def _serves(client: Client, collection: Path | None) -> bool:
    """Whether a service answers, over `collection` where one is asked for.

    Raises:
        ServiceError: it serves another collection, or something else answers there.
    """
    try:
        served = client.health()["collection"]
    except NoServiceError:
        return False
    except ServiceError as error:
        raise ServiceError(f"{error} (where the service should be). If that is another program, give another --service-port.") from error
    if collection is not None and Path(served) != collection.resolve():
        raise ServiceError(
            f"{client.url}: the service that answers there serves another collection ({served}, not {collection.resolve()}). "
            "Stop it, or give another --service-port."
        )
    return True


def _await(service: Process, client: Client, collection: Path | None) -> None:
    """Wait until the service that was just started answers: it may have to fetch its model first."""
    while not _serves(client, collection):
        if service.poll() is not None:
            raise typer.Exit(service.returncode)  # it has said why
        time.sleep(0.2)


@contextmanager
def _running(arguments: Sequence[str]) -> Iterator[Process]:
    """A Python process that ends with the block. In a group of its own: Ctrl-C is for us, who then stop it in order."""
    process = None
    try:
        with _signals_wait():
            process = subprocess.Popen([sys.executable, "-P", *arguments], process_group=0)
        yield process
    finally:
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _stop_on_signals() -> None:
    """Let Ctrl-C, `kill` and a closed terminal end the command by way of its `finally` clauses, and only once."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the stopping
        sys.exit(128 + number)

    for number in _SIGNALS:
        signal.signal(number, stop)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Within it a signal is only noted, and comes at the end: in the middle of starting a process it would leave that behind."""
    noted = list[int]()
    before = {number: signal.signal(number, lambda number, _: noted.append(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in noted[:1]:
            signal.raise_signal(number)


def add_commands(app: typer.Typer) -> None:
    app.command()(ui)
