"""A snapshot with a damaged file stops no reader and no writer, and `verify` finds and repairs it."""

import json
import shutil

import pytest

from search import open_collection, search
from search.collection import CollectionWriter
from search.collection.snapshot import ROWS, STATISTICS
from search.collection.verify import verify
from search.vectors import files, kinds
from tests.fakes import FakeEncoder
from tests.search.collection.test_publish import Writing

OTHERS = (files.CHANGES, files.CHANGES_CODES, files.SLOTS, STATISTICS, ROWS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """620 files of one segment, 20 of them as changes, with codes of both."""
    path = tmp_path_factory.mktemp("damaged") / "collection"
    with pytest.MonkeyPatch.context() as patch:
        for module in (kinds, files):
            patch.setattr(module, "LEAST_FOR_CODES", 10)
        patch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
        writing = Writing(path)
        for numbers in (range(600), range(700, 720)):
            writing.put(numbers, num_segments=1)
        assert {file.name for file in writing.folder().iterdir()} == {*files.FILES_OF_MAIN, *OTHERS}
        yield path


@pytest.fixture
def path(written, tmp_path):
    return shutil.copytree(written, tmp_path / "collection")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        *((file, "missing") for file in (*files.FILES_OF_MAIN, *OTHERS)),
        *((file, "zip") for file in (files.VECTORS, files.SLOTS, files.CODES)),
        *((file, "of another kind") for file in (files.CODES, files.FAST_CODES)),
    ],
)
def test_a_damaged_file(path, tmp_path, file, damage):
    folder = Writing(path).folder()
    other = (folder / (files.CODES if file == files.FAST_CODES else files.FAST_CODES)).read_bytes()
    (folder / file).unlink()
    if damage != "missing":
        (folder / file).write_bytes(b"PK\3\4" + bytes(99) if damage == "zip" else other)
    for name in ("read", "changed"):
        shutil.copytree(path, tmp_path / name)
    reader = open_collection(tmp_path / "read", encoder=FakeEncoder())
    assert len(search("red", collection=reader, k=300)) == 300
    with CollectionWriter(tmp_path / "changed", FakeEncoder(), model="fake") as writer:
        writer.remove([700])
        writer.finish()
    assert len(open_collection(tmp_path / "changed", encoder=FakeEncoder()).snapshot) == 619
    for repair, is_sound in ((False, False), (True, True)):
        problems = [problem for problem in verify(path, repair=repair).problems if "thumbnails" not in problem]
        assert (problems == []) == is_sound


@pytest.mark.parametrize("damage", [{"counts": []}, {"counts": {"image": "1"}}, {"sha256": None}, {"index": {}}, {"version": 0}])
def test_damaged_statistics_are_rebuilt(path, damage):
    file = Writing(path).folder() / STATISTICS
    before = json.loads(file.read_text())
    file.write_text(json.dumps(before | damage))
    assert len(search("red", collection=open_collection(path, encoder=FakeEncoder()))) == 20
    assert json.loads(file.read_text())["counts"] == before["counts"]
