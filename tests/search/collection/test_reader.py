"""Opening a collection, its snapshots, and how a reader handles a new version or a removed, remade or damaged collection."""

import json
import multiprocessing
import shutil
import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from coca_model import load
from indexer import index
from search import IncompatibleError, NoCollectionError, open_collection, search
from search.collection import CollectionWriter
from search.collection.lance_tables import LanceTable
from search.errors import LockedError
from search.schema import KINDS, media_id_of_segment, new_media_id, segment_id_of
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


def test_a_missing_collection_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(NoCollectionError, match=r"nothing: no collection here. Make one with: coca-search index"):
        open_collection(tmp_path / "nothing")


def test_a_newer_format_is_refused(path):
    change(path, format_version=99)
    with pytest.raises(IncompatibleError, match=r"format 99 is newer than this program's \(2\). Upgrade"):
        open_collection(path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"format_version": 1, "nonsense": 2}', '{"format_version": 2, "nonsense": 2}', "[" * 100_000),
        *('{"format_version": true}', '{"format_version": 1, "migrating_from": [1]}'),
    ],
    ids=range(8),
)
def test_a_damaged_identity_is_refused(path, content):
    (path / "collection.json").write_text(content)
    with pytest.raises(IncompatibleError, match=r"collection\.json"):
        open_collection(path)


@pytest.mark.parametrize("value", [{"embedding_width": "48"}, {"roots": None}, {"roots": [1]}, {"roots": {"x": 5}}, {"model": 7}])
def test_a_value_of_the_wrong_type_in_the_identity_is_refused(path, value):
    change(path, **value)
    with pytest.raises(IncompatibleError, match="a value of the wrong type"):
        open_collection(path)


@pytest.mark.parametrize(
    ("encoder", "what"),
    [
        (FakeEncoder(model_id="other@2"), r"another model \(fake@1, not other@2\)"),
        (FakeEncoder(preprocessing_id="crop-7"), r"another preprocessing \(fake-4, not crop-7\)"),
        (FakeEncoder(embedding_width=7), r"another embedding width \(48, not 7\)"),
    ],
)
def test_another_model_is_refused_for_reading_and_for_writing(path, tmp_path, encoder, what):
    with pytest.raises(IncompatibleError, match=what):
        open_collection(path, encoder=encoder)
    with pytest.raises(IncompatibleError, match=what):
        index(tmp_path / "library", collection=path, encoder=encoder)


def test_missing_tables_are_refused(path):
    (path / "segments.lance").rename(path / "elsewhere")
    with pytest.raises(IncompatibleError, match="the table segments is missing"):
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


@pytest.mark.parametrize("lost", ["rows.arrow", "vectors.npy", "slots.npy", "statistics.json", "current", "everything"])
@pytest.mark.parametrize("damage", ["delete", "truncate", "nonsense"])
def test_a_lost_or_damaged_snapshot_is_rebuilt(path, lost, damage):
    before = rows_of(open_collection(path, encoder=FakeEncoder()))
    if lost == "everything":
        shutil.rmtree(path / "snapshots")
    else:
        (file,) = [path / "current"] if lost == "current" else path.glob(f"snapshots/*/{lost}")
        content = {"truncate": file.read_bytes()[:50], "nonsense": b"nonsense"}.get(damage)
        file.unlink() if content is None else file.write_bytes(content)
    for _ in range(2):  # the first opening rebuilds it, the second opens the rebuilt one
        collection = open_collection(path, encoder=FakeEncoder())
        assert rows_of(collection) == before
        assert [hit.uri for hit in search("blue", collection=collection, k=1)] == [row["uri"] for row in before if "blue" in row["uri"]]


def test_a_reader_rebuilds_a_lost_snapshot_in_memory_while_another_process_writes(path):
    before = rows_of(open_collection(path, encoder=FakeEncoder()))
    shutil.rmtree(path / "snapshots")
    with FileLock(path / "writer.lock"):
        assert rows_of(open_collection(path, encoder=FakeEncoder())) == before
        assert not (path / "snapshots").exists()


def test_the_index_holds_the_vectors_of_the_table(path):
    collection = open_collection(path, encoder=FakeEncoder())
    for row in LanceTable(path, "segments").read(["segment_id", "vector"]).to_pylist():
        ids, similarity, _ = collection.snapshot.nearest(np.array(row["vector"], np.float32), 1, KINDS)
        assert ids.tolist() == [row["segment_id"]]
        assert similarity[0] == pytest.approx(1.0, abs=1e-5)


def test_a_removed_collection_is_noticed(path):
    collection = open_collection(path, encoder=FakeEncoder())
    shutil.rmtree(path)
    with pytest.raises(NoCollectionError, match="no collection here"):
        collection.refresh()


def test_a_remade_collection_is_noticed_even_with_the_same_version_number(path, tmp_path):
    collection = open_collection(path, encoder=FakeEncoder())
    version = collection.snapshot.version
    shutil.rmtree(path)
    for colour in ("white", "black", "yellow"):
        write_picture(tmp_path / "other" / f"{colour}.png", colour)
    index(tmp_path / "other", collection=path, encoder=FakeEncoder())
    assert collection.refresh()
    assert collection.snapshot.version == version
    assert sorted(hit.uri for hit in search("red", collection=collection)) == [row["uri"] for row in sorted(rows_of(collection), key=uri)]
    assert all("other" in hit.uri for hit in search("red", collection=collection))


def test_a_collection_remade_with_another_model_is_searched_with_that_model(tmp_path, tiny_checkpoint):
    other = tmp_path / "other-model"
    rotated_checkpoint(tiny_checkpoint, other)
    write_picture(tmp_path / "library" / "red.png", "red")
    index(tmp_path / "library", collection=tmp_path / "c", model=str(tiny_checkpoint))
    collection = open_collection(tmp_path / "c")
    before = search("red", collection=collection)[0].similarity
    shutil.rmtree(tmp_path / "c")
    index(tmp_path / "library", collection=tmp_path / "c", model=str(other))
    assert collection.refresh()
    assert collection.encoder.model_id == load(other).model_id
    assert search("red", collection=collection)[0].similarity == pytest.approx(before, abs=0.02)


def test_another_model_at_the_path_of_the_old_one_is_refused(tmp_path, tiny_checkpoint):
    model = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, model)
    write_picture(tmp_path / "library" / "red.png", "red")
    index(tmp_path / "library", collection=tmp_path / "c", model=str(model))
    shutil.rmtree(model)
    rotated_checkpoint(tiny_checkpoint, model)
    with pytest.raises(IncompatibleError, match="made with another version of the model"):
        search("red", collection=open_collection(tmp_path / "c"))


def test_readers_never_mix_two_collections_while_one_is_remade(path, tmp_path):
    for colour in ("white", "black", "yellow", "red"):
        write_picture(tmp_path / "other" / f"{colour}.png", colour)
    collection, wrong, stop = open_collection(path, encoder=FakeEncoder()), [], threading.Event()

    def read():
        while not stop.is_set():
            with suppress(NoCollectionError, IncompatibleError):
                collection.refresh()
            names = sorted(hit.uri.rsplit("/", 2)[-2:] for hit in search("red", collection=collection))
            if len({folder for folder, _ in names}) > 1 or len(names) not in {0, 3, 4}:
                wrong.append(names)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(6):
        shutil.rmtree(path)
        index(tmp_path / ("other" if number % 2 else "library"), collection=path, encoder=FakeEncoder())
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def uri(row):
    return row["uri"]


def rotated_checkpoint(source, target):
    """Copy a checkpoint and rotate its embedding space: the cosines stay the same, but the vectors differ."""
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    width = len(weights["poolers.project.weight"])
    turn, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(1)))
    for name in ("poolers.project.weight", "unimodal.project.weight"):
        weights[name] = (turn @ weights[name].float()).to(weights[name].dtype).contiguous()
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def hold(path, ready, release):
    with CollectionWriter(path, FakeEncoder(), model="fake"):
        ready.set()
        release.wait(60)


def test_a_second_writer_is_refused_with_the_process_of_the_first(path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(path, ready, release))
    process.start()
    try:
        assert ready.wait(60)
        with (
            pytest.raises(LockedError, match=rf"process {process.pid} on .* is writing to it"),
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


def test_what_a_killed_writer_left_is_swept(path):
    (path / "writer.json").write_text("{}")  # the note of a writer that did not end
    leftovers = [path / "thumbnails" / "001" / "1-0123456789ab.webp", path / "current.0123456789abcdef.partial"]
    for file in leftovers:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x")
    thumbnails = set(path.glob("thumbnails/*/*")) - set(leftovers)
    with CollectionWriter(path, FakeEncoder(), model="fake") as writer:
        writer.finish()
    assert set(path.glob("thumbnails/*/*")) == thumbnails
    assert not leftovers[1].exists()
    assert not (path / "writer.json").exists()


def test_media_ids_fit_a_javascript_number_and_segment_ids_contain_them():
    media_id = new_media_id("/a/b.jpg")
    assert 0 <= media_id < 2**43
    assert media_id != new_media_id("/a/b.jpg", used={media_id})
    assert media_id_of_segment(segment_id_of(media_id, 7)) == media_id
    assert segment_id_of(2**43 - 1, 2**20 - 1) == 2**63 - 1
