"""FAISS: the only file that imports faiss. A cache of the vectors in Lance; deleting it loses nothing.

The index answers with segment ids, never with positions, so that nothing can slip out of line with its row.
"""

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from media.atomic_write import atomic_path
from search.lance_tables import LanceTable


class VectorIndex:
    """Exact nearest neighbours by cosine over the segments of one version of a collection."""

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def nearest(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `k` segments most like `vector`, best first; fewer where there are fewer.

        Args:
            vector: float32 (E,), L2 norm 1.
            allowed: int64 (S,), the only segment ids that may be returned; a filter is applied before the search.

        Returns:
            segment ids int64 (n,) and cosines float32 (n,), n <= k.
        """
        k = min(k, len(self) if allowed is None else len(allowed))
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        parameters = None
        if allowed is not None:
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.ascontiguousarray(allowed)))  # type: ignore[call-arg]
        similarity, ids = self._index.search(vector[None].astype(np.float32), k, params=parameters)
        found = ids[0] >= 0
        return ids[0][found], similarity[0][found]

    def ids(self) -> NDArray[np.int64]:
        """All segment ids in the index, int64 (n,)."""
        return np.asarray(faiss.vector_to_array(self._index.id_map), dtype=np.int64)  # type: ignore[attr-defined]


def build_index(table: LanceTable, embedding_width: int) -> VectorIndex:
    """Build the index from the version of the table that is being read, in bounded memory beside the index itself."""
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(embedding_width))
    for batch in table.batches(["segment_id", "vector"]):
        vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, embedding_width)
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), batch.column("segment_id").to_numpy())
    return VectorIndex(index)


def index_for(table: LanceTable, folder: Path, embedding_width: int) -> VectorIndex:
    """The index of the table's version: read from `folder` where it is whole, else built, and kept there if that is possible."""
    file = folder / f"{table.version}.index"
    count = table.count()
    if file.is_file():
        try:
            index = faiss.read_index(str(file))
            if index.ntotal == count and index.d == embedding_width:
                return VectorIndex(index)
        except RuntimeError:
            pass  # damaged: a cache is made anew
    built = build_index(table, embedding_width)
    _keep(built, file)
    return built


def _keep(built: VectorIndex, file: Path) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        with atomic_path(file) as partial:
            faiss.write_index(built._index, str(partial))
        for old in file.parent.glob("*.index"):
            if old != file:
                old.unlink(missing_ok=True)
    except (OSError, RuntimeError):
        pass  # a read-only collection: searching works all the same
