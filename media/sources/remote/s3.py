"""S3 and what speaks its protocol, through s3fs, which finds credentials, regions and endpoints as Amazon's tools do.

The calls are those of the protocol, not the file system that s3fs makes of it: keys such as `a//b` and `a/` stay as they are, a listing
comes in pages, and a range can ask for one version.
"""

from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import Any, BinaryIO

from fsspec.asyn import sync

from media.sources.remote.faults import CONNECT_SECONDS, READ_SECONDS, attempt, cut_short, is_no_range, missing_package
from media.sources.remote.store import Entry


class S3:
    """The objects of buckets, `s3://bucket/key`. Folders are what ends with a slash in keys."""

    def entries(self, folder: str, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        """One page of the listing after the other."""
        bucket, prefix = _split(folder + "/")
        more: dict[str, str] = {}
        while True:
            page = attempt(folder, lambda: self.call("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more))  # noqa: B023
            for each in page.get("CommonPrefixes", ()):
                yield Entry(f"s3://{bucket}/{each['Prefix'][:-1]}", is_folder=True)
            for each in page.get("Contents", ()):
                name = each["Key"][len(prefix) :]
                if name and wanted(name):  # an object named like the folder itself marks an empty folder
                    yield _entry(f"s3://{bucket}/{each['Key']}", each, each["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def is_folder(self, uri: str) -> bool:
        bucket, prefix = _split(uri + "/")
        page = self.call("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
        return bool(page.get("KeyCount")) or not prefix

    def head(self, uri: str) -> Entry:
        bucket, key = _split(uri)
        reply = self.call("head_object", Bucket=bucket, Key=key)
        return _entry(uri, reply, reply["ContentLength"])

    def copy(self, uri: str, file: BinaryIO) -> None:
        bucket, key = _split(uri)
        file.write(self.body(self.call("get_object", Bucket=bucket, Key=key)))

    def start(self, uri: str, length: int) -> tuple[Entry, bytes]:
        bucket, key = _split(uri)
        try:
            reply = self.call("get_object", Bucket=bucket, Key=key, Range=f"bytes=0-{length - 1}")
        except OSError as error:
            if not is_no_range(error):
                raise
            return self.head(uri), b""  # an empty object has no first byte
        return _entry(uri, reply, int(reply["ContentRange"].rpartition("/")[2])), self.body(reply)

    def get_range(self, entry: Entry, start: int, stop: int) -> bytes:
        bucket, key = _split(entry.uri)
        pinned = {"IfMatch": f'"{entry.etag}"'} if entry.etag else {}
        return self.body(self.call("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **pinned))

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """An operation of the protocol by its name in botocore, tried once."""
        return self.files.call_s3(name, **arguments)

    def body(self, reply: dict[str, Any]) -> bytes:
        """The bytes of an answer."""
        data: bytes = sync(self.files.loop, _read, reply["Body"])
        if len(data) != reply["ContentLength"]:
            raise cut_short(len(data), reply["ContentLength"])
        return data

    @cached_property
    def files(self) -> Any:
        """The file system of s3fs, with its connections."""
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise missing_package("s3") from None
        # `attempt` tries again; three layers that each do would multiply.
        config = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"total_max_attempts": 1}}
        files = S3FileSystem(config_kwargs={**config, "max_pool_connections": 64}, use_listings_cache=False, skip_instance_cache=True)
        files.retries = 1
        return files


@cache
def s3() -> S3:
    """The one of this process, because making its client takes half a second."""
    return S3()


async def _read(body: Any) -> bytes:
    async with body:
        data: bytes = await body.read()
    return data


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _entry(uri: str, reply: dict[str, Any], size_bytes: int) -> Entry:
    return Entry(uri, False, size_bytes, reply["LastModified"].timestamp(), reply.get("ETag", "").strip('"'))
