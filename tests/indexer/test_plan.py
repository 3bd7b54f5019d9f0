"""The plan of a run: the scan compared with the files in the collection."""

import pytest

from indexer.files.inputs import Selection
from indexer.plan import make_plan
from indexer.scan import Scan
from media.sources.source import SourceFile
from search.collection import Failure, Identity, KnownFile


def known_file(uri, media_id=1):
    return KnownFile(media_id=media_id, root_id="r", path=uri.removeprefix("/"), uri=uri, size_bytes=5, mtime=1.0, sha256="0" * 64)


def failure(uri):
    return Failure(uri=uri, root_id="r", path=uri.removeprefix("/"), size_bytes=5, mtime=1.0, stage="read", reason="no")


IDENTITY = Identity("0" * 32, "default", "m@1", "p", 4, roots={"r": "/"})


@pytest.mark.parametrize(
    ("uri", "is_gone"), [("/a/y.jpg", True), ("/a/b/y.jpg", True), ("/ab/y.jpg", False), ("/a/closed/y.jpg", False), ("/c.jpg", False)]
)
def test_only_files_that_the_scan_would_have_found_count_as_deleted(uri, is_gone):
    found = {"/a/here.jpg": SourceFile("/a/here.jpg", 5, 1.0)}
    scan = Scan((Selection("/a"),), found, unreadable={"/a/closed": "Permission denied"})
    plan = make_plan(scan, {uri: known_file(uri)}, {uri: failure(uri)}, IDENTITY)
    assert [file.uri for file in plan.gone] == [uri] * is_gone
    assert [each.uri for each in plan.settled_failures] == [uri] * is_gone


def test_a_collision_of_media_ids_is_resolved(monkeypatch):
    monkeypatch.setattr("hashlib.blake2b", lambda text, digest_size: type("", (), {"digest": lambda self: text[:1] * digest_size})())
    scan = Scan((Selection("/a"),), {uri: SourceFile(uri, 5, 1.0) for uri in ("/a/x.jpg", "/a/y.jpg")})
    ids = [task.media_id for task in make_plan(scan, {}, {}, IDENTITY).tasks]
    assert len(set(ids)) == 2
