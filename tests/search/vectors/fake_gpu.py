"""The classes of FAISS for a GPU, by their counterparts on the CPU, with a limit of memory."""

from types import SimpleNamespace

import faiss


class FakeGpu:
    """Stands in for the module `faiss` in `search.vectors.on_gpu`. An allocation beyond `memory` bytes fails as on a GPU."""

    METRIC_INNER_PRODUCT, ScalarQuantizer = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer
    GpuIndexFlatConfig = GpuIndexIVFScalarQuantizerConfig = GpuIndexCagraConfig = SearchParametersCagra = StandardGpuResources = (
        SimpleNamespace
    )

    def __init__(self, memory=1 << 40):
        self.memory = memory

    def get_num_gpus(self):
        return 1

    def GpuIndexFlatIP(self, resources, width, config):  # noqa: N802 FAISS's name
        assert config.useFloat16
        return _Limited(self, faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT), 2 * width)

    def GpuIndexIVFScalarQuantizer(self, resources, width, num_lists, quantizer, metric, by_residual, config):  # noqa: N802 FAISS's name
        lists = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, num_lists, quantizer, metric, by_residual)
        return _Limited(self, lists, 2 * width)

    def GpuIndexCagra(self, resources, width, metric, config):  # noqa: N802 FAISS's name
        graph = faiss.IndexHNSWFlat(width, config.graph_degree // 2, metric)
        graph.hnsw.efSearch = 200
        return _Limited(self, graph, 4 * width, adds_when_trained=True)


class _Limited:
    def __init__(self, gpu, index, bytes_per_vector, *, adds_when_trained=False):
        vars(self).update(gpu=gpu, index=index, bytes_per_vector=bytes_per_vector, adds_when_trained=adds_when_trained)

    def __setattr__(self, name, value):
        setattr(self.index, name, value)

    def train(self, vectors):
        self.index.train(vectors)
        if self.adds_when_trained:
            self.add(vectors)

    def add(self, vectors):
        self._allocate(len(vectors) + self.index.ntotal)
        self.index.add(vectors)

    def __getattr__(self, name):
        return getattr(self.index, name)

    def search(self, vectors, k, params=None):
        assert params is None or params.itopk_size >= k
        self._allocate(self.index.ntotal)
        assert k <= 2048
        return self.index.search(vectors, k)

    def _allocate(self, num_vectors):
        if num_vectors * self.bytes_per_vector > self.gpu.memory:
            raise RuntimeError("Error in allocMemory: CUDA error 2 out of memory\nin StandardGpuResources.cpp")
