"""A collection made with an encoder on CUDA gives the same hits as one made on the CPU."""

import numpy as np
import pytest
import torch
from PIL import Image

from coca_model import load
from search.vectors.files import open_index
from search.vectors.kinds import GPU_KINDS

pytestmark = pytest.mark.gpu
QUERIES = ["a dog jumping into a lake", "a red car", "snow"]


def library(folder):
    """23 pictures of coarse noise, so the last batch is smaller."""
    folder.mkdir()
    for number in range(23):
        values = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(values).resize((112, 80), Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder


def test_searches_give_the_hits_of_a_collection_made_on_the_cpu(tmp_path, tiny_checkpoint):
    for package in ("lancedb", "faiss"):
        pytest.importorskip(package, reason=f"{package}, which indexing needs, is not installed")
    from indexer import IndexOptions, index
    from search import open_collection, search

    pictures, answers = library(tmp_path / "pictures"), {}
    for device in ("cpu", "cuda"):
        encoder, collection = load(tiny_checkpoint, device=device, dtype=torch.float32), tmp_path / device
        report = index([pictures], collection=collection, encoder=encoder, options=IndexOptions(workers=2, batch=8))
        assert (report.num_rows, len(report.failures)) == (23, 0)
        opened = open_collection(collection, encoder=encoder)
        answers[device] = [search(query, collection=opened, k=23) for query in (*QUERIES, pictures / "07.png")]
    for one, other in zip(answers["cuda"], answers["cpu"], strict=True):
        cosines = [{hit.uri: hit.similarity for hit in hits} for hits in (one, other)]
        assert cosines[0].keys() == cosines[1].keys()
        assert cosines[0] == pytest.approx(cosines[1], abs=1e-4)
        assert one[0].similarity == pytest.approx(max(cosines[1].values()), abs=1e-4)
    assert answers["cuda"][-1][0].uri.endswith("07.png")


@pytest.mark.parametrize("kind", GPU_KINDS)
@pytest.mark.parametrize("share", [None, 0.5, 0.001])
def test_an_index_finds_the_same_on_the_gpu_and_back_on_the_cpu(tmp_path, kind, share):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    if not hasattr(faiss, "GpuIndexCagra" if kind == "cagra" else "StandardGpuResources"):
        pytest.skip("FAISS is not built for this; the extra `gpu` installs one that is")
    from search.vectors.on_gpu import OnGpu, to_cpu, to_gpu
    from tests.search.vectors.written_index import unit_vectors, write

    around = unit_vectors(400, seed=1)[np.random.default_rng(2).integers(0, 400, 50_000)] + unit_vectors(50_000) / 2
    vectors = around / np.linalg.norm(around, axis=1, keepdims=True)
    on_cpu = open_index(tmp_path / "a", write(tmp_path / "a", vectors, np.arange(50_000)))
    moved = to_gpu(on_cpu, kind)
    assert isinstance(moved.main.finder, OnGpu)
    allowed = None if share is None else np.random.default_rng(3).random(50_000) < share
    recalls = []
    for query in unit_vectors(400, seed=1)[:50]:
        wanted = set(on_cpu.nearest(query, 10, allowed, exact=True)[0].tolist())
        positions, similarity = moved.nearest(query, 10, allowed)
        np.testing.assert_allclose(similarity, vectors[positions] @ query, atol=1e-5)
        recalls.append(len(wanted & set(positions.tolist())) / 10)
        assert to_cpu(moved).nearest(query, 10, allowed)[0].tolist() == on_cpu.nearest(query, 10, allowed)[0].tolist()
    assert np.mean(recalls) >= 0.95
