"""A merge or import that is killed at any moment leaves a sound collection, and the next one ends it."""

import shutil
import signal
import subprocess
import sys

import pytest

import search.collection.writer as writer_module
from indexer import index
from indexer.exchange.export import export
from indexer.exchange.merge import merge
from indexer.exchange.read_in import read_in
from search import open_collection
from search.collection.verify import verify
from search.schema import Row, columns_of
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

EVERY_COLUMN = tuple(each.name for each in columns_of(Row))
NUM_POINTS = 30  # more than there are

RUN = """
import os, signal, sys
import search.collection.writer as writer
from indexer.exchange.merge import merge
from indexer.exchange.read_in import read_in

writer._ROWS_PER_COMMIT = 2
commit, calls = writer.CollectionWriter.commit, []
def killed(self):
    commit(self)
    calls.append(self)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
writer.CollectionWriter.commit = killed
(merge if sys.argv[1] == "merge" else read_in)(sys.argv[2], collection=sys.argv[3])
"""


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    for number, colour in enumerate(("red", "green", "blue", "white", "black")):
        write_picture(folder / "library" / f"{number}.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 2.0), ("blue", 2.0)])
    (folder / "library" / "broken.jpg").write_bytes(b"x")
    index(folder / "library", collection=folder / "c", encoder=FakeEncoder())
    export(folder / "rows.parquet", collection=folder / "c")
    return folder


def rows_without_roots(path):
    return [{**row, "root_id": ""} for row in rows_of(open_collection(path, encoder=FakeEncoder()), EVERY_COLUMN)]


def check_that_whole_files_are_there(made, path):
    rows = rows_without_roots(path)
    there = {row["uri"] for row in rows}
    assert rows == [row for row in rows_without_roots(made / "c") if row["uri"] in there]
    return len(there)


@pytest.mark.parametrize(("verb", "source"), [("merge", "c"), ("import", "rows.parquet")])
def test_a_killed_process(made, tmp_path, verb, source):
    command = [sys.executable, "-c", RUN, verb, str(made / source), str(tmp_path / "c")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    shutil.copytree(tmp_path / "c", tmp_path / "copy")
    assert verify(tmp_path / "copy", repair=True).problems == []
    assert 0 < check_that_whole_files_are_there(made, tmp_path / "copy") < 6
    done = merge(made / source, collection=tmp_path / "c") if verb == "merge" else read_in(made / source, collection=tmp_path / "c")
    assert done.num_known > 0
    assert rows_without_roots(tmp_path / "c") == rows_without_roots(made / "c")
    assert verify(tmp_path / "c").problems == []


def test_a_merge_that_ends_at_any_moment(made, tmp_path, monkeypatch):
    """A moment is after each call that changes the disk. The note of the writer stays, as after SIGKILL."""
    monkeypatch.setattr(writer_module, "_ROWS_PER_COMMIT", 2)
    monkeypatch.setattr(writer_module.WriterLock, "__exit__", lambda lock, *_: lock._lock.release())
    calls = stopping_calls(monkeypatch)
    for point in range(1, NUM_POINTS):
        path = tmp_path / str(point)
        calls["left"] = point
        try:
            merge(made / "c", collection=path)
            break
        except KilledError:
            calls["left"] = 0
        if (path / "collection.json").exists():
            check_that_whole_files_are_there(made, path)
            shutil.copytree(path, tmp_path / "copy")
            assert verify(tmp_path / "copy", repair=True).problems == []
            shutil.rmtree(tmp_path / "copy")
        merge(made / "c", collection=path)
        assert rows_without_roots(path) == rows_without_roots(made / "c")
        assert verify(path).problems == []
        shutil.rmtree(path)
    assert 12 < point < NUM_POINTS - 1


def stopping_calls(monkeypatch):
    """Make one call end the program afterwards: the one after which `left` is 0."""
    calls = {"left": 0}

    def wrapped(function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            calls["left"] -= 1
            if calls["left"] == 0:
                raise KilledError
            return result

        return call

    for name in ("write_thumbnail", "write_identity", "publish"):
        monkeypatch.setattr(writer_module, name, wrapped(getattr(writer_module, name)))
    monkeypatch.setattr(writer_module.LanceTable, "replace", wrapped(writer_module.LanceTable.replace))
    return calls
