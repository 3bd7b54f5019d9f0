"""Search on a GPU, if FAISS is built for CUDA: `pip install coca-search[gpu]`.

The GPU finds candidates among a copy of the vectors; their exact cosines are computed from the mapped file, as for other kinds of index.
The index on the CPU stays, and answers what the GPU cannot: narrow filters, very many hits, and everything if the GPU's memory ends.
"""

import math
import threading
import warnings
from dataclasses import replace
from typing import Any

import faiss
import numpy as np

from search.errors import QueryError
from search.vectors.exact import Found, Mask, Vectors, dot_of, some_of
from search.vectors.finder import Finder
from search.vectors.inverted_lists import MOST_PER_LIST, num_lists_of
from search.vectors.kinds import GPU_KINDS, GpuKind
from search.vectors.recall import measure_recall
from search.vectors.vector_index import VectorIndex

_gpu: Any = faiss  # most names exist only in the build for CUDA

_LEAST_CANDIDATES = 64
_CANDIDATES_PER_HIT = 2
_SPARE = 1.25  # so many more candidates are asked for than a filter is expected to leave
_MOST_CANDIDATES = 2048  # of FAISS on a GPU
_ROWS_AT_ONCE = 1 << 18
_FIRST_PROBED = 1 / 128  # of the lists of "ivf"; twice as many until the recall is reached
_QUERIES_OF_ITS_OWN = 64  # vectors of the collection that are used as queries if there are no better ones
_DEGREE = 64  # of the graph of "cagra"
_MOST_OF_GRAPH = 512  # candidates of "cagra"


class OnGpu:
    """An index on a GPU, and the one on the CPU beside it. Implements `search.vectors.finder.Finder`.

    Args:
        kind, index: a FAISS index of all vectors, by inner product.
        vectors: float32 (M, E), the same vectors.
        on_cpu: answers what the GPU cannot; None if that is computed exactly.
    """

    beats_products = True

    def __init__(self, kind: GpuKind, index: Any, vectors: Vectors, on_cpu: Finder | None) -> None:
        self.on_cpu = on_cpu
        self._kind, self._index, self._vectors = kind, index, vectors
        self._most = _MOST_OF_GRAPH if kind == "cagra" else _MOST_CANDIDATES
        self._lock = threading.Lock()  # FAISS allows one call at a time to a GPU

    def __len__(self) -> int:
        return len(self._vectors)

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found | None:
        share = 1.0 if allowed is None else np.count_nonzero(allowed) / len(allowed) / _SPARE
        count = math.ceil(min(len(self), max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k) / max(share, 1e-9)))
        slots = self._candidates(vector, count) if count <= self._most else None
        if slots is not None:
            slots = np.sort(slots if allowed is None else slots[allowed[slots]])
        if slots is None or len(slots) < k:
            return None if self.on_cpu is None else self.on_cpu.find(vector, k, allowed)
        return slots, dot_of(self._vectors, slots, vector)

    def _candidates(self, vector: Vectors, count: int) -> Any:
        """Slots of the nearest vectors; None if the GPU has no memory left."""
        with self._lock:
            if self._index is None:
                return None
            try:
                params = None
                if self._kind == "cagra":
                    params = _gpu.SearchParametersCagra()
                    params.itopk_size = max(2 * _DEGREE, 32 * math.ceil(count / 16))
                slots = self._index.search(vector[None], count, params=params)[1][0]
            except RuntimeError as error:
                self._index = None
                warnings.warn(_fallback(error), stacklevel=2)
                return None
        return slots[(slots >= 0) & (slots < len(self))]


def to_gpu(index: VectorIndex, kind: GpuKind, *, recall: float = 0.98, device: int = 0) -> VectorIndex:
    """The index with its main vectors on a GPU; unchanged, with a warning of one line, if they do not fit its memory.

    Args:
        kind: "flat", all vectors in float16; "ivf", lists of them, of which as many are scanned as the recall needs; "cagra", a graph of
            the vectors in float32.
        recall: the least recall@10 of "ivf", over the queries of the index.
        device: the number of the GPU.

    Raises:
        QueryError: there is no GPU, FAISS is not built for one, or it does not know the kind.
    """
    check_gpu(kind)
    vectors = index.main.vectors
    if not len(vectors):
        return index
    try:
        on_gpu = _build(kind, vectors, device)
        moved = replace(index.main, finder=OnGpu(kind, on_gpu, vectors, index.main.finder))
        if kind == "ivf":
            queries = some_of(vectors, _QUERIES_OF_ITS_OWN) if index.queries is None else index.queries
            while measure_recall(moved, queries) < recall and on_gpu.nprobe < on_gpu.nlist:
                on_gpu.nprobe = min(2 * on_gpu.nprobe, on_gpu.nlist)
    except (RuntimeError, MemoryError) as error:
        warnings.warn(_fallback(error), stacklevel=2)
        return index
    return replace(index, main=moved)


def to_cpu(index: VectorIndex) -> VectorIndex:
    """The index without the GPU."""
    finder = index.main.finder
    return replace(index, main=replace(index.main, finder=finder.on_cpu)) if isinstance(finder, OnGpu) else index


def check_gpu(kind: GpuKind) -> None:
    """Raises QueryError if there is no GPU for this kind of index."""
    if kind not in GPU_KINDS:
        raise QueryError(f"Unknown kind of index on a GPU ({kind}). Allowed: {', '.join(GPU_KINDS)}.")
    name = "GpuIndexCagra" if kind == "cagra" else "StandardGpuResources"
    if not hasattr(_gpu, name):
        raise QueryError(f"FAISS here is not built for a GPU, or not for {kind}. Install: pip install coca-search[gpu]")
    if not _gpu.get_num_gpus():
        raise QueryError("FAISS finds no GPU on this machine.")


def _build(kind: GpuKind, vectors: Vectors, device: int) -> Any:
    resources, width = _gpu.StandardGpuResources(), vectors.shape[1]
    if kind == "cagra":
        config = _gpu.GpuIndexCagraConfig()
        config.device, config.graph_degree, config.intermediate_graph_degree = device, _DEGREE, 2 * _DEGREE
        graph = _gpu.GpuIndexCagra(resources, width, faiss.METRIC_INNER_PRODUCT, config)
        graph.train(np.ascontiguousarray(vectors))
        return graph
    if kind == "flat":
        config = _gpu.GpuIndexFlatConfig()
        config.device, config.useFloat16 = device, True
        index = _gpu.GpuIndexFlatIP(resources, width, config)
    else:
        config = _gpu.GpuIndexIVFScalarQuantizerConfig()
        config.device = device
        num_lists = num_lists_of(len(vectors))
        half = faiss.ScalarQuantizer.QT_fp16
        index = _gpu.GpuIndexIVFScalarQuantizer(resources, width, num_lists, half, faiss.METRIC_INNER_PRODUCT, True, config)
        index.nprobe = math.ceil(num_lists * _FIRST_PROBED)
        index.train(some_of(vectors, num_lists * MOST_PER_LIST))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
    return index


def _fallback(error: Exception) -> str:
    """One line. FAISS reports an allocation that fails in many."""
    return f"The GPU cannot hold the search index ({(str(error).splitlines() or [repr(error)])[0][:200]}). The CPU searches."
