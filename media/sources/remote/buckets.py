"""Buckets of other providers, through their fsspec file systems: `gs://` by gcsfs, `az://` by adlfs."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO

import fsspec

from media.sources.remote.faults import ChangedError, attempt, cut_short, missing_package
from media.sources.remote.store import Entry

# How the file systems name the version and the time of an object. What depends on the bytes only comes first.
_ETAGS = ("md5Hash", "etag", "ETag", "generation")
_TIMES = ("updated", "last_modified", "LastModified", "mtime", "created")


class Buckets:
    """The objects of buckets of one provider, by its scheme."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def entries(self, folder: str, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """A folder that holds itself, as `a//b` in a bucket may seem to, is left out."""
        for info in attempt(folder, lambda: self._ls(folder)):
            uri = self._uri(info)
            if info["type"] == "directory" and uri != folder:
                yield Entry(uri, is_folder=True)
            elif info["type"] == "file" and wanted(uri.rpartition("/")[2]):
                yield _entry(uri, info)

    def is_folder(self, uri: str) -> bool:
        return bool(self._files.isdir(uri))

    def head(self, uri: str) -> Entry:
        info = self._files.info(uri)
        if info["type"] != "file":
            raise FileNotFoundError(uri)
        return _entry(uri, info)

    def copy(self, uri: str, file: BinaryIO) -> None:
        file.write(self._files.cat_file(uri))

    def start(self, uri: str, length: int) -> tuple[Entry, bytes]:
        entry = self.head(uri)
        length = min(length, entry.size_bytes)
        return entry, self.get_range(entry, 0, length) if length else b""

    def get_range(self, entry: Entry, start: int, stop: int) -> bytes:
        data = bytes(self._files.cat_file(entry.uri, start=start, end=stop))
        if self.head(entry.uri) != entry:
            raise ChangedError(entry.uri)
        if len(data) != stop - start:
            raise cut_short(len(data), stop - start)
        return data

    def _ls(self, folder: str) -> list[dict[str, Any]]:
        try:
            return list(self._files.ls(folder, detail=True))
        except FileNotFoundError:
            return []

    def _uri(self, info: dict[str, Any]) -> str:
        return f"{self._scheme}://{info['name'].strip('/')}"

    @cached_property
    def _files(self) -> Any:
        try:
            return fsspec.filesystem(self._scheme, use_listings_cache=False, skip_instance_cache=True)
        except ImportError:
            raise missing_package(self._scheme) from None


def _entry(uri: str, info: dict[str, Any]) -> Entry:
    times = [info[name] for name in _TIMES if info.get(name)]
    etags = [str(info[name]).strip('"') for name in _ETAGS if info.get(name)]
    return Entry(uri, False, int(info["size"]), _seconds(times[0]) if times else 0.0, etags[0] if etags else "")


def _seconds(time: Any) -> float:
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return float(time.timestamp() if isinstance(time, datetime) else time)
