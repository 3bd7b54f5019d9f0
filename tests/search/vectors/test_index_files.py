"""The kind of index that is chosen, its files, and what is refused."""

import json
import shutil
from dataclasses import asdict

import faiss
import numpy as np
import pytest

from search.errors import QueryError
from search.vectors import files, kinds
from search.vectors.files import SLOTS, VECTORS, open_index
from search.vectors.kinds import IndexInfo, IndexSettings
from tests.search.vectors.written_index import WIDTH, unit_vectors, write


def test_an_empty_index_finds_nothing(tmp_path):
    info = write(tmp_path / "a", unit_vectors(0), np.zeros(0, np.int64))
    opened = open_index(tmp_path / "a", info)
    assert len(opened.nearest(np.ones(WIDTH, np.float32), 3)[0]) == 0
    assert opened.vectors(np.zeros(0, np.int64)).shape == (0, WIDTH)


@pytest.mark.parametrize("slots", [[0, 1, 3], [0, -1, 2]])
def test_slots_outside_the_vectors_are_refused(tmp_path, slots):
    info = write(tmp_path / "a", unit_vectors(3), np.array(slots))
    with pytest.raises(ValueError, match="do not fit"):
        open_index(tmp_path / "a", info)


DAMAGES = [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * len(data), lambda data: b"PK\3\4" + bytes(len(data))]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["flat", "lists"])
@pytest.mark.parametrize("file", [VECTORS, SLOTS, files.CODES])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, file, kind, damage):
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 1)
    info = write(tmp_path / "a", unit_vectors(300), np.arange(300), IndexSettings(kind=kind))
    (tmp_path / "a" / file).write_bytes(damage((tmp_path / "a" / file).read_bytes()))
    with pytest.raises((OSError, ValueError, RuntimeError)):
        open_index(tmp_path / "a", info)


@pytest.mark.parametrize("damaged", [unit_vectors(300).astype(np.float64), unit_vectors(300)[:, :40], unit_vectors(300)[0], np.arange(300)])
@pytest.mark.parametrize("file", [VECTORS, SLOTS, files.QUERIES])
def test_an_array_of_another_type_or_shape_is_refused(tmp_path, monkeypatch, file, damaged):
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 1)
    info = write(tmp_path / "a", unit_vectors(300), np.arange(300), queries=unit_vectors(20, seed=9))
    if file == SLOTS and damaged.dtype == np.int64:
        damaged = damaged[:, None]
    np.save(tmp_path / "a" / file, damaged)
    with pytest.raises(ValueError, match=r"unexpected content|not the codes|do not fit"):
        open_index(tmp_path / "a", info)


@pytest.mark.parametrize("kind", ["flat", "lists"])
@pytest.mark.parametrize("other", ["flat", "lists", "fast", "fewer", "wider"])
def test_codes_of_another_index_are_refused(tmp_path, monkeypatch, kind, other):
    if kind == other:
        return
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 1)
    info = write(tmp_path / "a", unit_vectors(300), np.arange(300), IndexSettings(kind=kind))
    vectors = {"fewer": unit_vectors(299), "wider": np.tile(unit_vectors(300), 2) / 2**0.5}.get(other, unit_vectors(300))
    monkeypatch.setattr("tests.search.vectors.written_index.WIDTH", vectors.shape[1])
    write(tmp_path / "b", vectors, np.arange(len(vectors)), IndexSettings(kind="flat" if other in {"fast", "wider"} else kind))
    if other in {"flat", "lists"}:
        write(tmp_path / "b", vectors, np.arange(len(vectors)), IndexSettings(kind=other))
    shutil.copy(tmp_path / "b" / (files.FAST_CODES if other == "fast" else files.CODES), tmp_path / "a" / files.CODES)
    with pytest.raises(ValueError, match="not the codes of these vectors"):
        open_index(tmp_path / "a", info)


def test_lists_that_name_other_vectors_do_not_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 1)
    vectors = unit_vectors(300)
    info = write(tmp_path / "a", vectors, np.arange(300), IndexSettings(kind="lists"))
    codes = faiss.read_index(str(tmp_path / "a" / files.CODES))
    lists = faiss.extract_index_ivf(codes)
    for wrong in (-7, 1 << 40):
        faiss.rev_swig_ptr(lists.invlists.get_ids(0), 1)[0] = wrong
        faiss.write_index(codes, str(tmp_path / "a" / files.CODES))
        assert len(open_index(tmp_path / "a", info).main.find(vectors[7], 300, None)[0]) == 299


@pytest.mark.parametrize("damage", [DAMAGES[0], DAMAGES[2], lambda data: data[: data.index(data[:16], 1)]])
def test_damaged_fast_codes_are_not_used(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(kinds, "LEAST_FOR_CODES", 1)
    monkeypatch.setattr("search.vectors.fast_codes._CODES_PER_SHARD", 2_000)
    vectors = unit_vectors(4_000)
    info = write(tmp_path / "a", vectors, np.arange(4_000))
    (tmp_path / "a" / files.FAST_CODES).write_bytes(damage((tmp_path / "a" / files.FAST_CODES).read_bytes()))
    monkeypatch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
    for number in (7, 3_999):
        assert open_index(tmp_path / "a", info).nearest(vectors[number], 1)[0].tolist() == [number]


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "hnsw"},
        {"kind": None},
        {"probes": {}},
        {"probes": {"10": 0, "100": 3}},
        {"probes": [1]},
        {"error": float("nan")},
        {"error": "0.1"},
        {"recall": "1"},
        {"recall": 2},
        {"settings": []},
        {"settings": {"recall": 7}},
        {"colour": 1},
    ],
)
def test_a_damaged_description_is_refused(damage):
    info = IndexInfo("lists", probes={10: 1, 100: 2}, error=0.1, recall=0.9)
    values = json.loads(json.dumps(asdict(info)))
    assert IndexInfo.from_json(values) == info
    with pytest.raises((TypeError, ValueError, AttributeError, QueryError)):
        IndexInfo.from_json(values | damage)


def test_the_kind_follows_from_the_number_the_memory_and_the_recall():
    assert [IndexSettings().kind_for(count) for count in (0, 19_999, 20_000, 9_999_999, 10_000_000)] == [
        "exact",
        "exact",
        "flat",
        "flat",
        "lists",
    ]
    assert IndexSettings(recall=1).kind_for(50_000_000) == "exact"
    assert IndexSettings(kind="lists").kind_for(50_000) == "lists"
    assert IndexSettings(memory=56_000_000).allows_fast_codes(1_000_000, 384)
    assert not IndexSettings(memory=55_999_999).allows_fast_codes(1_000_000, 384)


@pytest.mark.parametrize("values", [{"recall": 0}, {"recall": 1.01}, {"recall": float("nan")}, {"memory": -1}, {"kind": "hnsw"}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(QueryError, match=r"out of range|Unknown kind"):
        IndexSettings(**values)


def test_lists_that_would_nearly_all_be_scanned_are_not_used(tmp_path, monkeypatch):
    for name in ("LEAST_FOR_CODES", "LEAST_FOR_LISTS"):
        monkeypatch.setattr(kinds, name, 1)
    info = write(tmp_path / "a", unit_vectors(4_000), np.arange(4_000), IndexSettings(recall=0.999), unit_vectors(50, seed=9))
    assert info.kind == "flat"  # these vectors have no neighbours
    around = unit_vectors(20, seed=3)[np.random.default_rng(4).integers(0, 20, 4_000)] + unit_vectors(4_000) / 4
    info = write(tmp_path / "b", around / np.linalg.norm(around, axis=1, keepdims=True), np.arange(4_000), queries=unit_vectors(20, seed=3))
    assert info.kind == "lists"
    assert info.recall >= 0.98
    assert info.probes[10] <= info.probes[100] <= info.probes[1000]
