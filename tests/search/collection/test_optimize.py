"""`coca-search optimize`: the index is rebuilt as its owner wants, while the old one answers."""

import errno
import json
import threading

import numpy as np
import pytest
from typer.testing import CliRunner

from coca_search.cli import app
from search import QueryError, open_collection, search
from search.collection import CollectionWriter
from search.collection.identity import read_identity
from search.collection.optimize import optimize
from search.collection.verify import verify
from search.errors import LockedError, StorageError
from search.vectors import files, kinds
from search.vectors.kinds import IndexSettings
from tests.fakes import WIDTH, FakeEncoder
from tests.search.collection.test_publish import Writing


@pytest.fixture
def collection(tmp_path, monkeypatch):
    """600 files of one segment, which are enough for codes here."""
    for module in (kinds, files):
        monkeypatch.setattr(module, "LEAST_FOR_CODES", 100)
    monkeypatch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
    Writing(tmp_path / "collection").put(range(600), num_segments=1)
    return tmp_path / "collection"


def index_of(path):
    return open_collection(path, encoder=FakeEncoder()).snapshot.statistics.index


def test_a_collection_gets_codes_whose_recall_is_measured(collection):
    index = index_of(collection)
    assert (index.kind, index.has_fast_codes, index.num_queries) == ("flat", True, 96)
    assert index.recall >= 0.98


def test_the_wishes_of_the_owner_stay_over_later_runs(collection):
    optimize(collection, memory=100)
    assert (index_of(collection).kind, index_of(collection).has_fast_codes) == ("flat", False)
    optimize(collection, recall=1)
    assert index_of(collection).kind == "exact"
    optimize(collection, kind="lists", recall=0.9)
    assert index_of(collection).kind == "lists"
    optimize(collection, recall=0.8)
    assert read_identity(collection).index == IndexSettings(0.8, 100, "lists")
    with CollectionWriter(collection, FakeEncoder(), model="fake") as writer:
        writer.remove(range(300))  # so many that the index is built anew
        writer.finish()
    assert index_of(collection).kind == "lists"
    optimize(collection, kind="auto")
    assert index_of(collection).kind == "flat"
    assert verify(collection).problems[1:] == []  # the first is about thumbnails, which were not made


def test_searches_answer_from_the_old_index_until_the_new_one_is_there(collection):
    reader, queries = open_collection(collection, encoder=FakeEncoder()), np.random.default_rng(0).standard_normal((5, WIDTH))
    wanted = [[hit.segment_id for hit in search(query, collection=reader)] for query in queries]
    answers, versions, ended = [], set(), threading.Event()

    def ask():
        while not ended.is_set():
            reader.refresh()
            versions.add(reader.snapshot.version)
            answers.append([[hit.segment_id for hit in search(query, collection=reader)] for query in queries])

    thread = threading.Thread(target=ask)
    thread.start()
    for recall in (1, 0.98):
        optimize(collection, recall=recall)
    ended.set()
    thread.join()
    assert all(answer == wanted for answer in answers)
    reader.refresh()
    assert len({*versions, reader.snapshot.version}) >= 2


def test_a_running_writer_is_waited_for_by_nobody(collection):
    with CollectionWriter(collection, FakeEncoder(), model="fake"), pytest.raises(LockedError):
        optimize(collection)
    assert read_identity(collection).index == IndexSettings()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("LanceError(IO): full (os error 28)")])
def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_part_of_an_index(collection, monkeypatch, error):
    (collection / "snapshots" / "1.partial").mkdir()  # of a run that was killed

    def fill(vectors, file, _):
        file.write_bytes(bytes(1000))
        raise error

    monkeypatch.setattr("search.vectors.flat_codes.write_flat_codes", fill)
    with pytest.raises(StorageError, match=r"No space left on device.*Make room"):
        optimize(collection)
    assert not list(collection.glob("snapshots/*.partial"))
    assert len(search("red", collection=open_collection(collection, encoder=FakeEncoder()))) == 20


def test_a_collection_with_default_wishes_can_be_read_by_programs_that_know_none(collection):
    assert "index" not in json.loads((collection / "collection.json").read_text())
    optimize(collection, recall=0.9)
    assert json.loads((collection / "collection.json").read_text())["index"]["recall"] == 0.9


@pytest.mark.parametrize("values", [{"recall": 2}, {"recall": 0}, {"memory": -1}, {"kind": "hnsw"}])
def test_values_out_of_range_change_nothing(collection, values):
    before = (collection / "collection.json").read_text()
    with pytest.raises(QueryError):
        optimize(collection, **values)
    assert (collection / "collection.json").read_text() == before


def test_the_command_line_shows_the_index(collection):
    run = CliRunner().invoke(app, ["optimize", "--collection", str(collection), "--recall", "0.9", "--memory", "1MiB"])
    assert run.exit_code == 0, run.output
    assert "600 vectors, index: flat codes, recall" in run.output
    assert read_identity(collection).index == IndexSettings(0.9, 1 << 20)
    shown = CliRunner().invoke(app, ["status", "--collection", str(collection)]).output
    assert "index              flat codes, recall" in shown
    as_json = json.loads(CliRunner().invoke(app, ["status", "--json", "--collection", str(collection)]).output)
    assert as_json["index"]["settings"] == {"recall": 0.9, "memory": 1 << 20, "kind": None}
    assert "size" in str(CliRunner().invoke(app, ["optimize", "--collection", str(collection), "--memory", "lots"]).exception)


@pytest.mark.parametrize("damage", [{"recall": 7}, {"kind": []}, {"colour": 1}, "flat", None])
def test_damaged_wishes_are_refused_with_the_file(collection, damage):
    values = json.loads((collection / "collection.json").read_text())
    (collection / "collection.json").write_text(json.dumps(values | {"index": damage}))
    with pytest.raises(Exception, match=r"collection\.json: unexpected content"):
        open_collection(collection)


def test_a_collection_that_grows_past_the_threshold_gets_codes_at_once(tmp_path, monkeypatch):
    for module in (kinds, files):
        monkeypatch.setattr(module, "LEAST_FOR_CODES", 100)
    writing = Writing(tmp_path / "collection")
    writing.put(range(98), num_segments=1)
    assert index_of(tmp_path / "collection").kind == "exact"
    writing.put(range(98, 101), num_segments=1)
    assert index_of(tmp_path / "collection").kind == "flat"


def test_a_kind_that_a_small_collection_does_not_get_is_told(collection, monkeypatch):
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 20_000)
    run = CliRunner().invoke(app, ["optimize", "--collection", str(collection), "--kind", "lists"])
    assert "Not lists: fewer than" in run.output
    run = CliRunner().invoke(app, ["optimize", "--collection", str(collection), "--recall", "1"])
    assert "Not lists: the recall is 1." in run.output
