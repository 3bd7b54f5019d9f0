"""Changes of files cause a run: one for many changes together."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from coca_search.cli import app
from indexer import SourceError, index
from indexer.watch import watch
from search import open_collection
from search.errors import LockedError
from tests.fakes import FakeEncoder, write_picture


class Watched:
    """A folder that is watched on a thread, until the block ends."""

    def __init__(self, folder, collection, run=None):
        self.folder, self.collection, self.num_runs = folder, collection, 0
        self.waits, self._run, self._stop, self.error = [], run or self.index, threading.Event(), None
        self._thread = threading.Thread(target=self._watch)

    def index(self):
        index(self.folder, collection=self.collection, encoder=FakeEncoder())
        return False

    def _watch(self):
        def counted():
            try:
                return self._run()
            finally:
                self.num_runs += 1

        try:
            watch(
                [self.folder],
                counted,
                collection=self.collection,
                on_wait=self.waits.append,
                stop=self._stop,
                quiet_ms=300,
                tick_ms=200,
            )
        except OSError as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        self.until(lambda: self.num_runs == 2 or self.error)  # the second run: the watch has begun
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def until(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(0.02)

    def names(self):
        return sorted(row["path"] for row in self.rows())

    def rows(self):
        snapshot = open_collection(self.collection, encoder=FakeEncoder()).snapshot
        return snapshot.rows(snapshot.segment_ids)


def test_new_changed_and_removed_files_are_indexed(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red")
    with Watched(tmp_path / "library", tmp_path / "c") as watched:
        write_picture(tmp_path / "library" / "new folder" / "b.png", "blue")
        watched.until(lambda: watched.names() == ["a.png", "new folder/b.png"])
        (tmp_path / "library" / "a.png").unlink()
        watched.until(lambda: watched.names() == ["new folder/b.png"])


def test_a_copy_of_a_thousand_files_causes_few_runs(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red", size=(8, 8))
    with Watched(tmp_path / "library", tmp_path / "c") as watched:
        for number in range(1000):
            shutil.copy(tmp_path / "library" / "a.png", tmp_path / "library" / f"{number}.png")
        watched.until(lambda: len(watched.names()) == 1001)
        assert watched.num_runs <= 5


def test_changes_of_the_collection_itself_cause_no_run(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red")
    with Watched(tmp_path / "library", tmp_path / "library" / "collection") as watched:
        write_picture(tmp_path / "library" / "b.png", "blue")
        watched.until(lambda: watched.num_runs == 3)
        time.sleep(1.5)
        assert watched.num_runs == 3


@pytest.mark.parametrize("is_missing_first", [False, True])
def test_a_folder_that_comes_back_is_watched_again(tmp_path, is_missing_first):
    library = write_picture(tmp_path / "library" / "a.png", "red").parent
    index(library, collection=tmp_path / "c", encoder=FakeEncoder())
    if is_missing_first:
        library.rename(tmp_path / "away")
    with Watched(library, tmp_path / "c") as watched:
        if not is_missing_first:
            library.rename(tmp_path / "away")
            watched.until(lambda: watched.num_runs > 2)
        (tmp_path / "away").rename(library)
        for name in ("b.png", "c.png"):
            write_picture(library / name, "blue")
            watched.until(lambda: name in watched.names())  # noqa: B023 - called at once


@pytest.mark.parametrize("what", ["a.png", "*.png"])
def test_files_and_patterns_are_watched(tmp_path, what):
    write_picture(tmp_path / "library" / "a.png", "red")
    with Watched(tmp_path / "library" / what, tmp_path / "c") as watched:
        for side in (40, 50):  # replaced twice, as editors do
            write_picture(tmp_path / "new.png", "blue", size=(side, side)).rename(tmp_path / "library" / "a.png")
            watched.until(lambda: watched.rows()[0]["width"] == side)  # noqa: B023 - called at once


def test_what_a_run_leaves_is_taken_up_without_a_change(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red")
    left = [False, True, True, False]
    with Watched(tmp_path / "library", tmp_path / "c", run=lambda: left.pop(0)) as watched:
        watched.until(lambda: not left)
        time.sleep(1)
        assert watched.num_runs == 4


def test_a_locked_collection_is_tried_again(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red")
    answers = [LockedError("c: process 7 is writing to it."), False]

    def run():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Watched(tmp_path / "library", tmp_path / "c", run=run) as watched:
        watched.until(lambda: not answers)
        assert watched.waits == ["c: process 7 is writing to it."]


def test_a_folder_that_is_empty_for_a_while_does_not_end_the_watch(tmp_path):
    write_picture(tmp_path / "library" / "a.png", "red")
    answers = [False, SourceError("no pictures or videos found"), False]

    def run():
        answer = answers.pop(0) if answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Watched(tmp_path / "library", tmp_path / "c", run=run) as watched:
        watched.until(lambda: watched.waits == ["no pictures or videos found"])
        write_picture(tmp_path / "library" / "b.png", "red")
        watched.until(lambda: not answers)


def test_another_error_ends_the_watch(tmp_path):
    def run():
        raise OSError("No space left on device")

    (tmp_path / "library").mkdir()
    with Watched(tmp_path / "library", tmp_path / "c", run=run) as watched:
        watched.until(lambda: watched.error is not None)
    assert "No space left" in str(watched.error)


@pytest.mark.parametrize("missing", [True, False])
def test_a_folder_that_is_not_there_does_not_end_the_watch(tmp_path, missing):
    write_picture(tmp_path / "library" / "a.png", "red")
    runs = []
    stop = threading.Event()

    def run():
        runs.append(1)
        stop.set()
        return False

    paths = [tmp_path / "library", *([tmp_path / "missing"] if missing else [])]
    watch(paths, run, collection=tmp_path / "c", stop=stop, quiet_ms=100, tick_ms=100)
    assert runs == [1]


@pytest.mark.timeout(120)
def test_the_command_indexes_again_until_ctrl_c(tmp_path, tiny_checkpoint):
    write_picture(tmp_path / "library" / "a.png", "red")
    command = [
        sys.executable,
        "-m",
        "coca_search",
        "index",
        tmp_path / "library",
        "--watch",
        "-c",
        tmp_path / "c",
        "--model",
        tiny_checkpoint,
    ]
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert re.match(r"\d\d:\d\d:\d\d 1 new", process.stdout.readline())
        write_picture(tmp_path / "library" / "b.png", "blue")
        while " 1 new" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()


def test_the_command_refuses_what_it_cannot_watch(tmp_path):
    for arguments in (["s3://bucket", "--watch"], [str(tmp_path), "--watch", "--dry-run"]):
        result = CliRunner().invoke(app, ["index", *arguments])
        assert result.exit_code == 2
        assert "--watch takes folders" in result.output
