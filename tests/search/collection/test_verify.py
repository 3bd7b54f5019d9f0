"""`verify` finds damage, and repairs it without embedding."""

import json
import shutil

import pyarrow as pa
import pytest

from indexer import index
from search import open_collection
from search.collection import CollectionWriter
from search.collection.lance_tables import LanceTable
from search.collection.thumbnails import thumbnail_of
from search.collection.verify import verify
from tests.fakes import FakeEncoder, rows_of, write_film, write_picture


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    for colour in ("red", "green", "blue"):
        write_picture(folder / "library" / f"{colour}.png", colour)
    write_film(folder / "library" / "film.mp4", [("red", 3.0), ("blue", 3.0)])
    (folder / "library" / "broken.jpg").write_bytes(b"x")
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    return folder / "collection"


@pytest.fixture
def path(indexed, tmp_path):
    return shutil.copytree(indexed, tmp_path / "collection")


def thumbnails(path):
    snapshot = open_collection(path, encoder=FakeEncoder()).snapshot
    return sorted({thumbnail_of(path, row) for row in snapshot.rows(snapshot.segment_ids)})


def flip_last_byte(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(bytes(data))


def snapshot_file(path, name):
    (file,) = path.glob(f"snapshots/*/{name}")
    return file


DAMAGE = {
    "no current": lambda path: (path / "current").unlink(),
    "no snapshot": lambda path: shutil.rmtree(path / "snapshots"),
    "rows truncated": lambda path: snapshot_file(path, "rows.arrow").write_bytes(b"x"),
    "a bit of the index": lambda path: flip_last_byte(snapshot_file(path, "vectors.npy")),
    "another version": lambda path: (path / "current").write_text(
        json.dumps(json.loads((path / "current").read_text()) | {"num_failed": 7})
    ),
    "another collection": lambda path: (path / "current").write_text(
        json.dumps(json.loads((path / "current").read_text()) | {"collection_id": "0"})
    ),
    "rows behind the snapshot": lambda path: LanceTable(path, "segments").delete("path = 'red.png'"),
    "a thumbnail is missing": lambda path: thumbnails(path)[0].unlink(),
    "all thumbnails are missing": lambda path: shutil.rmtree(path / "thumbnails"),
    "a thumbnail is truncated": lambda path: thumbnails(path)[-1].write_bytes(thumbnails(path)[-1].read_bytes()[:-5]),
    "an orphaned thumbnail": lambda path: shutil.copy(thumbnails(path)[0], thumbnails(path)[0].with_name("123-0123456789ab-77.webp")),
    "an unfinished thumbnail": lambda path: thumbnails(path)[0].with_suffix(".partial").write_bytes(b"x"),
}


def test_an_undamaged_collection_has_no_problems(path):
    findings = verify(path)
    assert (findings.num_rows, findings.num_files, findings.problems, findings.repaired) == (6, 4, [], [])


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_repaired(path, damage):
    before = len(thumbnails(path))
    DAMAGE[damage](path)
    assert verify(path).problems, "nothing was found"
    assert verify(path).problems, "finding it must not repair it"
    repaired = verify(path, repair=True)
    assert (repaired.problems, len(repaired.repaired)) == ([], 1 if damage != "rows behind the snapshot" else 2)
    assert verify(path).problems == []
    if damage != "rows behind the snapshot":
        assert len(thumbnails(path)) == before
        assert len(rows_of(open_collection(path, encoder=FakeEncoder()))) == 6


def test_a_thumbnail_of_a_file_that_changed_cannot_be_repaired(path, tmp_path):
    shutil.copytree(path.parents[0] / "collection", tmp_path / "copy")
    library = tmp_path / "library"
    write_picture(library / "a.png", "red")
    index(library, collection=tmp_path / "c", encoder=FakeEncoder())
    write_picture(library / "a.png", "blue")
    thumbnails(tmp_path / "c")[0].unlink()
    assert verify(tmp_path / "c", repair=True).problems == ["1 thumbnails are missing or damaged."]


def test_vectors_without_unit_norm_are_reported(path):
    table = LanceTable(path, "segments")
    rows = table.read(table.schema.names)
    vectors = [[0.0] * 48 if row["path"] == "red.png" else row["vector"] for row in rows.to_pylist()]
    position = rows.schema.get_field_index("vector")
    table.replace(
        rows.set_column(position, rows.schema.field(position), pa.chunked_array([pa.array(vectors, rows.schema.field(position).type)])),
        key="segment_id",
    )
    assert any("its vector is not of length 1" in problem for problem in verify(path, repair=True).problems)


def test_a_sound_snapshot_is_kept_when_the_table_is_the_damaged_side(path):
    table = LanceTable(path, "segments")
    rows = table.read(table.schema.names)
    vectors = rows["vector"].combine_chunks()
    zeros = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * len(vectors.values), pa.float32()), vectors.type.list_size)
    table.replace(rows.set_column(rows.schema.get_field_index("vector"), rows.schema.field("vector"), zeros), key="segment_id")
    snapshots = {file: file.read_bytes() for file in path.glob("snapshots/*/*")}
    found = verify(path, repair=True)
    assert any("not rebuilt" in problem for problem in found.problems)
    assert {file: file.read_bytes() for file in path.glob("snapshots/*/*")} == snapshots


def test_rows_of_an_unknown_root_and_files_that_occur_twice_are_found(path):
    content = json.loads((path / "collection.json").read_text())
    (root_id,) = content["roots"]
    (path / "collection.json").write_text(json.dumps(content | {"roots": {"deadbeef": content["roots"][root_id]}}))
    assert any(f"no root {root_id}" in problem for problem in verify(path).problems)
    (path / "collection.json").write_text(json.dumps(content))
    table = LanceTable(path, "segments")
    rows = table.read(table.schema.names, "kind = 'image'").slice(0, 1)
    for name, change in (("media_id", 1), ("segment_id", 1 << 20)):
        shifted = pa.array([rows[name][0].as_py() + change], pa.int64())
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), shifted)
    table.replace(rows, key="segment_id")
    assert any("1 files are in the collection twice" in problem for problem in verify(path).problems)


def test_wrong_counts_are_found(path):
    file = snapshot_file(path, "statistics.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"counts": {**content["counts"], "image": 99}}))
    assert any("counts other numbers" in problem for problem in verify(path).problems)
    assert verify(path, repair=True).problems == []


def test_a_check_leaves_what_a_killed_run_left_to_the_next_run(path):
    thumbnail = thumbnails(path)[0]
    (path / "writer.json").write_text("{}")  # a killed run leaves it
    shutil.copy(thumbnail, thumbnail.with_name("123-0123456789ab.webp"))
    assert verify(path).problems == ["1 thumbnails belong to no row."]
    with CollectionWriter(path, FakeEncoder(), model="default") as writer:
        writer.finish()
    assert verify(path).problems == []
    assert not (path / "writer.json").exists()
