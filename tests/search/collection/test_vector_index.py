"""A filtered search equals an exact ranking of the allowed vectors."""

import numpy as np
import pyarrow as pa
import pytest

from search.collection.vector_index import build_index

IDS = np.array([70, 10, 90, 30, 50, 20], np.int64)  # not sorted
VECTORS = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0].astype(np.float32)


@pytest.fixture
def index():
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 6)
    return build_index([pa.record_batch({"segment_id": IDS, "vector": vectors})], 6)


@pytest.mark.parametrize("allowed", [[20], [90, 10, 50], [10, 20, 30, 50, 70, 90], [5, 30, 95]])
def test_only_allowed_segments_in_the_index_are_found(index, allowed):
    query = VECTORS.sum(0) / np.linalg.norm(VECTORS.sum(0)) + VECTORS[3] / 10
    ids, similarity = index.nearest(query, 3, np.array(allowed, np.int64))
    expected = {number: float(vector @ query) for number, vector in zip(IDS.tolist(), VECTORS, strict=True) if number in allowed}
    best = sorted(expected, key=lambda number: -expected[number])[:3]
    assert similarity.tolist() == pytest.approx([expected[number] for number in best], abs=1e-6)
    assert [expected[number] for number in ids.tolist()] == pytest.approx(similarity.tolist(), abs=1e-6)
    assert set(ids.tolist()) <= set(allowed)


def test_an_empty_list_of_allowed_segments_finds_nothing(index):
    ids, similarity = index.nearest(VECTORS[0], 3, np.zeros(0, np.int64))
    assert (len(ids), len(similarity)) == (0, 0)
