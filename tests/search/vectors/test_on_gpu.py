"""A GPU that has too little memory, or is not there. `test_vector_index` compares the hits, and tests/gpu runs on a GPU."""

import faiss
import numpy as np
import pytest

from search import open_collection, search
from search.errors import QueryError
from search.vectors import on_gpu
from search.vectors.files import open_index
from search.vectors.kinds import GPU_KINDS
from search.vectors.on_gpu import OnGpu, to_cpu, to_gpu
from tests.fakes import FakeEncoder
from tests.search.collection.test_publish import Writing
from tests.search.vectors.fake_gpu import FakeGpu
from tests.search.vectors.written_index import WIDTH, unit_vectors, write


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setattr("search.vectors.vector_index._FEW_ROWS", 50)
    vectors = unit_vectors(4_000)
    return open_index(tmp_path / "a", write(tmp_path / "a", vectors, np.arange(4_000)))


@pytest.mark.parametrize("kind", GPU_KINDS)
def test_an_index_that_does_not_fit_stays_on_the_cpu_and_says_so_in_one_line(index, monkeypatch, kind):
    monkeypatch.setattr(on_gpu, "_gpu", FakeGpu(memory=4_000 * WIDTH))
    with pytest.warns(UserWarning, match=r"^The GPU cannot hold the search index \(.*out of memory\)\. The CPU searches\.$"):
        assert to_gpu(index, kind) is index


@pytest.mark.parametrize("kind", GPU_KINDS)
def test_the_cpu_goes_on_if_the_memory_ends_during_a_search(index, monkeypatch, kind):
    monkeypatch.setattr(on_gpu, "_gpu", gpu := FakeGpu())
    moved = to_gpu(index, kind)
    before = moved.nearest(unit_vectors(1, seed=3)[0], 5)
    gpu.memory = 0
    with pytest.warns(UserWarning, match="The CPU searches"):
        after = moved.nearest(unit_vectors(1, seed=3)[0], 5)
    again = moved.nearest(unit_vectors(1, seed=3)[0], 5)  # no second warning
    assert before[0].tolist() == after[0].tolist() == again[0].tolist()


def test_an_index_moves_to_the_gpu_and_back(index, monkeypatch):
    monkeypatch.setattr(on_gpu, "_gpu", FakeGpu())
    moved = to_gpu(index, "flat")
    assert isinstance(moved.main.finder, OnGpu)
    assert to_cpu(moved).main.finder is index.main.finder
    assert to_cpu(index) is index


def test_without_a_gpu_the_reason_is_given(index, monkeypatch):
    if not hasattr(faiss, "StandardGpuResources"):
        with pytest.raises(QueryError, match="not built for a GPU"):
            to_gpu(index, "flat")
    monkeypatch.setattr(on_gpu, "_gpu", gpu := FakeGpu())
    with pytest.raises(QueryError, match="Unknown kind"):
        to_gpu(index, "hnsw")
    monkeypatch.setattr(gpu, "get_num_gpus", lambda: 0)
    with pytest.raises(QueryError, match="no GPU"):
        to_gpu(index, "flat")


def test_a_collection_is_searched_on_the_gpu(tmp_path, monkeypatch):
    writing = Writing(tmp_path / "collection")
    writing.put(range(60))
    monkeypatch.setattr("search.vectors.vector_index._FEW_ROWS", 5)
    monkeypatch.setattr(on_gpu, "_gpu", FakeGpu())
    on_cpu, reader = (open_collection(tmp_path / "collection", encoder=FakeEncoder(), gpu=gpu) for gpu in (None, "flat"))
    assert isinstance(reader.snapshot.index.main.finder, OnGpu)
    for collection in (on_cpu, reader):
        assert len(search("red", collection=collection, k=7)) == 7
    wanted, found = ([hit.segment_id for hit in search("red", collection=each, k=7)] for each in (on_cpu, reader))
    assert found == wanted
    writing.put(range(90, 100))
    assert reader.refresh()
    assert isinstance(reader.snapshot.index.main.finder, OnGpu)
