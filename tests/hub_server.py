"""A fake Hugging Face hub on localhost. It speaks the protocol of `hf_hub_download` and records the requests."""

import hashlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http

COMMIT = "c0ca" * 10


@dataclass
class FakeHub:
    """The files of the hub, its planned failures, and the requests it received.

    Attributes:
        repositories: "owner/name" -> file name -> bytes.
        breaks: file name -> number of downloads that stop half way.
        status: HTTP status of every answer; None answers normally.
        downloads: files requested with GET; a resumed download adds its first byte, as in "name from 100".
    """

    repositories: Mapping[str, Mapping[str, bytes]]
    url: str = ""
    breaks: dict[str, int] = field(default_factory=dict)
    status: int | None = None
    requests: int = 0
    downloads: list[str] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "_Server"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool = False) -> None:
        hub = self.server.hub
        owner, _, path = self.path[1:].partition("/")
        name, _, file = path.partition("/resolve/main/")
        if not file:
            self._refuse(404, "")
            return
        hub.requests += 1
        files = hub.repositories.get(f"{owner}/{name}")
        if hub.status is not None:
            self._refuse(hub.status, "")
        elif files is None:
            self._refuse(401, "RepoNotFound")  # an anonymous client does not learn whether it exists
        elif file not in files:
            self._refuse(404, "EntryNotFound")
        else:
            self._give(file, files[file], body=body)

    def _give(self, file: str, content: bytes, *, body: bool) -> None:
        hub, start = self.server.hub, int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            hub.downloads.append(f"{file} from {start}" if start else file)
            left = hub.breaks.get(file, 0)
            hub.breaks[file] = left - 1
            self.wfile.write(content[start : (start + len(content)) // 2 if left > 0 else len(content)])

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


@contextmanager
def serving_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[FakeHub]:
    """Serve a hub on a free port until the block ends."""
    hub = FakeHub(repositories)
    with _Server(hub) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, cache: object) -> None:
    """Point huggingface_hub at `url` and `cache`, without waits between retries.

    It read its environment variables on import, so its constants are patched.
    """
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for module in (file_download, _http):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    _http.close_session()
