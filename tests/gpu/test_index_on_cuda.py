"""A collection made with an encoder on CUDA gives the same hits as one made on the CPU."""

import numpy as np
import pytest
import torch
from PIL import Image

from coca_model import load

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


def test_a_flat_index_gives_the_same_hits_on_the_gpu_and_back_on_the_cpu():
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this is faiss-cpu; the extra `gpu` installs faiss-gpu-cu12")
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20_000, 384)).astype(np.float32)
    faiss.normalize_L2(vectors)
    flat = faiss.IndexFlatIP(384)
    flat.add(vectors)
    cosines, rows = flat.search(vectors[:50], 10)
    on_gpu = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
    for index in (on_gpu, faiss.index_gpu_to_cpu(on_gpu)):
        found_cosines, found = index.search(vectors[:50], 10)
        np.testing.assert_allclose(found_cosines, cosines, atol=1e-4)
        assert (found == rows).mean() > 0.99  # ties
