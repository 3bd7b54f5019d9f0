"""Making a collection anew is killed with SIGKILL at random moments: the next run goes on, and every moment leaves a whole collection."""

import random
import signal
import subprocess
import sys
import time

import pytest

from indexer import index
from search import open_collection, search
from search.collection import read_identity
from search.collection.generations.folders import newest_generation
from search.collection.verify import verify
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture

NUM_FILES = 42
RUN = """
import sys, time
import numpy as np
import search.collection.writer
from indexer import IndexOptions, index
from tests.fakes import FakeEncoder

class Slow(FakeEncoder):
    def encode_pixels(self, pixels):
        time.sleep(0.02)
        print("embedded", len(pixels), flush=True)
        return super().encode_pixels(pixels)

search.collection.writer._ROWS_PER_COMMIT = 4
search.collection.writer._LEAST_SECONDS_BETWEEN_SNAPSHOTS = 0.1
print("started", flush=True)
index([], collection=sys.argv[1], encoder=Slow(model_id="fake@2"), new_model=True,
      options=IndexOptions(batch=3, workers=1, settle_seconds=0))
print("made", flush=True)
"""


@pytest.fixture
def old(tmp_path):
    for number in range(NUM_FILES - 2):
        write_picture(tmp_path / "library" / f"{number:03}.png", ["red", "green", "blue"][number % 3], size=(40 + number, 40))
    for number in range(2):
        write_film(tmp_path / "library" / f"film{number}.mp4", [("red", 2.0), ("green", 2.0)])
    for name, encoder in (("c", FakeEncoder()), ("undisturbed", FakeEncoder(model_id="fake@2"))):
        index(tmp_path / "library", collection=tmp_path / name, encoder=encoder)
    return tmp_path / "c"


def run(collection, kill_after=None):
    """Returns the lines that the process wrote. Killed some seconds after its imports."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(collection)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    lines = process.communicate(timeout=120)[0].splitlines()
    assert kill_after is not None or process.returncode == 0
    return lines


def test_killed_runs_go_on_and_do_not_begin_again(tmp_path, old):
    choose, lines, num_killed = random.Random(1), [], 0
    for _ in range(8):
        lines += run(old, choose.uniform(0.2, 0.6))
        num_killed += "made" not in lines
        opened = open_collection(old, encoder=FakeEncoder(read_identity(newest_generation(old)).model_id))
        assert len(search("red", collection=opened, k=100)) == NUM_FILES
    lines += run(old)
    assert num_killed, "no run was killed: the test proves little"
    num_embedded = sum(int(line.split()[1]) for line in lines if line.startswith("embedded"))
    num_frames = sum(int(line.split()[1]) for line in run_fresh(tmp_path) if line.startswith("embedded"))
    assert num_embedded < 2 * num_frames + 8 * num_killed
    assert verify(old).problems == []
    undisturbed = open_collection(tmp_path / "undisturbed", encoder=FakeEncoder("fake@2"))
    assert rows_of(open_collection(old, encoder=FakeEncoder("fake@2"))) == rows_of(undisturbed)


def run_fresh(folder):
    """The same for a collection that is not disturbed."""
    index(folder / "library", collection=folder / "again", encoder=FakeEncoder())
    return run(folder / "again")
