"""A writer indexes while eight readers search: every answer is that of one version, and no reader goes back to an older one.

What each version holds is read from Lance after the run. The index and the snapshots have no part in it.
"""

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from search import Hits, open_collection, search
from search.collection.lance_tables import SEGMENTS, LanceTable
from search.collection.verify import verify
from tests.fakes import WIDTH, FakeEncoder

READERS = 8
WRITE = """
import random, shutil, sys
from pathlib import Path
import numpy as np
from PIL import Image
import search.collection.writer as writer
import search.vectors.files as files
import search.vectors.kinds as kinds
from indexer import IndexOptions, index
from tests.fakes import FakeEncoder, write_film

writer._ROWS_PER_COMMIT, writer._LEAST_SECONDS_BETWEEN_SNAPSHOTS, writer._PUBLISH_SHARE = 4, 0.0, 1e9  # publish after each commit
files.LEAST_FOR_CODES = kinds.LEAST_FOR_CODES = 30  # so that versions with and without codes follow each other
library, collection, choose = Path(sys.argv[1]), sys.argv[2], random.Random(1)

def write(path):
    pixels = np.frombuffer(choose.randbytes(48), np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).resize((choose.randrange(40, 100), 40), 0).save(path)

def change():
    pictures = sorted(library.rglob("*.png"))
    for number in range(choose.choice((2, 4, 9))):
        write(library / choose.choice("ab") / f"{choose.random()}.png")
    for path in choose.sample(pictures, 3):
        write(path)
    for path in choose.sample(pictures, 4):
        path.unlink()
    if (renamed := choose.choice(pictures)).exists():
        renamed.rename(renamed.with_stem(f"renamed{choose.random()}"))
    if choose.random() < 0.25:
        write_film(library / "film.mp4", [("red", 2.0), (choose.choice(["green", "blue"]), 2.0)], fps=4)

for folder in "ab":
    (library / folder).mkdir(parents=True)
    for number in range(12):
        write(library / folder / f"{number}.png")
for number in range(1 + int(sys.argv[3])):
    index(library, collection=collection, encoder=FakeEncoder(), options=IndexOptions(workers=2, settle_seconds=0))
    print("indexed", flush=True)
    change()
"""
FILTERS = {
    None: lambda row: True,
    "width >= 70": lambda row: row["width"] >= 70,
    "path LIKE 'a/%'": lambda row: row["path"].startswith("a/"),
    "kind != 'image' OR NOT width BETWEEN 50 AND 80": lambda row: row["kind"] != "image" or not 50 <= row["width"] <= 80,
}
COLUMNS = ("segment_id", "media_id", "kind", "path", "width", "sha256", "indexed_at", "start_seconds")


@dataclass(frozen=True)
class Answer:
    """The hits of a query, and the versions that the reader held before and after."""

    vector: np.ndarray
    settings: dict
    hits: Hits
    versions: range


def read(path: Path, number: int, least: int, pause_seconds: float, writer: subprocess.Popen, shared) -> list[Answer]:
    """Search until the writer has ended, and at least `least` times. Half of the readers share a collection."""
    collection = shared if number % 2 else open_collection(path, encoder=FakeEncoder())
    choose, random_numbers, answers = random.Random(number), np.random.default_rng(number), []
    while len(answers) < least or writer.poll() is None:
        collection.refresh()
        settings = {"k": choose.choice((1, 5, 100)), "where": choose.choice(list(FILTERS)), "exact": choose.random() < 0.3}
        settings |= {"kinds": choose.choice((["image"], ["image", "shot", "clip"])), "group_by_file": choose.random() < 0.5}
        words = choose.choice((None, "red", "lake"))
        vector = random_numbers.normal(size=WIDTH).astype(np.float32) if words is None else FakeEncoder().encode_texts([words])[0]
        before = collection.snapshot.version
        hits = search(vector if words is None else words, collection=collection, **settings)
        answers.append(Answer(vector / np.linalg.norm(vector), settings, hits, range(before, collection.snapshot.version + 1)))
        time.sleep(pause_seconds)  # leaves processor time to the writer
    return answers


def rows_of_version(path: Path, version: int) -> list[dict]:
    table = LanceTable(path, SEGMENTS)
    table.pin(version)
    return table.read([*COLUMNS, "vector"]).to_pylist()


def is_answer(answer: Answer, rows: list[dict]) -> bool:
    """Whether the hits are those that a search through all rows finds. Equal cosines may come in any order."""
    settings, hits = answer.settings, answer.hits
    rows = [row for row in rows if row["kind"] in settings["kinds"] and FILTERS[settings["where"]](row)]
    cosines = np.array([row["vector"] for row in rows], np.float32).reshape(-1, WIDTH) @ answer.vector
    by_id = {row["segment_id"]: (row, cosine) for row, cosine in zip(rows, cosines.tolist(), strict=True)}
    best: dict[int, float] = {}
    for segment_id, (row, cosine) in by_id.items():
        key = row["media_id"] if settings["group_by_file"] else segment_id
        best[key] = max(cosine, best.get(key, -2.0))
    expected = sorted(best.values(), reverse=True)[: settings["k"]]
    if len(hits) != len(expected) or len({hit.segment_id for hit in hits}) != len(hits):
        return False
    return all(
        hit.segment_id in by_id
        and all(getattr(hit, name) == by_id[hit.segment_id][0][name] for name in COLUMNS)
        and abs(hit.similarity - by_id[hit.segment_id][1]) < 1e-5
        and abs(hit.similarity - cosine) < 1e-5
        for hit, cosine in zip(hits, expected, strict=True)
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("searches", "runs", "pause_seconds"), [(300, 2, 0.05), pytest.param(10_000, 40, 0, marks=pytest.mark.slow)])
def test_every_answer_is_that_of_one_version(tmp_path, searches, runs, pause_seconds):
    path = tmp_path / "collection"
    command = [sys.executable, "-c", WRITE, str(tmp_path / "library"), str(path), str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer, ThreadPoolExecutor(READERS) as pool:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"indexed\n"
        shared = open_collection(path, encoder=FakeEncoder())
        least = -(-searches // READERS)
        readers = [pool.submit(read, path, number, least, pause_seconds, writer, shared) for number in range(READERS)]
        by_reader = [reader.result() for reader in readers]
    assert writer.returncode == 0
    versions = {version for answers in by_reader for answer in answers for version in answer.versions}
    rows = {version: rows_of_version(path, version) for version in sorted(versions)}
    for answers in by_reader:
        oldest = 0
        for answer in answers:
            possible = [version for version in rows if version in answer.versions and version >= oldest]
            oldest = next((version for version in possible if is_answer(answer, rows[version])), -1)
            assert oldest >= 0, answer
    assert sum(map(len, by_reader)) >= searches
    assert len(versions) > runs, "the readers saw too few versions: the test proves nothing"
    assert verify(path).problems == []
