"""The index finds the rows that an exact ranking of the allowed vectors finds, also after changes."""

import numpy as np
import pyarrow as pa
import pytest

from search.vectors import files
from search.vectors.files import CHANGES, SLOTS, VECTORS, open_index, write_codes, write_slots, write_vectors

WIDTH = 96


def unit_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def batches(vectors):
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH)
    return [pa.record_batch({"segment_id": np.arange(len(vectors)), "vector": column})]


def write(folder, vectors, slots, changes=(), earlier=None):
    folder.mkdir(exist_ok=True)
    write_vectors(batches(vectors), len(vectors), WIDTH, folder / VECTORS)
    if len(changes):
        write_vectors(batches(changes), len(changes), WIDTH, folder / CHANGES)
    write_slots(slots, folder / SLOTS)
    return open_index(folder, has_codes=write_codes(folder, earlier))


@pytest.fixture(params=["exact", "codes", "codes by threads", "codes and changes"])
def index(request, tmp_path, monkeypatch):
    """4,000 rows in an order of their own, and their vectors in the order of rows."""
    monkeypatch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
    monkeypatch.setattr(files, "LEAST_FOR_CODES", 10_000 if request.param == "exact" else 1)
    if "threads" in request.param:
        monkeypatch.setattr("search.vectors.codes._CODES_PER_THREAD", 1_000)
        monkeypatch.setattr("search.vectors.in_parts.num_cpus", lambda: 3)
    vectors, slots = unit_vectors(4_000), np.random.default_rng(1).permutation(4_000)
    opened = write(tmp_path / "a", vectors, slots)
    if request.param == "codes and changes":
        changes = unit_vectors(400, seed=2)
        slots = np.concatenate([slots[:3_700], 4_000 + np.random.default_rng(3).permutation(400)])
        opened, vectors = write(tmp_path / "b", vectors, slots, changes, earlier=tmp_path / "a"), np.concatenate([vectors, changes])
    assert (opened.codes is None) == (request.param == "exact")
    return opened, vectors[slots]


@pytest.mark.parametrize("share", [None, 1.0, 0.5, 0.05, 0.001, 0.0])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_the_nearest_allowed_rows_are_found(index, share, k):
    opened, vectors = index
    allowed = None if share is None else np.random.default_rng(4).random(len(opened)) < share
    for query in unit_vectors(5, seed=5):
        cosines = vectors @ query
        possible = np.arange(len(cosines)) if allowed is None else np.flatnonzero(allowed)
        best = possible[np.argsort(-cosines[possible])][:k]
        positions, similarity = opened.nearest(query, k, allowed)
        assert len(positions) == len(best)
        np.testing.assert_allclose(similarity, cosines[positions], atol=1e-6)
        assert (np.diff(similarity) <= 0).all()
        assert set(positions) <= set(possible)
        assert len(set(positions) & set(best)) >= 0.98 * len(best)
        exactly, similarity = opened.nearest(query, k, allowed, exact=True)
        np.testing.assert_allclose(similarity, cosines[best], atol=1e-6)
        assert len(set(exactly) & set(best)) >= len(best) - 1  # ties


def test_the_vectors_are_those_of_the_rows(index):
    opened, vectors = index
    positions = np.random.default_rng(6).integers(0, len(opened), 100)
    assert np.array_equal(opened.vectors(positions), vectors[positions])


def test_an_empty_index_finds_nothing(tmp_path):
    opened = write(tmp_path / "a", unit_vectors(0), np.zeros(0, np.int64))
    assert len(opened.nearest(np.ones(WIDTH, np.float32), 3)[0]) == 0
    assert opened.vectors(np.zeros(0, np.int64)).shape == (0, WIDTH)


@pytest.mark.parametrize("slots", [[0, 1, 3], [0, -1, 2]])
def test_slots_outside_the_vectors_are_refused(tmp_path, slots):
    with pytest.raises(ValueError, match="do not fit"):
        write(tmp_path / "a", unit_vectors(3), np.array(slots))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * len(data)])
@pytest.mark.parametrize("file", [VECTORS, SLOTS, files.CODES])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, file, damage):
    monkeypatch.setattr(files, "LEAST_FOR_CODES", 1)
    write(tmp_path / "a", unit_vectors(300), np.arange(300))
    (tmp_path / "a" / file).write_bytes(damage((tmp_path / "a" / file).read_bytes()))
    with pytest.raises((OSError, ValueError, RuntimeError)):
        open_index(tmp_path / "a", has_codes=True)
