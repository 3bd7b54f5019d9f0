"""Cosines by FAISS and by NumPy, at any place of an array, and nothing beyond its end."""

import numpy as np
import pytest

from search.vectors import exact
from search.vectors.exact import dot, dot_of, largest
from tests.search.vectors.written_index import unit_vectors


@pytest.fixture(params=["NumPy", "FAISS", "FAISS in parts"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(exact, "_LEAST_FOR_FAISS", 10**9 if request.param == "NumPy" else 1)
    monkeypatch.setattr(exact, "_ROWS_PER_PART", 100 if "parts" in request.param else 1 << 20)
    monkeypatch.setattr("search.vectors.in_parts.num_cpus", lambda: 3)
    return request.param


@pytest.mark.parametrize("of", [lambda a: a, np.asfortranarray, lambda a: a[::3], lambda a: a[:, ::2], lambda a: a[:1], lambda a: a[:0]])
def test_all_cosines(of):
    vectors = of(unit_vectors(1_000))
    query = np.ascontiguousarray(unit_vectors(1, seed=3)[0, : vectors.shape[1]])
    np.testing.assert_allclose(dot(vectors, query), vectors.astype(np.float64) @ query, atol=1e-6)
    assert dot(vectors, query).dtype == np.float32


@pytest.mark.parametrize("slots", [[], [999], [0, 5, 6, 999], [7, 3, 7, 900, 3], list(range(0, 1_000, 2))])
def test_some_cosines_are_those_of_all(slots):
    vectors, query = unit_vectors(1_000), unit_vectors(1, seed=3)[0]
    slots = np.array(slots, np.int64)
    found = dot_of(vectors, slots, query)
    assert found.dtype == np.float32
    assert np.array_equal(found, dot(vectors, query)[slots])
    assert np.array_equal(dot_of(vectors, np.repeat(slots, 2)[::2], query), found)  # not contiguous


def test_equal_vectors_have_equal_cosines_at_any_place():
    vectors, query = np.repeat(unit_vectors(1), 1_001, axis=0), unit_vectors(1, seed=3)[0]
    assert len(set(dot(vectors, query).tolist()) | set(dot_of(vectors, np.arange(3, 500), query).tolist())) == 1


@pytest.mark.parametrize("slots", [[1_000], [2**32 - 1], [-1], [0, -(2**62)], [[0, 1]]])
def test_slots_that_are_not_there_are_an_error(slots):
    with pytest.raises(IndexError, match="no such slots"):
        dot_of(unit_vectors(1_000), np.array(slots, np.int64), unit_vectors(1)[0])


def test_another_width_is_an_error():
    vectors = unit_vectors(1_000)
    for run in (dot, lambda *both: dot_of(both[0], np.arange(3), both[1])):
        with pytest.raises(ValueError, match="cannot be compared"):
            run(vectors, vectors[0, :-1])


def test_the_largest_come_first_and_ties_in_order():
    values = np.array([0.1, 0.5, 0.5, -1, 0.3], np.float32)
    assert [largest(values, count).tolist() for count in (2, 3, 9)] == [[1, 2], [1, 2, 4], [1, 2, 4, 0, 3]]
