"""The objects of a collection in a bucket: read, written only if nobody else wrote meanwhile, listed and deleted."""

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from media.atomic_write import atomic_path
from media.hashing import sha256_of_file
from media.sources.remote.faults import ChangedError, UnreachableError, attempt
from media.sources.remote.s3 import s3

_DELETED_AT_ONCE = 1000  # what the protocol allows


@dataclass(frozen=True)
class Stored:
    """An object that was read or written: its bytes, its ETag, and its age by the clock of the server."""

    data: bytes
    etag: str
    age_seconds: float = 0.0


class Objects:
    """The objects below an address, by their names. Faults that may pass are tried again. Raises OSError as `faults.attempt`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._bucket, _, folder = address.removeprefix("s3://").partition("/")
        self._prefix = folder + "/" if folder else ""

    def read(self, name: str) -> Stored | None:
        """A small object; None if there is none. Raises FileNotFoundError if there is no such bucket."""
        try:
            return attempt(self._uri(name), lambda: self._read(name))
        except FileNotFoundError:
            attempt(self.address, lambda: s3().call("list_objects_v2", Bucket=self._bucket, MaxKeys=1))
            return None

    def write(self, name: str, data: bytes, *, instead_of: str | None) -> str:
        """Write a small object in place of the version `instead_of`, or where there is none. Returns its ETag. No two writers succeed.

        Raises ChangedError if there is another version, or one at all.
        """
        condition = {"IfNoneMatch": "*"} if instead_of is None else {"IfMatch": instead_of}
        try:
            reply = attempt(self._uri(name), lambda: self._put(name, data, condition))
        except (ChangedError, FileExistsError, FileNotFoundError):
            there = self.read(name)  # an earlier attempt may have succeeded without an answer
            if there is None or there.data != data:
                raise ChangedError(errno.ESTALE, "Another program wrote it meanwhile", self._uri(name)) from None
            return there.etag
        return str(reply["ETag"])

    def upload(self, file: Path, name: str) -> None:
        """Write an object from a file, in parts if it is large."""
        attempt(self._uri(name), lambda: s3().files.put_file(str(file), self._uri(name)))

    def download(self, name: str, file: Path, sha256: str | None = None) -> None:
        """Write a file from an object, whole or not at all. Raises FileNotFoundError."""

        def download() -> None:
            with atomic_path(file, sync=False) as partial:
                s3().files.get_file(self._uri(name), str(partial))
                if sha256 is not None and (found := sha256_of_file(partial)) != sha256:
                    raise UnreachableError(errno.EIO, f"The download is damaged ({found[:12]} instead of {sha256[:12]})", self._uri(name))

        attempt(self._uri(name), download)

    def names(self, folder: str) -> Iterator[tuple[str, float]]:
        """The names below a folder, without it, and the ages of the objects in seconds."""
        prefix, more = f"{self._prefix}{folder}", dict[str, str]()
        while True:
            page = attempt(self._uri(folder), lambda: s3().call("list_objects_v2", Bucket=self._bucket, Prefix=prefix, **more))  # noqa: B023
            for each in page.get("Contents", ()):
                yield each["Key"][len(prefix) :], _age(page, each["LastModified"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects. Those that do not exist are no error."""
        keys = [{"Key": self._prefix + name} for name in names]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            part = {"Objects": keys[start : start + _DELETED_AT_ONCE], "Quiet": True}
            attempt(self.address, lambda: s3().call("delete_objects", Bucket=self._bucket, Delete=part))  # noqa: B023

    def _read(self, name: str) -> Stored:
        reply = s3().call("get_object", Bucket=self._bucket, Key=self._prefix + name)
        return Stored(s3().body(reply), reply["ETag"], _age(reply, reply["LastModified"]))

    def _put(self, name: str, data: bytes, condition: dict[str, str]) -> dict[str, Any]:
        return s3().call("put_object", Bucket=self._bucket, Key=self._prefix + name, Body=data, **condition)

    def _uri(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{name}"


def _age(reply: dict[str, Any], modified: Any) -> float:
    """Seconds since a time, by the clock of the server that sent the answer: that of this machine may be wrong."""
    now = parsedate_to_datetime(reply["ResponseMetadata"]["HTTPHeaders"]["date"])
    return float((now - modified).total_seconds())
