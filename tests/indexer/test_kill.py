"""A run killed with SIGKILL at random moments: the next full run gives the collection of an undisturbed run."""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from search import open_collection
from search.collection.verify import verify
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

_MOST_RUNS = 6  # for each that is killed
RUN = """
import sys, time
import search.collection.writer
from indexer import IndexOptions, index
from tests.fakes import FakeEncoder

class Slow(FakeEncoder):
    def encode_pixels(self, pixels):
        time.sleep(0.02)
        return super().encode_pixels(pixels)

search.collection.writer._ROWS_PER_COMMIT = 4
search.collection.writer._LEAST_SECONDS_BETWEEN_SNAPSHOTS = 0.1
print("started", flush=True)
index(sys.argv[1], collection=sys.argv[2], encoder=Slow(), options=IndexOptions(batch=3, workers=2, settle_seconds=0))
"""


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "library"
    for number in range(60):
        write_picture(folder / f"{number:03}.png", ["red", "green", "blue", "white"][number % 4], size=(40 + number, 40))
    for number in range(3):
        write_film(folder / f"film{number}.mp4", [("red", 3.0), ("green", 3.0)])
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def start(library, collection):
    process = subprocess.Popen([sys.executable, "-c", RUN, str(library), str(collection)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"started\n"
    return process


def run_to_its_end(library, collection):
    """Returns the seconds that the run took, without those of imports."""
    process = start(library, collection)
    since = time.monotonic()
    assert process.wait(timeout=120) == 0
    process.stdout.close()
    return time.monotonic() - since


def run_until_killed(library, collection, seconds):
    process = start(library, collection)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    was_killed = process.wait() != 0
    process.stdout.close()
    if (collection / "collection.json").exists():
        open_collection(collection, encoder=FakeEncoder())  # readable at any moment
    return was_killed


def change_something(library, choose):
    """What users do between two runs: pictures are added, edited, removed, renamed, and become broken."""
    pictures = sorted(library.glob("*.png"))
    for number in range(2):
        write_picture(library / f"new{choose.random()}.png", "yellow", size=(150 + choose.randrange(100), 30 + number))
    write_picture(choose.choice(pictures), "black", size=(20 + choose.randrange(20), 20))
    choose.choice(pictures).unlink()
    if (renamed := choose.choice(pictures)).exists():
        renamed.rename(library / f"renamed{choose.random()}.png")
    if (broken := choose.choice(pictures)).exists():
        broken.write_bytes(b"broken")


def files_of(collection):
    """Everything but the ids: a renamed file keeps the id of its first name."""
    opened = open_collection(collection, encoder=FakeEncoder())
    names = ("uri", "kind", "start_seconds", "end_seconds", "sha256")
    rows = [{**row, "segment_id": 0} for row in rows_of(opened, names)]
    return sorted(rows, key=str), sorted(opened.failures()["uri"].to_pylist())


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_rows_of_an_undisturbed_run(tmp_path, library, kills):
    seconds = run_to_its_end(library, tmp_path / "undisturbed")
    choose, num_killed = random.Random(kills), 0
    for _ in range(_MOST_RUNS * kills):
        if run_until_killed(library, tmp_path / "killed", choose.uniform(0.0, seconds * 0.8)):
            num_killed += 1
        else:  # it was at its end, so later runs would have nothing to do
            seconds *= 0.8
            shutil.rmtree(tmp_path / "killed")
        if num_killed == kills:
            break
    assert num_killed == kills, "too few runs were killed: the test proves little"
    run_to_its_end(library, tmp_path / "killed")
    undisturbed = open_collection(tmp_path / "undisturbed", encoder=FakeEncoder())
    after_kills = open_collection(tmp_path / "killed", encoder=FakeEncoder())
    assert rows_of(after_kills) == rows_of(undisturbed)
    assert after_kills.failures()["uri"].to_pylist() == undisturbed.failures()["uri"].to_pylist()
    assert verify(tmp_path / "killed").problems == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_doubled_when_files_change_between_killed_runs(tmp_path, library, kills):
    seconds = run_to_its_end(library, tmp_path / "killed")
    choose, num_killed = random.Random(kills), 0
    for number in range(1, _MOST_RUNS * kills + 1):
        change_something(library, choose)
        if run_until_killed(library, tmp_path / "killed", choose.uniform(0.0, seconds * 0.4)):
            num_killed += 1
        else:
            seconds *= 0.8
        if number % 8 == 0 or num_killed == kills:
            run_to_its_end(library, tmp_path / "killed")
            run_to_its_end(library, tmp_path / f"fresh{number}")
            assert files_of(tmp_path / "killed") == files_of(tmp_path / f"fresh{number}")
            assert verify(tmp_path / "killed").problems == []
        if num_killed == kills:
            break
    assert num_killed == kills, "too few runs were killed: the test proves little"
