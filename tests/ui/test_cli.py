"""`coca-search ui` as a real process: it starts or reuses the service, and stops every process that it started."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from indexer import index
from search import open_collection
from search.client import Client
from search.errors import NoServiceError
from search.service import make_app
from tests.fakes import FakeEncoder, write_picture
from tests.serving import free_port, serving
from ui import cli

_PATIENCE = 150.0  # seconds; importing torch is slow on a busy machine
LARGE = (3000, 2400)  # 20 MB as a BMP: more than the buffers of a connection hold

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def collection(tmp_path_factory, tiny_checkpoint):
    """A collection of a real model, which a service process can load."""
    folder = tmp_path_factory.mktemp("ui")
    write_picture(folder / "library" / "red.bmp", "red", size=LARGE)
    index(folder / "library", collection=folder / "collection", model=str(tiny_checkpoint))
    return folder / "collection"


@pytest.fixture(scope="module")
def fake_service(tmp_path_factory):
    """The URL and the collection of a running service with another collection."""
    folder = tmp_path_factory.mktemp("ui-fake")
    write_picture(folder / "library" / "red.png")
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url:
        yield url, folder / "collection"


def command(port, service_url, *more):
    ports = ["--port", str(port), "--service-port", str(urlsplit(service_url).port)]
    return [sys.executable, "-m", "coca_search", "ui", "--no-browser", *ports, *map(str, more)]


@contextmanager
def page_over(service_url, *more):
    """Run the command until its page answers. Yields the process and the port of the page."""
    port = free_port()
    process = subprocess.Popen(
        command(port, service_url, *more), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while not listens(port):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def refused(*arguments):
    """Run the command, which must end with exit code 2. Returns its stderr."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stderr


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def children_of(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def stopped_reading(service_url):
    """A connection that requests a large file and does not read it, like a paused video."""
    with Client(service_url) as client:
        address = urlsplit(client.search("red")[0].media_url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall(f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_starts_the_service_and_stops_every_process_it_started(collection, number):
    service_url = f"http://127.0.0.1:{free_port()}"
    with page_over(service_url, "--collection", collection) as (process, port):
        with Client(service_url) as client:
            assert client.health()["collection"] == str(collection.resolve())
        children = children_of(process.pid)
        assert len(children) == 2
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # what a terminal does on Ctrl-C
            _, stderr = process.communicate(timeout=_PATIENCE)
        else:
            with stopped_reading(service_url):
                process.send_signal(number)
                _, stderr = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    assert "Run the command again" not in stderr
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert not listens(port)
    assert not listens(urlsplit(service_url).port)


@pytest.mark.parametrize("asked", [True, False])
def test_a_running_service_is_reused_and_not_stopped(fake_service, asked):
    url, collection = fake_service
    with page_over(url, *(["--collection", collection / ".." / "collection"] if asked else [])) as (process, _):
        process.terminate()
        _, stderr = process.communicate(timeout=_PATIENCE)
    assert f"over {collection.resolve()}" in stderr
    with Client(url) as client:
        assert client.health()["image"] == 1


def test_a_service_with_another_collection_is_refused(fake_service, collection):
    url, served = fake_service
    stderr = refused(free_port(), url, "--collection", collection)
    assert f"searches another collection ({served.resolve()}, not {collection.resolve()})" in stderr
    assert "--service-port" in stderr


def test_another_server_at_the_port_of_the_service_is_reported():
    with serving(FastAPI()) as url:
        stderr = refused(free_port(), url)
    assert "404 Not Found (the port of the service)" in stderr
    assert "--service-port" in stderr


def test_a_taken_page_port_is_reported_before_the_service_starts(collection):
    service_url = f"http://127.0.0.1:{free_port()}"
    with serving(FastAPI()) as taken:
        stderr = refused(urlsplit(taken).port, service_url, "--collection", collection)
    assert f"{taken}: the page cannot use this port (Address already in use)" in stderr
    assert not listens(urlsplit(service_url).port)


@needs_proc
def test_stopping_while_the_service_starts_leaves_no_process(collection):
    arguments = command(free_port(), f"http://127.0.0.1:{free_port()}", "-c", collection)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        while not (children := children_of(process.pid)):
            time.sleep(0.02)
        process.terminate()
        _, stderr = process.communicate(timeout=_PATIENCE)
    assert (process.returncode, stderr) == (128 + signal.SIGTERM, "")
    assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.mark.parametrize("number", cli._SIGNALS)
def test_a_signal_while_a_process_starts_still_stops_that_process(monkeypatch, number):
    started, popen = [], subprocess.Popen

    def interrupted(*arguments, **options):
        started.append(popen(*arguments, **options))
        signal.raise_signal(number)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = {each: signal.getsignal(each) for each in cli._SIGNALS}
    try:
        cli._stop_on_signals()
        with pytest.raises(SystemExit, match=str(128 + number)), cli._running(["-c", "import time; time.sleep(60)"]):
            raise AssertionError
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert started[0].poll() is not None


def test_without_a_collection_the_command_reports_the_error_of_the_service(tmp_path):
    service_url = f"http://127.0.0.1:{free_port()}"
    assert "no collection here" in refused(free_port(), service_url, "--collection", tmp_path / "none")
    with Client(service_url) as client, pytest.raises(NoServiceError):
        client.health()
