"""The class behind `gs://` and `az://`, with fsspec's file system in memory. No emulator of these providers ran."""

import builtins
import uuid

import fsspec
import pytest

from media.formats import format_of
from media.sources.remote.buckets import Buckets
from media.sources.remote.faults import ChangedError
from media.sources.remote.files import RemoteFiles
from media.sources.remote.s3 import S3
from media.sources.source import Visit


@pytest.fixture
def folder():
    name = f"/{uuid.uuid4().hex}"
    files = fsspec.filesystem("memory")
    for path, data in {"a.jpg": b"12345", "a.xmp": b"<x/>", "sub/b.png": b"1", "notes.txt": b"1", ".hidden/c.jpg": b"1"}.items():
        files.pipe(f"{name}/{path}", data)
    yield f"memory:/{name}"
    files.rm(name, recursive=True)


def walk(folder):
    source = RemoteFiles(Buckets("memory"))
    return source, list(source.walk(folder, Visit(lambda uri: format_of(uri) is not None)))


def test_a_bucket_of_another_provider_is_walked_and_read(folder):
    source, found = walk(folder)
    assert [file.uri for file in found] == [f"{folder}/a.jpg", f"{folder}/sub/b.png"]
    assert (found[0].size_bytes, found[0].sidecars) == (5, (f"{folder}/a.xmp",))
    assert source.read(found[0].uri) == b"12345"
    assert source.is_folder(folder)
    assert not source.is_folder(found[0].uri)
    with source.open(found[0].uri) as file:
        file.seek(2)
        assert file.read() == b"345"
    with pytest.raises(FileNotFoundError):
        source.stat(f"{folder}/none.jpg")


def test_a_version_is_told_by_time_and_size_where_there_is_no_etag(folder):
    source, (file, _) = walk(folder)
    assert source.is_unchanged(file)
    entry = Buckets("memory").head(file.uri)
    fsspec.filesystem("memory").pipe(file.uri, b"54321")
    assert not source.is_unchanged(file)
    with pytest.raises(ChangedError):
        Buckets("memory").get_range(entry, 0, 4)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"size": 1, "md5Hash": "abc==", "etag": "CKi", "updated": "2024-01-02T03:04:05.678Z"}, (1704164645.678, "abc==")),
        (
            {"size": 1, "etag": '"0x8DC"', "last_modified": __import__("datetime").datetime(2024, 1, 2, tzinfo=__import__("datetime").UTC)},
            (1704153600.0, "0x8DC"),
        ),
    ],
)
def test_version_and_time_are_read_as_gcsfs_and_adlfs_name_them(info, expected):
    from media.sources.remote.buckets import _entry

    entry = _entry("gs://b/k", info)
    assert (entry.mtime, entry.etag) == expected


@pytest.mark.parametrize(("scheme", "module"), [("gs", "gcsfs"), ("az", "adlfs"), ("s3", "s3fs")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, scheme, module):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    source = RemoteFiles(S3() if scheme == "s3" else Buckets(scheme))
    with pytest.raises(OSError, match=rf"{scheme}:// addresses need another package.*pip install 'coca-search\[{scheme}\]'"):
        source.is_folder(f"{scheme}://bucket")
