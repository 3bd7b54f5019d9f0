"""Collections of earlier formats open, give the same hits, and survive a killed migration."""

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import lancedb
import pytest

from indexer import IndexOptions, index
from search import IncompatibleError, open_collection, search
from search.collection.migrations import common_roots, needs_migration
from search.collection.thumbnails import orphaned_thumbnails, thumbnail_of
from search.collection.verify import verify
from tests.fakes import FakeEncoder, write_picture

OLD = Path(__file__).resolve().parents[2] / "collections"
NAMES = sorted(path.stem for path in (OLD / "format-1").glob("*.zip"))


def unpack(name, path):
    with zipfile.ZipFile(OLD / "format-1" / f"{name}.zip") as archive:
        archive.extractall(path)
    return path, json.loads((OLD / "format-1" / f"{name}.json").read_text())


def check(path, stored):
    """Check that the collection at `path` gives the answers recorded when it was stored."""
    collection = open_collection(path, encoder=FakeEncoder())
    assert collection.counts() == stored["counts"]
    assert [failure["uri"] for failure in collection.failures().to_pylist()] == [failure["uri"] for failure in stored["failures"]]
    for answer in stored["answers"]:
        query = dict(answer["query"])
        hits = search(query.pop("text"), collection=collection, **query)
        wanted = sorted(answer["hits"] or [], key=lambda hit: (-round(hit["similarity"], 5), hit["uri"]))
        hits = sorted(hits, key=lambda hit: (-round(hit.similarity, 5), hit.uri))  # the order of ties is not promised
        for hit, expected in zip(hits, wanted, strict=answer["hits"] is not None):
            found = json.loads(json.dumps({name: getattr(hit, name) for name in expected}, default=str))
            assert found == {**expected, "similarity": pytest.approx(expected["similarity"], abs=1e-6)}
    return collection


@pytest.mark.parametrize("name", NAMES)
def test_a_collection_of_format_1_gives_the_same_hits(tmp_path, name):
    path, stored = unpack(name, tmp_path / "collection")
    collection = check(path, stored)
    assert json.loads((path / "collection.json").read_text())["format_version"] == 2
    rows = collection.snapshot.rows(collection.snapshot.segment_ids)
    assert all(thumbnail_of(path, row).is_file() for row in rows)
    assert list(orphaned_thumbnails(path, [thumbnail_of(path, row) for row in rows])) == []
    assert not (path / "faiss").exists()
    assert verify(path).problems == []


def test_an_impossible_date_of_format_1_is_empty(tmp_path):
    path, stored = unpack("impossible-dates", tmp_path / "collection")
    hits = search("red", collection=check(path, stored))
    assert {Path(hit.uri).stem: hit.taken_at and hit.taken_at.year for hit in hits} == {"zero": None, "far": None, "good": 2020}
    assert hits.to_arrow()["taken_at"].null_count == 2


def test_a_migration_killed_at_random_moments_completes_at_the_next_start(tmp_path):
    path, stored = unpack("everyday", tmp_path / "collection")
    shutil.copytree(path, tmp_path / "undisturbed")
    seconds, killed = run_migration(tmp_path / "undisturbed", None)
    assert not killed
    choose, num_killed, started = random.Random(0), 0, 0
    while num_killed < 2 or started < 3:
        assert started < 50, "too few migrations were killed: the test proves little"
        if not needs_migration(path):  # it finished before the signal, so start again
            shutil.rmtree(path)
            unpack("everyday", path)
        took, killed = run_migration(path, choose.uniform(0.0, seconds))
        seconds = seconds if killed else min(seconds, took)
        started, num_killed = started + 1, num_killed + killed
        check(shutil.copytree(path, tmp_path / f"after-{started}"), stored)
    check(path, stored)
    assert verify(path).problems == []


def run_migration(path, seconds):
    """Migrate in another process and kill it after `seconds`. Returns its run time, and whether it was killed."""
    code = "import sys; from pathlib import Path; from search.collection.migrations import *; import lancedb, faiss; print(flush=True)"
    code += "; migrate_for_reading(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        since = time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        status = process.wait(60)
        return time.monotonic() - since, status == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_old_collection_without_write_permission_is_refused_with_the_reason(tmp_path):
    path, _ = unpack("everyday", tmp_path / "collection")
    path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(IncompatibleError, match="must be migrated"):
        open_collection(path)


def test_an_unknown_old_format_is_refused(tmp_path):
    path, _ = unpack("everyday", tmp_path / "collection")
    raw = json.loads((path / "collection.json").read_text())
    (path / "collection.json").write_text(json.dumps(raw | {"format_version": 0}))
    with pytest.raises(IncompatibleError, match="format 0 is unknown"):
        open_collection(path)


@pytest.mark.parametrize(
    ("uris", "roots"),
    [
        ([], []),
        (["/home/a/p/x.jpg", "/home/a/p/q/y.jpg"], ["/home/a/p"]),
        (["/home/a/p/x.jpg", "/home/a/v/y.mp4"], ["/home/a"]),
        (["/home/a/p/x.jpg", "/media/disk/y.jpg", "/media/disk/z/z.jpg"], ["/home/a/p", "/media/disk"]),
    ],
)
def test_the_roots_of_format_1_are_the_deepest_common_folders(uris, roots):
    assert common_roots(uris) == roots


def test_columns_of_a_newer_program_are_added_when_it_writes(tmp_path):
    write_picture(tmp_path / "library" / "red.png", "red")
    settings = {"collection": tmp_path / "c", "encoder": FakeEncoder(), "options": IndexOptions(settle_seconds=0)}
    index(tmp_path / "library", **settings)
    for name in ("segments", "failures"):
        table = lancedb.connect(tmp_path / "c").open_table(name)
        table.drop_columns([each for each in ("lens", "people", "notes", "revision", "attempts") if each in table.schema.names])
    write_picture(tmp_path / "library" / "blue.png", "blue")
    assert index(tmp_path / "library", **settings).failures == ()
    collection = open_collection(tmp_path / "c", encoder=FakeEncoder())
    assert {hit.path: hit.people for hit in search("red", collection=collection)} == {"red.png": None, "blue.png": None}
    assert verify(tmp_path / "c").problems == []
