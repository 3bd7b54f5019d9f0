"""Files on web servers: `https://host/path`, a single file or a page with links, such as the listing of a folder.

httpx is used instead of fsspec's file system, which cannot tell a file that is gone from a server that is busy.
"""

import netrc
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from html.parser import HTMLParser
from typing import BinaryIO
from urllib.parse import urljoin

import httpx

from media.formats import format_of
from media.sources.addresses import parse_address
from media.sources.remote.faults import CONNECT_SECONDS, OF_THIS_MACHINE, READ_SECONDS, ChangedError, UnreachableError, attempt, cut_short
from media.sources.remote.store import Entry, NoRangesError

_AT_ONCE = 8
_MOST_UNREACHABLE = 16  # files of one page, before the server is given up
_LONGEST_PAGE = 1 << 26  # bytes


class WebServers:
    """Files by their links. Passwords are read from `~/.netrc`, proxies from the environment."""

    def entries(self, folder: str, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """The links of the page that lead below it."""
        links = attempt(folder, lambda: self._links(folder)) or set()
        yield from (Entry(link.removesuffix("/"), is_folder=True) for link in sorted(links) if link.endswith("/"))
        files = sorted(link for link in links if not link.endswith("/") and wanted(link.rpartition("/")[2]))
        yield from self._heads(files)

    def is_folder(self, uri: str) -> bool:
        """Whether there is a page with links. A name of a picture or film is a file: some servers answer anything with a page."""
        return format_of(uri) is None and self._links(uri) is not None

    def head(self, uri: str) -> Entry:
        reply = self._client.head(uri)
        if reply.status_code in {405, 501} or (reply.is_success and "Content-Length" not in reply.headers):
            with self._client.stream("GET", uri, headers={"Range": "bytes=0-0"}) as reply:
                return _entry(uri, reply)
        return _entry(uri, reply)

    def copy(self, uri: str, file: BinaryIO) -> None:
        with self._client.stream("GET", uri) as reply:
            for part in reply.raise_for_status().iter_bytes():
                file.write(part)

    def start(self, uri: str, length: int) -> tuple[Entry, bytes]:
        with self._client.stream("GET", uri, headers={"Range": f"bytes=0-{length - 1}"}) as reply:
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self.head(uri), b""  # an empty file has no first byte
            entry = _entry(uri, reply)
            if reply.status_code != httpx.codes.PARTIAL_CONTENT:
                raise NoRangesError
            return entry, reply.read()

    def get_range(self, entry: Entry, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if entry.etag.startswith('"'):  # not a weak one
            headers["If-Match"] = entry.etag
        with self._client.stream("GET", entry.uri, headers=headers) as reply:
            if not _is_version(entry, _entry(entry.uri, reply)):
                raise ChangedError(entry.uri)
            if reply.status_code != httpx.codes.PARTIAL_CONTENT:
                raise NoRangesError
            data = reply.read()
        if len(data) != stop - start:
            raise cut_short(len(data), stop - start)
        return data

    def _heads(self, uris: Sequence[str]) -> Iterator[Entry]:
        """What is known of some files, without dead links. A file with a fault hides no others, but a server that fails is left alone."""
        unreachable = 0
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            for uri, head in [(uri, pool.submit(attempt, uri, partial(self.head, uri))) for uri in uris]:
                try:
                    yield head.result()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    unreachable += isinstance(error, UnreachableError)
                    if unreachable == _MOST_UNREACHABLE or error.errno in OF_THIS_MACHINE:
                        raise
                    yield Entry(uri, fault=error.strerror or str(error))
        finally:
            pool.shutdown(cancel_futures=True)

    def _links(self, folder: str) -> set[str] | None:
        """The addresses below a folder that its page links to; None if there is no page."""
        with self._client.stream("GET", folder + "/") as reply:
            if reply.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
                return None
            if not reply.raise_for_status().headers.get("Content-Type", "").startswith(("text/html", "application/xhtml")):
                return None
            page, num_characters = _Links(), 0
            for text in reply.iter_text():
                num_characters += len(text)
                if num_characters > _LONGEST_PAGE:
                    raise OSError(None, f"The page has more than {_LONGEST_PAGE} characters", folder)
                page.feed(text)
            base = str(reply.url)
        below = (urljoin(base, href) for href in page.hrefs)
        paths = {link.removeprefix(base) for link in below if link.startswith(base) and not {"?", "#"} & set(link)}
        slash = {True: "/", False: ""}
        return {parse_address(f"{folder}/{path}") + slash[path.endswith("/")] for path in paths if path.strip("/")}

    @cached_property
    def _client(self) -> httpx.Client:
        auth = None
        with suppress(OSError, netrc.NetrcParseError):
            auth = httpx.NetRCAuth()
        client = httpx.Client(
            auth=auth,
            follow_redirects=True,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=64),
            headers={"Accept-Encoding": "identity", "User-Agent": "coca-search"},
        )
        weakref.finalize(self, client.close)
        return client


class _Links(HTMLParser):
    """Collects the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hrefs += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _entry(uri: str, reply: httpx.Response) -> Entry:
    headers = reply.raise_for_status().headers
    total = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    if not total.isdigit():
        raise OSError(None, "The server does not tell the size of the file, so it cannot be indexed", uri)
    mtime = 0.0
    with suppress(KeyError, ValueError):
        mtime = parsedate_to_datetime(headers["Last-Modified"]).timestamp()
    return Entry(uri, False, int(total), mtime, headers.get("ETag", ""))


def _is_version(entry: Entry, now: Entry) -> bool:
    """Whether an answer is of the version of `entry`. Not every answer tells time and ETag."""
    if entry.etag and now.etag:
        return entry.etag == now.etag
    return entry.size_bytes == now.size_bytes and (not now.mtime or entry.mtime == now.mtime)
