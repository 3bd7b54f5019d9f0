"""`s3://` against moto's server, with faults from a proxy."""

import random

import pytest

from media.formats import format_of
from media.sources.choose import source_of
from media.sources.remote.faults import ChangedError, UnreachableError
from media.sources.source import Visit

ODD_KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "a#b?c&d=e.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "ü/ö 日本.jpg",
    "a//b.jpg",
    "/first.jpg",
    "dots/../x.jpg",
    "./y.jpg",
    "quote'\"<>.jpg",
    "Case.jpg",
    "case.jpg",
    "x.jpg?versionId=3.jpg",
    "album.jpg/inside.jpg",
    "album.jpg",
    "tab\there.jpg",
]


def is_media(name):
    return format_of(name) is not None


def walk(uri, unreadable=None):
    return list(source_of(uri).walk(uri, Visit(is_media, unreadable={} if unreadable is None else unreadable)))


def test_every_key_of_a_bucket_is_listed_and_read_under_its_own_name(bucket):
    for key in ODD_KEYS:
        bucket.put(key, key.encode())
    found = walk(bucket.uri())
    assert sorted(file.uri for file in found) == sorted(f"{bucket.uri()}/{key}" for key in ODD_KEYS)
    source = source_of(bucket.uri())
    for file in found:
        key = file.uri.removeprefix(bucket.uri() + "/")
        assert source.read(file.uri) == key.encode()
        assert source.is_unchanged(file)
        with source.open(file.uri) as opened:
            assert opened.read() == key.encode()


def test_a_walk_tells_size_time_etag_and_sidecars_and_skips_what_a_folder_skips(bucket):
    bucket.put("p/a.jpg", b"12345")
    bucket.put("p/a.jpg.xmp", b"<x/>")
    bucket.put("p/.hidden.jpg", b"1")
    bucket.put("p/.thumbnails/b.jpg", b"1")
    bucket.put("p/notes.txt", b"1")
    bucket.put("p/empty folder/")
    bucket.put("p/c/collection.json", b"{}")
    bucket.put("p/c/segments.lance/x.lance", b"1")
    bucket.put("p/c/thumbnails/x.webp", b"1")
    (file,) = walk(bucket.uri("p"))
    head = bucket.client.head_object(Bucket=bucket.name, Key="p/a.jpg")
    assert (file.uri, file.size_bytes, file.mtime) == (bucket.uri("p/a.jpg"), 5, head["LastModified"].timestamp())
    etag, _, beside = file.revision.partition("+s")
    assert (etag, len(beside)) == (head["ETag"].strip('"'), 16)
    assert file.sidecars == (bucket.uri("p/a.jpg.xmp"),)


def test_a_listing_of_many_pages_is_complete_and_survives_faults_between_the_pages(bucket, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    for number in range(25):
        bucket.put(f"many/{number:05}.jpg", b"x")
    bucket.traffic.fault("GET", "continuation-token", times=2, status=503, code="SlowDown")
    assert len(walk(bucket.uri("many"))) == 25
    assert len(bucket.traffic.of("GET", "list-type=2")) == 3 + 2


def test_a_picture_is_read_in_one_request_and_an_empty_file_is_empty(bucket):
    data = random.Random(0).randbytes(3_000_000)
    bucket.put("a.jpg", data)
    bucket.put("empty.jpg")
    source = source_of(bucket.uri())
    with source.open(bucket.uri("a.jpg")) as file:
        assert file.read() == data
    assert [each[0] for each in bucket.traffic.requests] == ["GET"]
    with source.open(bucket.uri("empty.jpg")) as file:
        assert file.read() == b""
    assert source.read(bucket.uri("empty.jpg")) == b""


def test_files_and_folders_and_nothing(bucket):
    bucket.put("a/b.jpg", b"x")
    source = source_of(bucket.uri())
    assert source.is_folder(bucket.uri())
    assert source.is_folder(bucket.uri("a"))
    assert not source.is_folder(bucket.uri("a/b.jpg"))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        source.is_folder(bucket.uri("a/b"))
    with pytest.raises(FileNotFoundError, match="no such bucket"):
        source.is_folder("s3://no-such-bucket-here")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_busy_server_is_asked_again(bucket, status):
    bucket.put("a.jpg", b"picture")
    bucket.traffic.fault("GET", "a.jpg", times=3, status=status, code="SlowDown")
    assert source_of(bucket.uri()).read(bucket.uri("a.jpg")) == b"picture"


def test_a_body_that_is_cut_short_is_read_again(bucket):
    data = random.Random(0).randbytes(300_000)
    bucket.put("a.jpg", data)
    source = source_of(bucket.uri())
    bucket.traffic.fault("GET", "a.jpg", times=2, keep=100_000)
    assert source.read(bucket.uri("a.jpg")) == data
    bucket.traffic.fault("GET", "a.jpg", times=2, keep=1000)
    with source.open(bucket.uri("a.jpg")) as file:
        assert file.read() == data


def test_a_server_that_stays_silent_is_given_up_with_a_clear_reason(bucket, monkeypatch):
    bucket.put("a.jpg", b"picture")
    monkeypatch.setattr("media.sources.remote.s3.READ_SECONDS", 0.2)
    source = new_source()
    bucket.traffic.fault("GET", "a.jpg", times=1, seconds=0.5)
    assert source.read(bucket.uri("a.jpg")) == b"picture"
    bucket.traffic.fault("GET", "a.jpg", times=99, status=503, code="SlowDown")
    with pytest.raises(UnreachableError, match=r"No complete answer in 5 attempts \(SlowDown\). Run the command again later"):
        source.read(bucket.uri("a.jpg"))


def test_a_server_that_is_not_there(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    source = new_source()
    with pytest.raises(UnreachableError, match="No complete answer in 5 attempts"):
        source.is_folder(bucket.uri())
    unreadable = {}
    assert list(source.walk(bucket.uri(), Visit(is_media, unreadable=unreadable))) == []
    assert list(unreadable) == [bucket.uri()]


def test_a_file_that_is_replaced_while_it_is_read_is_never_a_mix(bucket):
    old, new = b"old" * 200_000, b"new" * 200_000
    bucket.put("film.mp4", old)
    source = source_of(bucket.uri())
    (before,) = walk(bucket.uri())
    with source.open(bucket.uri("film.mp4")) as file:
        assert file.read(1000) == old[:1000]
        bucket.put("film.mp4", new)
        file.seek(400_000)
        with pytest.raises(ChangedError, match="replaced while it was read"):
            file.read(1000)
    assert not source.is_unchanged(before)
    with source.open(bucket.uri("film.mp4")) as file:
        assert file.read() == new


def test_a_file_that_was_removed_after_the_listing_is_not_found(bucket):
    bucket.put("a.jpg", b"x")
    (file,) = walk(bucket.uri())
    bucket.delete("a.jpg")
    for read in (source_of(file.uri).read, source_of(file.uri).open, source_of(file.uri).stat):
        with pytest.raises(FileNotFoundError, match="removed meanwhile"):
            read(file.uri)


def test_a_prefix_without_permission_is_named_and_the_others_are_read(bucket):
    for key in ("a/1.jpg", "private/2.jpg", "z/3.jpg"):
        bucket.put(key, b"x")
    bucket.traffic.fault("GET", "prefix=private/", times=99, status=403, code="AccessDenied")
    bucket.traffic.fault("(GET|HEAD)", "/a/1.jpg", times=99, status=403, code="AccessDenied")
    unreadable = {}
    assert [file.uri for file in walk(bucket.uri(), unreadable)] == [bucket.uri("a/1.jpg"), bucket.uri("z/3.jpg")]
    assert unreadable == {bucket.uri("private"): "No permission (AccessDenied). Check what the credentials allow"}
    with pytest.raises(PermissionError, match=r"No permission \(AccessDenied\). Check what the credentials allow"):
        source_of(bucket.uri()).read(bucket.uri("a/1.jpg"))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "InvalidAccessKeyId", "credentials were rejected .InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch", "credentials were rejected"),
        (400, "ExpiredToken", "credentials were rejected .ExpiredToken"),
        (403, "InvalidObjectState", "It is archived. Restore it first"),
        (400, "InvalidRequest", "It cannot be read .InvalidRequest"),
    ],
)
def test_every_refusal_has_one_clear_sentence(bucket, status, code, message):
    bucket.put("a.jpg", b"x")
    bucket.traffic.fault("GET", "a.jpg", times=9, status=status, code=code)
    with pytest.raises(OSError, match=message) as caught:
        source_of(bucket.uri()).read(bucket.uri("a.jpg"))
    assert len(bucket.traffic.of("GET", "a.jpg")) == 1
    assert caught.value.filename == bucket.uri("a.jpg")


def test_without_credentials_the_message_says_where_they_are_read(bucket, monkeypatch):
    bucket.put("a.jpg", b"x")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    source = new_source()
    with pytest.raises(PermissionError, match=r"No credentials can be used.*Set AWS_PROFILE"):
        source.read(bucket.uri("a.jpg"))


def test_a_versioned_bucket_shows_the_newest_versions_only(bucket):
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    bucket.put("a.jpg", b"one")
    bucket.put("a.jpg", b"three")
    bucket.put("gone.jpg", b"x")
    bucket.delete("gone.jpg")
    (file,) = walk(bucket.uri())
    assert (file.size_bytes, source_of(file.uri).read(file.uri)) == (5, b"three")


def new_source():
    """A source that reads the environment anew."""
    from media.sources.remote.files import RemoteFiles
    from media.sources.remote.s3 import S3

    return RemoteFiles(S3())
