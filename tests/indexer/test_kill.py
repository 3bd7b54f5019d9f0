"""A run killed with SIGKILL at random moments: the next full run gives the collection of an undisturbed run."""

import random
import signal
import subprocess
import sys
import time

import pytest

from search import open_collection
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

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
index(sys.argv[1], collection=sys.argv[2], encoder=Slow(), options=IndexOptions(batch=3, workers=2))
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
    process = start(library, collection)
    assert process.wait(timeout=120) == 0
    process.stdout.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_with_the_rows_of_an_undisturbed_run(tmp_path, library, kills):
    since = time.monotonic()
    run_to_its_end(library, tmp_path / "undisturbed")
    seconds = time.monotonic() - since
    choose = random.Random(kills)
    survived = 0
    for _ in range(kills):
        process = start(library, tmp_path / "killed")
        time.sleep(choose.uniform(0.0, seconds * 0.8))
        process.send_signal(signal.SIGKILL)
        survived += process.wait() == 0
        process.stdout.close()
        if (tmp_path / "killed" / "collection.json").exists():
            open_collection(tmp_path / "killed", encoder=FakeEncoder())  # readable at any moment
    run_to_its_end(library, tmp_path / "killed")
    undisturbed = open_collection(tmp_path / "undisturbed", encoder=FakeEncoder())
    killed = open_collection(tmp_path / "killed", encoder=FakeEncoder())
    assert rows_of(killed) == rows_of(undisturbed)
    assert sorted(killed.snapshot.index.ids()) == [row["segment_id"] for row in rows_of(undisturbed)]
    assert killed.failures()["uri"].to_pylist() == undisturbed.failures()["uri"].to_pylist()
    assert survived < kills, "no run was killed: the test proves nothing"
