"""Files on web servers, with and without ranges, ETags, and pages that list folders."""

import email.utils
import functools
import hashlib
import http.server
import random
import re

import pytest

from media.formats import format_of
from media.sources.choose import source_of
from media.sources.remote import faults
from media.sources.remote.faults import ChangedError, UnreachableError
from media.sources.source import Visit
from tests.bucket_server import proxied, serving_files

DATA = random.Random(0).randbytes(600_000)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(faults, "WAITS_SECONDS", (0.0,) * len(faults.WAITS_SECONDS))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Ranges(http.server.BaseHTTPRequestHandler):
    """A server with ranges and ETags. Folders are pages in the style of Apache."""

    files: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        data, start, stop = self.files.get(self.path), 0, None
        if self.path.endswith("/"):
            self.answer(200, "".join(self.links()).encode(), [("Content-Type", "text/html;charset=utf-8")])
            return
        if data is None:
            self.answer(404, b"")
            return
        headers = [("ETag", f'"{hashlib.md5(data).hexdigest()}"'), ("Last-Modified", email.utils.formatdate(1e9, usegmt=True))]
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}"))
        self.answer(206 if asked else 200, data[start:stop], headers)

    def links(self):
        names = {path.removeprefix(self.path) for path in self.files if path.startswith(self.path)}
        yield '<html><a href="?C=N;O=D">Name</a><a href="../">Parent</a><a href="https://elsewhere.org/x.jpg">x</a>'
        for name in sorted({re.sub(r"/.*", "/", name) for name in names}):
            yield f'<a title="{name}" href="{name}">{name}</a>'
        yield '<a href="dead.jpg">dead</a>'

    def answer(self, status, data, headers=()):
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(data)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    files = {
        "/film.mp4": DATA,
        "/p/a.jpg": DATA,
        "/p/a%20b.jpg": b"2",
        "/p/sub/c.jpg": b"3",
        "/p/c.txt": b"4",
        "/p/a.jpg.xmp": b"<x/>",
        "/p/.h/d.jpg": b"5",
    }
    with serving_files(type("Site", (Ranges,), {"files": files})) as upstream, proxied(upstream) as traffic:
        traffic.files = files
        yield traffic


def walk(url):
    visit = Visit(lambda uri: format_of(uri) is not None)
    return list(source_of(url).walk(source_of(url).resolve(url), visit)), list(visit.unreadable)


def test_the_links_of_a_page_are_walked(site):
    found, unreadable = walk(f"{site.url}/p/")
    assert [file.uri for file in found] == [f"{site.url}/p/{name}" for name in ("a%20b.jpg", "a.jpg", "sub/c.jpg")]
    assert unreadable == []
    assert found[1].revision.startswith(f'"{hashlib.md5(DATA).hexdigest()}"+s')
    assert (found[1].size_bytes, found[1].mtime, found[1].revision) == (len(DATA), 1e9, found[1].revision)
    assert found[1].sidecars == (f"{site.url}/p/a.jpg.xmp",)
    assert [source_of(file.uri).read(file.uri) for file in found] == [b"2", DATA, b"3"]


def test_files_folders_and_nothing(site):
    source = source_of(site.url)
    assert source.is_folder(f"{site.url}/p")
    assert source.is_folder(site.url)
    assert not source.is_folder(f"{site.url}/p/a.jpg")
    with pytest.raises(FileNotFoundError):
        source.is_folder(f"{site.url}/p/nothing.jpg")


def test_a_file_is_read_by_ranges_of_one_version(site):
    url = f"{site.url}/film.mp4"
    source = source_of(url)
    before = source.stat(url)
    with source.open(url) as file:
        file.seek(-100, 2)
        assert file.read() == DATA[-100:]
        assert site.num_bytes < len(DATA) / 2
        site.files["/film.mp4"] = DATA[::-1]
        file.seek(300_000)
        with pytest.raises(ChangedError, match="replaced while it was read"):
            file.read(10)
    assert not source.is_unchanged(before)


def test_a_busy_server_is_not_a_missing_file(site):
    url = f"{site.url}/p/a.jpg"
    site.fault("GET", "a.jpg", times=2, status=503)
    site.fault("GET", "a.jpg", times=2, keep=1000)
    assert source_of(url).read(url) == DATA
    site.fault("(GET|HEAD)", "a.jpg", times=99, status=503)
    for use in (source_of(url).read, source_of(url).stat, source_of(url).is_folder):
        with pytest.raises(UnreachableError, match=r"No complete answer in 5 attempts \(status 503\)"):
            use(url)


@pytest.mark.parametrize(("status", "message"), [(403, "No permission"), (401, "credentials were rejected.*netrc")])
def test_a_page_without_permission_is_named(site, status, message):
    site.fault("GET", "/p/sub/ $", times=99, status=status)
    found, unreadable = walk(f"{site.url}/p")
    assert (len(found), unreadable) == (2, [f"{site.url}/p/sub"])
    site.fault("(HEAD|GET)", "a.jpg", times=99, status=status)
    with pytest.raises(PermissionError, match=message):
        source_of(site.url).stat(f"{site.url}/p/a.jpg")


@pytest.mark.parametrize("status", [403, 500, 418])
def test_a_file_with_a_fault_is_named_and_hides_no_others(site, status):
    site.fault("HEAD", "/p/a.jpg $", times=99, status=status)
    found, unreadable = walk(f"{site.url}/p")
    assert [file.uri for file in found] == [f"{site.url}/p/a%20b.jpg", f"{site.url}/p/sub/c.jpg"]
    assert unreadable == [f"{site.url}/p/a.jpg"]


def test_a_server_that_fails_for_many_files_is_left_alone(site):
    site.files |= {f"/q/{number:03}.jpg": b"x" for number in range(200)}
    site.fault("HEAD", "/q/", times=9999, status=503)
    found, unreadable = walk(f"{site.url}/q")
    assert (found, unreadable) == ([], [f"{site.url}/q"])
    assert len(site.requests) < 900


def test_a_server_without_ranges_sends_the_whole_file_once(tmp_path):
    """Python's own server knows no ranges and no ETags."""
    (tmp_path / "a.jpg").write_bytes(DATA)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with serving_files(functools.partial(Quiet, directory=str(tmp_path))) as upstream, proxied(upstream) as traffic:
        (found,), _ = walk(traffic.url)
        assert (found.uri, found.size_bytes, found.mtime) == (f"{traffic.url}/a.jpg", len(DATA), int((tmp_path / "a.jpg").stat().st_mtime))
        with source_of(traffic.url).open(found.uri) as file:
            file.seek(500_000)
            assert file.read(10) == DATA[500_000:500_010]
            file.seek(0)
            assert file.read() == DATA
        assert source_of(traffic.url).is_unchanged(found)
        (tmp_path / "a.jpg").write_bytes(DATA[1:])
        assert not source_of(traffic.url).is_unchanged(found)


def test_head_may_be_forbidden_and_the_size_untold(site):
    site.fault("HEAD", "a.jpg", times=1, status=405)
    assert source_of(site.url).stat(f"{site.url}/p/a.jpg").size_bytes == len(DATA)
