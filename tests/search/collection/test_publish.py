"""Snapshots that share the index of an earlier one, because few rows changed since."""

import json
import os
import random
from datetime import UTC, datetime

import numpy as np
import pytest

from search import open_collection
from search.collection import CollectionWriter, FileRows, Segment
from search.collection.verify import verify
from search.schema import KINDS, FileColumns
from search.vectors.files import CHANGES, VECTORS
from tests.fakes import WIDTH, FakeEncoder

NUM_FILES = 60


class Writing:
    """Writes made-up files, and remembers the vectors that the collection must have."""

    def __init__(self, path):
        self.path, self.vectors = path, {}
        self.random = np.random.default_rng(0)

    def put(self, numbers, num_segments=2):
        with CollectionWriter(self.path, FakeEncoder(), model="fake") as writer:
            writer.add_roots(["/pictures"])
            for number in numbers:
                self.remember(number, num_segments)
                file = self.file(number, next(iter(writer.identity.roots)))
                vectors = [self.vectors[number << 20 | ordinal] for ordinal in range(num_segments)]
                writer.add(FileRows(file, tuple(Segment("shot", vector, 0.0, 1.0, 0.5) for vector in vectors), {}))
            writer.finish()
        return self.check()

    def remove(self, numbers):
        with CollectionWriter(self.path, FakeEncoder(), model="fake") as writer:
            writer.remove(numbers)
            writer.finish()
        self.vectors = {key: vector for key, vector in self.vectors.items() if key >> 20 not in numbers}
        return self.check()

    def remember(self, number, num_segments):
        self.vectors = {key: vector for key, vector in self.vectors.items() if key >> 20 != number}
        for ordinal in range(num_segments):
            vector = self.random.standard_normal(WIDTH).astype(np.float32)
            self.vectors[number << 20 | ordinal] = vector / np.linalg.norm(vector)

    def file(self, number, root_id):
        columns = {"media_id": number, "root_id": root_id, "path": f"{number}.mp4", "size_bytes": 1, "mtime": 0.0, "sha256": "0" * 64}
        return FileColumns(**columns, indexed_at=datetime.now(UTC), width=1, height=1)

    def check(self):
        """The snapshot has exactly the vectors that were written. Returns whether it shares an earlier index."""
        opened = open_collection(self.path, encoder=FakeEncoder()).snapshot
        found = dict(zip(opened.segment_ids.tolist(), opened.vectors_of(opened.segment_ids).tolist(), strict=True))
        assert found == {key: vector.tolist() for key, vector in self.vectors.items()}
        assert opened.segment_ids.tolist() == sorted(self.vectors)
        problems = [problem for problem in verify(self.path).problems if "thumbnails" not in problem]
        assert problems == []
        for key in list(self.vectors)[:3]:
            assert opened.nearest(self.vectors[key], 1, KINDS)[0].tolist() == [key]
        return (self.folder() / CHANGES).exists()

    def folder(self):
        version = json.loads((self.path / "current").read_text())["version"]
        return self.path / "snapshots" / str(version)


@pytest.fixture
def writing(tmp_path):
    writing = Writing(tmp_path / "c")
    assert not writing.put(range(NUM_FILES))
    return writing


def test_few_changes_share_the_index_and_many_do_not(writing):
    index = (writing.folder() / VECTORS).stat().st_ino
    assert writing.put([NUM_FILES])
    assert (writing.folder() / VECTORS).stat().st_ino == index
    assert writing.put([3])
    assert writing.remove([5])
    assert writing.put([3], num_segments=1)
    assert not writing.put(range(20))
    assert (writing.folder() / VECTORS).stat().st_ino != index


def test_any_sequence_of_changes_gives_the_right_vectors(writing):
    choose = random.Random(0)
    shared = 0
    for number in range(12):
        known = sorted({key >> 20 for key in writing.vectors})
        if number % 3 == 2:
            shared += writing.remove(choose.sample(known, 2))
        else:
            shared += writing.put([choose.choice(known), NUM_FILES + number], num_segments=choose.randint(1, 3))
    assert 4 <= shared < 12


def test_an_emptied_collection_and_one_that_starts_anew_are_right(writing):
    writing.remove(range(NUM_FILES))
    writing.put([1])
    writing.put([2])


def test_a_disk_without_hard_links_gets_a_copy(writing, monkeypatch):
    def refuse(*_, **__):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert writing.put([NUM_FILES])


@pytest.mark.parametrize("damage", ["rows.arrow", "statistics.json", "vectors.npy", "changes.npy", "slots.npy", "codes.faiss", "all"])
def test_a_damaged_earlier_snapshot_is_not_used(writing, damage):
    assert writing.put([NUM_FILES])
    for file in list(writing.folder().iterdir()):
        if damage in {file.name, "all"}:
            file.unlink()
    writing.put([NUM_FILES + 1])


def test_a_reader_keeps_its_snapshot_while_new_ones_share_its_index(writing):
    reader = open_collection(writing.path, encoder=FakeEncoder())
    ids = reader.snapshot.segment_ids
    before = reader.snapshot.vectors_of(ids)
    writing.put([3])
    assert np.array_equal(reader.snapshot.vectors_of(ids), before)
    assert reader.refresh()


def test_moved_files_keep_every_other_column(writing):
    before = open_collection(writing.path, encoder=FakeEncoder()).snapshot
    rows = {row["segment_id"]: row for row in before.rows(before.segment_ids)}
    with CollectionWriter(writing.path, FakeEncoder(), model="fake") as writer:
        known = writer.known_files()["/pictures/7.mp4"]
        writer.relocate([known._replace(path="new/7.mp4", mtime=5.0, revision="1-2")], lambda *_: {})
        writer.finish()
    assert writing.check()
    after = open_collection(writing.path, encoder=FakeEncoder()).snapshot
    changed = {"path": "new/7.mp4", "uri": "/pictures/new/7.mp4", "mtime": 5.0, "revision": "1-2"}
    for row in after.rows(after.segment_ids):
        assert row == rows[row["segment_id"]] | (changed if row["media_id"] == 7 else {})
