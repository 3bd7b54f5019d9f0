"""FAISS: the only file of the search engine that imports faiss. An index is a cache of the vectors in Lance.

The index returns segment ids, never positions, so vectors and rows cannot be mixed up.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class VectorIndex:
    """Exact nearest neighbours by cosine over the segments of one version of a collection."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def embedding_width(self) -> int:
        return int(self._index.d)

    def nearest(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `k` segments most similar to `vector`, best first; fewer if there are fewer.

        Args:
            vector: float32 (E,), L2 norm 1.
            allowed: int64 (S,), the only segment ids that may be returned; a filter is applied before the search.

        Returns:
            segment ids int64 (n,) and cosines float32 (n,), n <= k.
        """
        k = min(k, len(self) if allowed is None else len(allowed))
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        faiss.omp_set_num_threads(1)  # for this thread: two threads take over twice as long for one query
        query = vector[None].astype(np.float32)
        if allowed is None:
            similarity, ids = self._index.search(query, k)
            found = ids[0] >= 0
            return ids[0][found], similarity[0][found]
        # FAISS visits only the positions of an IDSelectorArray. A selector of ids would look up every id of the index in a hash table.
        selector = faiss.IDSelectorArray(self._positions(allowed))
        flat = faiss.downcast_index(self._index.index)  # type: ignore[attr-defined]
        similarity, positions = flat.search(query, k, params=faiss.SearchParameters(sel=selector))  # type: ignore[call-arg]
        found = positions[0] >= 0
        return self.ids()[positions[0][found]], similarity[0][found]

    def _positions(self, segment_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions in the index of the segments that it contains, int64 (n,), rising, so that memory is read in order."""
        sorted_ids, order = self._order
        ranks = np.minimum(np.searchsorted(sorted_ids, segment_ids), len(order) - 1)
        return np.sort(order[ranks[sorted_ids[ranks] == segment_ids]])

    @cached_property
    def _order(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The segment ids in rising order, and the position of each in the index, int64 (N,)."""
        order = np.argsort(self.ids())
        return self.ids()[order], order

    @property
    def sorted_ids(self) -> NDArray[np.int64]:
        """All segment ids in rising order, int64 (n,)."""
        return self._order[0]

    def ids(self) -> NDArray[np.int64]:
        """All segment ids in the index, int64 (n,)."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), dtype=np.int64)  # type: ignore[attr-defined]

    def vectors(self) -> NDArray[np.float32]:
        """All vectors in the order of `ids`, float32 (n, E), without a copy."""
        flat: Any = faiss.downcast_index(self._index.index)  # type: ignore[attr-defined]
        if not len(self):
            return np.zeros((0, self.embedding_width), np.float32)
        return np.asarray(faiss.rev_swig_ptr(flat.get_xb(), len(self) * self.embedding_width).reshape(len(self), -1))

    def replace(self, segment_ids: NDArray[np.int64], changes: "VectorIndex") -> None:
        """Keep only the given segments, and take the vectors of `changes` for those that it has. Call it before the first search."""
        own = self.ids()
        stale = own[~np.isin(own, segment_ids) | np.isin(own, changes.ids())]
        if len(stale):
            self._index.remove_ids(faiss.IDSelectorBatch(stale))
        if len(changes):
            self._index.add_with_ids(np.ascontiguousarray(changes.vectors()), changes.ids())

    def write(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))


def build_index(batches: Iterable[pa.RecordBatch], embedding_width: int) -> VectorIndex:
    """Build the index from batches with the columns `segment_id` and `vector`. Needs little memory beside the index."""
    index = faiss.IndexIDMap(faiss.IndexFlatIP(embedding_width))
    for batch in batches:
        vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, embedding_width)
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), batch.column("segment_id").to_numpy())
    return VectorIndex(index)


def read_index(path: Path) -> VectorIndex:
    """Raises RuntimeError if the file is missing or damaged."""
    return VectorIndex(faiss.read_index(str(path)))
