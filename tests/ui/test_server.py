"""The server of the page answers only local hosts and origins, on every route and on the WebSocket."""

import socket
import subprocess
import sys
import time

import pytest

from tests.serving import free_port
from ui.cli import page_arguments

ROUTES = ("/", "/_stcore/health", "/_stcore/host-config", "/media/0.png", "/component/a/b.js", "/favicon.png", "/_stcore/upload_file/a/b")
HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"


@pytest.fixture(scope="module")
def port():
    """The port of the page's server, started as `coca-search ui` starts it but without a service."""
    port = free_port()
    with subprocess.Popen([sys.executable, *page_arguments("http://127.0.0.1:1", port, browser=False)]) as process:
        try:
            deadline = time.monotonic() + 120
            while status(port, "/_stcore/health", host="localhost") != 200:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def status(port, target, *, host, headers="", method="GET"):
    """The status of a raw request, or None if nothing listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
            return int(connection.recv(12).split()[1])
    except ConnectionRefusedError:
        return None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8501", "[::1]:1234", "LocalHost:80"])
def test_local_hosts_are_answered(port, host):
    assert status(port, "/", host=host) == 200
    assert status(port, "/_stcore/stream", host=host, headers=HANDSHAKE) == 101
    origin = f"Origin: http://{host}\r\n"
    assert status(port, "/", host=host, headers=origin) == 200
    assert status(port, "/_stcore/stream", host=host, headers=HANDSHAKE + origin) == 101


@pytest.mark.parametrize("host", ["evil.example:8501", "127.0.0.1.evil.example", "localhost@evil.example", "localhost:8501:1", "[::2]", ""])
def test_a_foreign_host_is_refused_even_with_its_own_origin(port, host):
    assert {status(port, route, host=host) for route in ROUTES} == {400}
    for origin in ("", f"Origin: http://{host}\r\n", "Origin: http://localhost\r\n"):
        assert status(port, "/_stcore/stream", host=host, headers=HANDSHAKE + origin) == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost.evil.example", "http://localhost@evil.example", "null", "file://", "http://", ""]
)
def test_a_foreign_origin_is_refused(port, origin):
    headers = f"Origin: {origin}\r\n"
    assert {status(port, route, host="localhost:8501", headers=headers) for route in ROUTES} == {403}
    assert status(port, "/_stcore/upload_file/a/b", host="localhost", headers=headers, method="PUT") == 403
    assert status(port, "/_stcore/stream", host="localhost:8501", headers=HANDSHAKE + headers) == 403


def test_a_foreign_header_is_refused_next_to_a_local_one(port):
    assert status(port, "/", host="localhost", headers="Host: evil.example\r\n") == 400
    assert status(port, "/", host="localhost", headers="Origin: http://localhost\r\nOrigin: http://evil.example\r\n") == 403
