"""Every kind of index finds the rows that an exact ranking of the allowed vectors finds, also after changes."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.vectors import files, kinds, on_gpu
from search.vectors.files import open_index
from search.vectors.kinds import GPU_KINDS, IndexSettings
from tests.search.vectors.fake_gpu import FakeGpu
from tests.search.vectors.written_index import KINDS, unit_vectors, write, write_changed


@pytest.fixture(
    scope="module",
    params=itertools.product([*KINDS, *(f"gpu {kind}" for kind in GPU_KINDS)], ["one thread", "threads and changes"]),
    ids=", ".join,
)
def index(request, tmp_path_factory):
    """4,000 rows in an order of their own, and their vectors in the order of rows."""
    kind, threads = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
        for module in (kinds, files):
            patch.setattr(module, "LEAST_FOR_CODES", 200)
        patch.setattr("search.vectors.fast_codes._CODES_PER_SHARD", 1_500)
        if "threads" in threads:
            patch.setattr("search.vectors.flat_codes._CODES_PER_THREAD", 1_000)
            patch.setattr("search.vectors.exact_many._LEAST_ROWS", 1_000)
            patch.setattr("search.vectors.in_parts.num_cpus", lambda: 3)
            patch.setattr("search.vectors.exact._LEAST_FOR_FAISS", 1)
            patch.setattr("search.vectors.exact._ROWS_PER_PART", 100)
        vectors, slots, folder = unit_vectors(4_000), np.random.default_rng(1).permutation(4_000), tmp_path_factory.mktemp("snapshots")
        info = write(last := folder / "a", vectors, slots, KINDS.get(kind, IndexSettings()), unit_vectors(50, seed=9))
        if "changes" in threads:
            changed = unit_vectors(400, seed=2)
            slots = np.concatenate([slots[:3_700], 4_000 + np.random.default_rng(3).permutation(400)])
            write_changed(last := folder / "b", folder / "a", slots, changed, info)
            vectors = np.concatenate([vectors, changed])
        opened = open_index(last, info)
        if kind.startswith("gpu"):
            patch.setattr(on_gpu, "_gpu", FakeGpu())
            opened = on_gpu.to_gpu(opened, kind.split()[1])
            assert isinstance(opened.main.finder, on_gpu.OnGpu)
        else:
            assert (info.kind, info.has_fast_codes) == (kind.split(",")[0], "fast" in kind)
            assert info.recall is None if kind == "exact" else info.recall >= 0.98
        yield opened, vectors[slots]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    k=st.sampled_from([1, 10, 100, 500]),
    share=st.sampled_from([None, 1.0, 0.7, 0.5, 0.05, 0.001, 0.0]),
    num_queries=st.sampled_from([5, 20]),
)
def test_all_kinds_find_the_hits_of_exact_search(index, seed, k, share, num_queries):
    opened, vectors = index
    allowed = None if share is None else np.random.default_rng(seed).random(len(opened)) < share
    possible = np.arange(len(opened)) if allowed is None else np.flatnonzero(allowed)
    queries = unit_vectors(num_queries, seed=seed + 10_000)
    together = opened.nearest_of_many(queries, k, allowed)
    num_missed = num_wanted = 0
    for query, (positions_together, similarity_together) in zip(queries, together, strict=True):
        cosines = vectors @ query
        best = possible[np.argsort(-cosines[possible])][:k]
        for positions, similarity in (opened.nearest(query, k, allowed), (positions_together, similarity_together)):
            assert len(positions) == len(best)
            np.testing.assert_allclose(similarity, cosines[positions], atol=1e-6)
            assert (np.diff(similarity) <= 0).all()
            assert set(positions) <= set(possible)
            num_missed, num_wanted = num_missed + len(set(best) - set(positions)), num_wanted + len(best)
        exactly, similarity = opened.nearest(query, k, allowed, exact=True)
        np.testing.assert_allclose(similarity, cosines[best], atol=1e-6)
        assert len(set(exactly) & set(best)) >= len(best) - 1  # ties
    assert num_missed <= 2 + 0.05 * num_wanted  # one query of k 1 may miss its hit both times


@pytest.mark.parametrize("band", [(0, 0.2), (0, 0.5), (0.5, 0.75)])
@pytest.mark.parametrize("k", [1, 10, 400])
def test_a_filter_that_keeps_only_what_is_far_is_answered_as_by_exact_search(index, k, band):
    opened, vectors = index
    num_found = 0
    for query in unit_vectors(10, seed=20_000):
        cosines = vectors @ query
        lowest, highest = np.quantile(cosines, band)
        allowed = (cosines >= lowest) & (cosines <= highest)
        positions, similarity = opened.nearest(query, k, allowed)
        assert len(positions) == k
        assert allowed[positions].all()
        num_found += np.count_nonzero(similarity >= np.sort(cosines[allowed])[-k] - 1e-6)
    assert num_found >= (0.95 if k > 1 else 0.8) * 10 * k


def test_the_vectors_are_those_of_the_rows(index):
    opened, vectors = index
    positions = np.random.default_rng(6).integers(0, len(opened), 100)
    assert np.array_equal(opened.vectors(positions), vectors[positions])
