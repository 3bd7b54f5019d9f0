"""Faults while a collection is written: what was there stays whole, and the next run completes it."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading

import pytest

from indexer.run import index
from search import search
from search.collection.lance_tables import LanceTable
from search.collection.writer_lock import WriterLock
from search.errors import LockedError, StorageError
from tests.fakes import FakeEncoder, write_film, write_picture

COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture
def library(tmp_path):
    for number in range(6):
        write_picture(tmp_path / "library" / f"{number}.png", COLOURS[number], size=(40 + number, 40))
    return tmp_path / "library"


# --- files that are still being written -------------------------------------------------------------------------------


class Meanwhile(FakeEncoder):
    """Does something while a file is processed."""

    def __init__(self, action):
        super().__init__()
        self._action = action

    def preprocess(self, picture):
        self._action()
        return super().preprocess(picture)


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("action", [append, lambda path: os.utime(path, (5, 5)), lambda path: path.unlink(missing_ok=True)])
@pytest.mark.parametrize("name", ["film.mp4", "0.png"])
@pytest.mark.parametrize("known", [True, False])
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(indexed, library, name, action, known):
    if name == "film.mp4":
        write_film(library / "film.mp4", [("red", 2.0)])
    if known:
        indexed.run(library)
        append(library / name)
    before = indexed.rows().get(f"library/{name}") if known else None
    report = indexed.run(library, encoder=Meanwhile(lambda: action(library / name)))
    assert report.unfinished == (str(library / name),)
    assert (report.is_complete, report.failures) == (False, ())
    assert indexed.rows().get(f"library/{name}") == before
    there = (library / name).exists()
    assert indexed.run(library).is_complete
    assert (f"library/{name}" in indexed.paths()) == there


@pytest.mark.parametrize("name", ["half.png", "half.mp4", "whole.mp4"])
def test_a_broken_file_or_film_that_just_came_is_looked_at_again(indexed, library, monkeypatch, name):
    """A copy that pauses for a moment."""
    part = library / name
    if name.endswith(".mp4"):
        write_film(part, [("red", 2.0)])
    else:
        part.write_bytes((library / "0.png").read_bytes()[:40])
    if name == "half.mp4":
        part.write_bytes(part.read_bytes()[:500])
    monkeypatch.setattr("indexer.run.time.sleep", lambda seconds: append(part))
    report = indexed.run(library, settle_seconds=0.1)
    assert (report.unfinished, report.failures, report.num_rows) == ((str(part),), (), 6)
    monkeypatch.undo()
    assert len(indexed.run(library).failures) == (0 if name == "whole.mp4" else 1)


def test_a_broken_file_that_came_long_ago_is_not_waited_for(indexed, library, monkeypatch):
    (library / "broken.jpg").write_bytes(b"broken")
    os.utime(library / "broken.jpg", (5, 5))
    monkeypatch.setattr("indexer.run.time.sleep", lambda seconds: pytest.fail("the run waited"))
    assert len(indexed.run(library).failures) == 1


# --- files that cannot be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_read_keeps_its_rows_and_is_tried_at_every_run(indexed, library, monkeypatch, code):
    indexed.run(library)
    write_picture(library / "0.png", "white", size=(99, 99))
    read = "media.sources.local.LocalFolders.open"

    def refuse(source, uri):
        raise OSError(code, os.strerror(code), uri)

    monkeypatch.setattr(read, refuse)
    for attempts in (1, 2):
        report = indexed.run(library)
        assert [(each.stage, each.reason) for each in report.failures] == [("read", os.strerror(code))]
        assert (indexed.rows()["library/0.png"]["width"], indexed.failures()["library/0.png"]["attempts"]) == (40, attempts)
    monkeypatch.undo()
    assert indexed.run(library).num_changed == 1
    assert (indexed.rows()["library/0.png"]["width"], indexed.failures()) == (99, {})


PERMISSIONS = """
import os, sys
from pathlib import Path
from indexer import IndexOptions, index
from tests.fakes import FakeEncoder, write_picture
library, collection = map(Path, sys.argv[1:])

def run():
    report = index(library, collection=collection, encoder=FakeEncoder(), options=IndexOptions(settle_seconds=0))
    names = sorted(os.path.basename(failure.uri) for failure in report.failures)
    unreadable = {os.path.basename(uri): reason for uri, reason in report.unreadable.items()}
    print((report.num_new, report.num_changed, report.num_gone, report.num_unchanged), names, unreadable, report.is_complete)

write_picture(library / "closed" / "c.png", "red")
write_picture(library / "unlisted" / "u.png", "green")
for path, mode in ((library / "0.png", 0), (library / "closed", 0), (library / "unlisted", 0o444)):
    path.chmod(mode)
run()
for path, mode in ((library / "0.png", 0o644), (library / "closed", 0o755), (library / "unlisted", 0o755)):
    path.chmod(mode)
run()
for path, mode in ((library / "1.png", 0), (library / "closed", 0), (library / "unlisted", 0o444)):
    path.chmod(mode)
run()
for path, mode in ((library / "1.png", 0o644), (library / "closed", 0o755), (library / "unlisted", 0o755)):
    path.chmod(mode)
run()
"""


def test_closed_files_and_folders_are_named_and_keep_their_rows(tmp_path, library):
    """In a process that may not read everything, as root may."""
    command = [sys.executable, "-c", PERMISSIONS, str(library), str(tmp_path / "collection")]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may read any file here")
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    denied = "'Permission denied'"
    assert done.stdout.splitlines() == [
        f"(6, 0, 0, 0) ['0.png'] {{'closed': {denied}, 'u.png': {denied}}} False",
        "(3, 0, 0, 5) [] {} True",
        f"(0, 1, 0, 5) ['1.png'] {{'closed': {denied}, 'u.png': {denied}}} False",
        "(0, 0, 0, 8) [] {} True",
    ], done.stderr


# --- disks that are full or read-only ---------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_lance(*_, **__):
    raise RuntimeError("lance error: LanceError(IO): Generic LocalFileSystem error: No space left on device (os error 28), /x/y.rs:1:2")


def full_faiss(*_, **__):
    raise RuntimeError("Error in virtual size_t faiss::FileIOWriter::operator(): write failed")


@pytest.mark.parametrize(
    ("what", "fault", "reason"),
    [
        ("search.collection.writer_lock.atomic_write", full, "No space left on device"),
        ("search.collection.writer.write_thumbnail", full, "No space left on device"),
        ("search.collection.writer.write_identity", full, "No space left on device"),
        ("search.collection.publish.pa.OSFile", full, "No space left on device"),
        ("search.collection.publish.atomic_write", full, "No space left on device"),
        (LanceTable, full_lance, "No space left on device"),
        ("search.collection.publish.write_vectors", full, "No space left on device"),
        ("search.collection.publish.write_main_index", full_faiss, "write failed"),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_collection_stays_readable(indexed, library, tmp_path, monkeypatch, what, fault, reason):
    indexed.run(library)
    write_picture(tmp_path / "more" / "new.png", "white", size=(99, 99))
    if isinstance(what, str):
        monkeypatch.setattr(what, fault)
    else:
        monkeypatch.setattr(what, "replace", fault)
    with pytest.raises(StorageError, match=rf"collection: the collection cannot be written \(.*{reason}.*\). What was committed"):
        indexed.run(library, tmp_path / "more")
    assert len(search("red", collection=indexed.open(), k=100)) in {6, 7}
    monkeypatch.undo()
    report = indexed.run(library, tmp_path / "more")
    assert (report.num_new + report.num_unchanged, len(indexed.paths())) == (7, 7)


@pytest.mark.parametrize("limit", [3000, 9000, 15_000, 25_000])
def test_files_that_cannot_grow_end_a_run_at_any_point_of_it(indexed, tmp_path, limit):
    """A limit for the size of files acts as a full disk does, wherever the first large file is written."""
    for number in range(120):
        write_picture(tmp_path / "library" / f"{number}.png", COLOURS[number % 6], size=(40 + number, 40))
    indexed.run(tmp_path / "library" / "0.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            index(tmp_path / "library", collection=indexed.folder, encoder=FakeEncoder())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(search("red", collection=indexed.open(), k=1000)) >= 1
    assert indexed.run(tmp_path / "library").is_complete
    assert len(indexed.paths()) == 120


@pytest.mark.parametrize(
    ("code", "advice"), [(errno.EROFS, "Make sure that you may write there"), (errno.EIO, "Run the same command again")]
)
def test_a_collection_that_cannot_be_written_can_be_searched(indexed, library, monkeypatch, code, advice):
    indexed.run(library)

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("search.collection.writer_lock.FileLock.acquire", refuse)
    with pytest.raises(StorageError, match=f"{os.strerror(code)}.*{advice}"):
        indexed.run(library)
    assert len(search("red", collection=indexed.open())) == 6


# --- several runs, and runs that are stopped --------------------------------------------------------------------------


def test_a_second_run_is_told_who_is_writing_and_searches_go_on(indexed, library):
    indexed.run(library)
    with WriterLock(indexed.folder):
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on .*, since .*, is writing to it"):
            indexed.run(library)
        assert len(search("red", collection=indexed.open())) == 6
    assert indexed.run(library).num_unchanged == 6


def test_searches_during_a_run_see_whole_files(indexed, library, monkeypatch):
    monkeypatch.setattr("search.collection.writer._ROWS_PER_COMMIT", 1)
    monkeypatch.setattr("search.collection.writer._LEAST_SECONDS_BETWEEN_SNAPSHOTS", 0)
    monkeypatch.setattr("search.collection.writer._PUBLISH_SHARE", 1e9)
    indexed.run(library / "0.png")
    seen, is_over = [], threading.Event()

    def look():
        collection = indexed.open()
        while not is_over.is_set():
            collection.refresh()
            seen.append(len(search("red", collection=collection, k=100)))

    reader = threading.Thread(target=look)
    reader.start()
    index(library, collection=indexed.folder, encoder=FakeEncoder())
    is_over.set()
    reader.join()
    assert seen == sorted(seen)
    assert seen[0] >= 1
    assert seen[-1] <= 6


def test_a_run_that_is_asked_to_stop_keeps_what_is_done(indexed, library):
    asked = threading.Event()
    report = index(
        library,
        collection=indexed.folder,
        encoder=FakeEncoder(),
        on_progress=lambda progress: asked.set() if progress.num_done == 2 else None,
        should_stop=asked.is_set,
    )
    assert report.is_stopped
    assert 2 <= report.num_rows == report.num_new <= 6
    assert len(indexed.open().snapshot) == report.num_rows
    assert indexed.run(library).num_new == 6 - report.num_rows


@pytest.mark.parametrize("done_before", [0, 1, 3])
def test_a_run_that_is_interrupted_leaves_a_whole_collection(indexed, library, done_before):
    indexed.run(library / "0.png")

    def interrupt(progress):
        if progress.num_done == done_before:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(library, collection=indexed.folder, encoder=FakeEncoder(), on_progress=interrupt)
    assert len(indexed.open().snapshot) == 1
    assert indexed.run(library).is_complete
    assert len(indexed.paths()) == 6
