"""Opening, snapshots, the FAISS cache, and the lock."""

import json
import multiprocessing

import numpy as np
import pytest

from indexer import index
from search import IncompatibleError, LockedError, NoCollectionError, open_collection
from search.schema import media_id_of, media_id_of_segment, segment_id_of
from search.writer import CollectionWriter
from tests.fakes import FakeEncoder, rows_of, write_picture


@pytest.fixture
def path(tmp_path):
    for colour in ("red", "green", "blue"):
        write_picture(tmp_path / "library" / f"{colour}.png", colour)
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    return tmp_path / "collection"


def change(path, **values):
    file = path / "collection.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_no_collection_says_how_to_make_one(tmp_path):
    with pytest.raises(NoCollectionError, match=r"nothing: no collection here. Make one with: coca-search index"):
        open_collection(tmp_path / "nothing")


def test_a_newer_format_is_refused(path):
    change(path, format_version=99)
    with pytest.raises(IncompatibleError, match=r"format 99 is newer than this program's \(1\). Upgrade"):
        open_collection(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format_version": 1, "nonsense": 2}'])
def test_a_damaged_identity_is_refused(path, content):
    (path / "collection.json").write_text(content)
    with pytest.raises(IncompatibleError, match=r"collection\.json"):
        open_collection(path)


@pytest.mark.parametrize(
    ("encoder", "what"),
    [
        (FakeEncoder(model_id="other@2"), r"another model \(fake@1; this one is other@2\)"),
        (FakeEncoder(preprocessing_id="crop-7"), r"another preprocessing \(fake-4; this one is crop-7\)"),
        (FakeEncoder(embedding_width=7), r"another embedding width \(48; this one is 7\)"),
    ],
)
def test_another_model_is_refused_for_reading_and_for_writing(path, tmp_path, encoder, what):
    with pytest.raises(IncompatibleError, match=what):
        open_collection(path, encoder=encoder)
    with pytest.raises(IncompatibleError, match=what):
        index(tmp_path / "library", collection=path, encoder=encoder)


def test_missing_tables_are_refused(path):
    (path / "segments.lance").rename(path / "elsewhere")
    with pytest.raises(IncompatibleError, match="tables are missing"):
        open_collection(path)


def test_a_reader_keeps_its_snapshot_until_it_is_refreshed(path, tmp_path):
    collection = open_collection(path, encoder=FakeEncoder())
    before = rows_of(collection)
    write_picture(tmp_path / "library" / "white.png", "white")
    index(tmp_path / "library", collection=path, encoder=FakeEncoder())
    assert rows_of(collection) == before
    assert len(collection.snapshot.index) == 3
    assert collection.refresh()
    assert (len(rows_of(collection)), len(collection.snapshot.index)) == (4, 4)
    assert not collection.refresh()


@pytest.mark.parametrize("damage", ["delete", "truncate", "nonsense"])
def test_the_faiss_file_can_be_lost_without_losing_anything(path, damage):
    (file,) = (path / "faiss").glob("*.index")
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:50] if damage == "truncate" else b"nonsense")
    collection = open_collection(path, encoder=FakeEncoder())
    assert sorted(collection.snapshot.index.ids()) == [row["segment_id"] for row in rows_of(collection)]


def test_the_index_holds_the_vectors_of_lance(path):
    collection = open_collection(path, encoder=FakeEncoder())
    for row in rows_of(collection):
        ids, similarity = collection.snapshot.index.nearest(np.array(row["vector"], np.float32), 1)
        assert ids.tolist() == [row["segment_id"]]
        assert similarity[0] == pytest.approx(1.0, abs=1e-5)


def hold(path, ready, release):
    with CollectionWriter(path, FakeEncoder(), model="fake"):
        ready.set()
        release.wait(60)


def test_a_second_writer_is_refused_and_told_who_the_first_is(path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(path, ready, release))
    process.start()
    try:
        assert ready.wait(60)
        with (
            pytest.raises(LockedError, match=rf"process {process.pid} on .* is indexing into it"),
            CollectionWriter(path, FakeEncoder(), model="fake"),
        ):
            pass
    finally:
        release.set()
        process.join()


def test_a_dead_writer_leaves_no_lock(path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(path, ready, release))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    with CollectionWriter(path, FakeEncoder(), model="fake") as writer:
        assert len(writer.known_files()) == 3


def test_ids_fit_a_javascript_number_and_tell_their_file():
    media_id = media_id_of("/a/b.jpg")
    assert 0 <= media_id < 2**43
    assert media_id != media_id_of("/a/b.jpg", salt=1)
    assert media_id_of_segment(segment_id_of(media_id, 7)) == media_id
    assert segment_id_of(2**43 - 1, 2**20 - 1) == 2**63 - 1
