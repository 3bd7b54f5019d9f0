"""`coca-search ui`: starts the search page, and the search service if it does not run yet."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from media.sources.addresses import is_address, parse_address
from search.errors import NoServiceError, ServiceError
from search.options import CollectionOption, check_port

if TYPE_CHECKING:
    from search.client import Client

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_STOP_SECONDS = 3.0  # a paused video keeps its connection open, and the service would wait for it forever

Process = subprocess.Popen[bytes]


def ui(
    collection: CollectionOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page.")] = 8501,
    service_port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the search service, which the page uses.")] = 8460,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open the search page."""
    from search.client import Client  # imports httpx, which no other command needs

    with Client(f"http://127.0.0.1:{service_port}") as client, ExitStack() as running:
        check_port(port, "the page")
        _stop_on_signals()
        if not _serves(client, collection):
            chosen = [] if collection is None else ["--collection", collection]
            service = running.enter_context(_running(["-m", "coca_search", "serve", "--port", str(service_port), *chosen]))
            _await(service, client, collection)
        print(f"coca-search is at http://127.0.0.1:{port}, over {client.health()['collection']}", file=sys.stderr, flush=True)
        page = running.enter_context(_running(page_arguments(client.url, port, browser=browser)))
        raise typer.Exit(page.wait())


def page_arguments(service_url: str, port: int, *, browser: bool) -> list[str]:
    """The arguments of the Python process that serves the page."""
    return ["-m", "ui.server", service_url, str(port), *(["--browser"] if browser else [])]


def _serves(client: "Client", collection: str | None) -> bool:
    """Whether a service answers. Any collection is accepted if `collection` is None.

    Raises:
        ServiceError: the service has another collection, or another program answers.
    """
    try:
        served = client.health()["collection"]
    except NoServiceError:
        return False
    except ServiceError as error:
        raise ServiceError(f"{error} (the port of the service). If another program runs there, give another --service-port.") from error
    wanted = served if collection is None else parse_address(collection) if is_address(collection) else str(Path(collection).resolve())
    if served != wanted:
        raise ServiceError(
            f"{client.url}: the service there searches another collection ({served}, not {wanted}). "
            "Stop it, or give another --service-port."
        )
    return True


def _await(service: Process, client: "Client", collection: str | None) -> None:
    """Wait until the service answers. It may have to download its model first."""
    while not _serves(client, collection):
        if service.poll() is not None:
            raise typer.Exit(service.returncode)  # the service has printed the reason
        time.sleep(0.2)


@contextmanager
def _running(arguments: Sequence[str]) -> Iterator[Process]:
    """A Python process that ends with the block. A separate process group keeps Ctrl-C from it: this command stops it."""
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
    """Make Ctrl-C, `kill` and a closed terminal raise SystemExit once, so that `finally` clauses run."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        sys.exit(128 + number)

    for number in _SIGNALS:
        signal.signal(number, stop)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Delay signals until the block ends. A signal while a process starts would leave that process running."""
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
