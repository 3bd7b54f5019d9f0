"""A server with the protocol of S3 (moto's), behind a proxy that counts bytes and makes faults on request.

The proxy also stands alone in front of any handler of `http.server`, for files on web servers.
"""

import http.client
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

import boto3

REGION = "us-east-1"
SECRET = "not/a+secret-but-must-not-be-seen"
_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date", "content-length"}


@dataclass
class Rule:
    """What the proxy does with the next `times` requests of which the method and path match."""

    method: str
    path: str
    times: int = 1
    status: int | None = None
    code: str = ""
    keep: int | None = None  # bytes of the body that are sent before the connection is cut
    seconds: float = 0.0
    before: Callable[[], object] = lambda: None


@dataclass
class Traffic:
    """The requests and the faults of a proxy. A request is noted as (method, path, value of Range)."""

    url: str = ""
    upstream: str = ""
    rules: list[Rule] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    num_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        self.rules, self.requests, self.num_bytes = [], [], 0

    def fault(self, method: str, path: str, **what: object) -> None:
        """Add a rule. `path` is a regular expression for a part of the decoded path with its query, a space, and the value of Range."""
        self.rules.append(Rule(method, path, **what))

    def of(self, method: str, path: str = "") -> list[tuple[str, str, str]]:
        return [each for each in self.requests if each[0] == method and path in each[1]]

    def take(self, method: str, path: str, asked: str) -> Rule:
        with self.lock:
            for rule in self.rules:
                if rule.times > 0 and re.fullmatch(rule.method, method) and re.search(rule.path, f"{unquote(path)} {asked}"):
                    rule.times -= 1
                    return rule
        return Rule(method, path)


class _Proxy(http.server.BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _forward(self) -> None:
        traffic = self.server.traffic
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        traffic.requests.append((self.command, unquote(self.path), self.headers.get("Range", "")))
        rule = traffic.take(self.command, self.path, self.headers.get("Range", ""))
        rule.before()
        time.sleep(rule.seconds)
        if rule.status is not None:
            text = f"<Error><Code>{rule.code}</Code><Message>as asked</Message></Error>".encode()
            self._send(rule.status, [("Content-Type", "application/xml")], text, len(text))
            return
        host = traffic.upstream.removeprefix("http://")
        upstream = http.client.HTTPConnection(host, timeout=20)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            reply = upstream.getresponse()
            data = reply.read()
        finally:
            upstream.close()
        headers = [(name, value) for name, value in reply.getheaders() if name.lower() not in _HOP]
        length = int(reply.getheader("Content-Length") or len(data))
        self._send(reply.status, headers, data if rule.keep is None else data[: rule.keep], length)
        if rule.keep is not None:
            self.close_connection = True

    def _send(self, status: int, headers: list[tuple[str, str]], data: bytes, length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
            self.server.traffic.num_bytes += len(data)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], traffic: Traffic) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.traffic = traffic


@contextmanager
def serving_files(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve a handler on a free port until the block ends."""
    with _running(handler, Traffic()) as url:
        yield url


@contextmanager
def proxied(upstream: str) -> Iterator[Traffic]:
    """A proxy in front of a server."""
    traffic = Traffic(upstream=upstream)
    with _running(_Proxy, traffic) as traffic.url:
        yield traffic


@contextmanager
def _running(handler: type[http.server.BaseHTTPRequestHandler], traffic: Traffic) -> Iterator[str]:
    with _Server(handler, traffic) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_buckets() -> Iterator[Traffic]:
    """Moto's server, behind a proxy."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        with proxied("http://{}:{}".format(*server.get_host_and_port())) as traffic:
            yield traffic
    finally:
        server.stop()


@cache
def _client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name=REGION)


class Bucket:
    """A bucket of a test, to put objects into it past the proxy."""

    def __init__(self, traffic: Traffic, name: str) -> None:
        self.name, self.traffic = name, traffic
        self.client = _client(traffic.upstream)
        self.client.create_bucket(Bucket=name)

    def uri(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}".removesuffix("/")

    def put(self, key: str, data: bytes = b"") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def all_keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]
