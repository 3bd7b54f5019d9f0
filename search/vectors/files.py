"""The files of a `VectorIndex` in the folder of a snapshot.

vectors.npy    float32 (M1, E), the vectors of this snapshot or of an earlier one, whose files it shares
codes.faiss    codes of these, see `search.vectors.flat_codes`, or lists, see `search.vectors.inverted_lists`; missing in a small collection
fast_codes.faiss  codes for searches without a filter, see `search.vectors.fast_codes`; missing if memory is short
changes.npy    in a snapshot that shares files, float32 (M2, E): the vectors that changed since
changes.faiss  codes of these; missing if they are few
queries.npy    float32 (Q, E), typical queries, with which the recall is measured; missing without codes
slots.npy      int64 (N,): where the vector of each row stands in the two
"""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from media.atomic_write import atomic_path
from search.vectors.exact import Vectors, some_of
from search.vectors.finder import Finder
from search.vectors.kinds import LEAST_FOR_CODES, IndexInfo, IndexSettings, K
from search.vectors.vector_index import Part, VectorIndex

VECTORS, CODES, FAST_CODES, QUERIES = "vectors.npy", "codes.faiss", "fast_codes.faiss", "queries.npy"
CHANGES, CHANGES_CODES, SLOTS = "changes.npy", "changes.faiss", "slots.npy"
FILES_OF_MAIN = (VECTORS, CODES, FAST_CODES, QUERIES)
FILES = (*FILES_OF_MAIN, CHANGES, CHANGES_CODES, SLOTS)
_MOST_LISTS = 0.5  # of all; if more must be scanned for the recall, flat codes are faster
_MORE_LISTS = 1.25  # times as many, if the recall is not reached
_QUERIES_OF_ITS_OWN = 256  # vectors of the collection that are used as queries if there are no better ones


def write_vectors(batches: Iterable[pa.RecordBatch], count: int, embedding_width: int, file: Path) -> NDArray[np.int64]:
    """Write the column `vector` of batches in their order, in little memory. Returns their segment ids, int64 (count,)."""
    ids = [np.zeros(0, np.int64)]
    with atomic_path(file) as path, path.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, embedding_width)}
        np.lib.format.write_array_header_1_0(stream, header)
        for batch in batches:
            stream.write(batch.column("vector").flatten().to_numpy(zero_copy_only=False).astype("<f4", copy=False).tobytes())
            ids.append(batch.column("segment_id").to_numpy())
    return np.concatenate(ids)


def write_slots(slots: NDArray[np.int64], file: Path) -> None:
    _write_array(slots, file)


def _write_array(values: NDArray[Any], file: Path) -> None:
    with atomic_path(file) as path, path.open("wb") as stream:
        np.save(stream, values)


def write_main_index(folder: Path, settings: IndexSettings, typical_queries: Callable[[], Vectors | None]) -> IndexInfo:
    """Choose the kind of index for the vectors in a folder, write its files, and measure its recall.

    Args:
        typical_queries: returns float32 (Q, E); None if there are none, which leaves the recall unknown.
    """
    vectors = _mapped(folder / VECTORS)
    kind = settings.kind_for(len(vectors))
    if kind == "exact":
        return IndexInfo("exact", settings)
    queries = typical_queries()
    some = some_of(vectors, _QUERIES_OF_ITS_OWN) if queries is None else queries
    info = _write_lists(folder, vectors, settings, some) if kind == "lists" else None
    info = info or _write_flat(folder, vectors, settings, some)
    if queries is None:
        return info
    from search.vectors.recall import measure_recall

    def recall_over(queries: Vectors, info: IndexInfo) -> float:
        return measure_recall(Part(vectors, _finder(folder, vectors, info)), queries)

    _write_array(queries, folder / QUERIES)
    tested = queries
    if info.kind == "lists":  # these are tuned with the other queries
        tested = queries[1::2]
        while info.probes[K] < len(vectors) and recall_over(queries[::2], info) < settings.recall:
            info = replace(info, probes={rank: math.ceil(count * _MORE_LISTS) for rank, count in info.probes.items()})
    return replace(info, recall=round(recall_over(tested, info), 4), num_queries=len(tested))


def _write_flat(folder: Path, vectors: Vectors, settings: IndexSettings, queries: Vectors) -> IndexInfo:
    from search.vectors.flat_codes import measure_flat_codes, write_flat_codes  # imports faiss, which a small collection does not need

    has_fast = settings.allows_fast_codes(*vectors.shape)
    with atomic_path(folder / CODES) as path, atomic_path(folder / FAST_CODES) if has_fast else nullcontext() as fast_path:
        write_flat_codes(vectors, path, fast_path)
        error = measure_flat_codes(path, vectors, queries)
    return IndexInfo("flat", settings, has_fast, error=error)


def _write_lists(folder: Path, vectors: Vectors, settings: IndexSettings, queries: Vectors) -> IndexInfo | None:
    """Write lists. None if so many would have to be scanned for the recall that flat codes are faster."""
    from search.vectors.inverted_lists import measure_lists, write_inverted_lists

    with atomic_path(folder / CODES) as path:
        num_lists = write_inverted_lists(vectors, path)
        probes, error = measure_lists(path, vectors, queries[::2], settings.recall)
    is_worth = settings.kind == "lists" or probes[K] <= _MOST_LISTS * num_lists
    return IndexInfo("lists", settings, probes=probes, error=error) if is_worth else None


def write_changes_index(folder: Path, info: IndexInfo) -> None:
    """Write codes of the changed vectors in a folder, if they are many, and the main vectors have an index."""
    vectors = _mapped(folder / CHANGES)
    if info.kind != "exact" and len(vectors) >= LEAST_FOR_CODES:
        from search.vectors.flat_codes import write_flat_codes

        with atomic_path(folder / CHANGES_CODES) as path:
            write_flat_codes(vectors, path, None)


def open_index(folder: Path, info: IndexInfo) -> VectorIndex:
    """Map the files into memory. Raises an error of any type if they are missing or damaged, or do not fit each other."""
    vectors, slots = _mapped(folder / VECTORS), _mapped(folder / SLOTS, np.int64, 1)
    main, changes = Part(vectors, _finder(folder, vectors, info)), Part(vectors[:0])
    if (folder / CHANGES).exists():
        changed = _mapped(folder / CHANGES)
        has_codes = (folder / CHANGES_CODES).exists()
        changes = Part(changed, _flat_codes(folder / CHANGES_CODES, changed, None, info) if has_codes else None)
    queries = _mapped(folder / QUERIES) if (folder / QUERIES).exists() else None
    index = VectorIndex(main, changes, slots, queries)
    is_inside = not len(slots) or (slots.min() >= 0 and slots.max() < index.num_slots)
    widths = {each.shape[1] for each in (main.vectors, changes.vectors, queries) if each is not None}
    if not is_inside or len(widths) > 1:
        raise ValueError(f"{folder}: vectors and slots do not fit each other")
    return index


def _finder(folder: Path, vectors: Vectors, info: IndexInfo) -> Finder | None:
    if info.kind == "exact":
        return None
    if info.kind == "flat":
        return _flat_codes(folder / CODES, vectors, folder / FAST_CODES if info.has_fast_codes else None, info)
    from search.vectors.inverted_lists import read_inverted_lists

    return read_inverted_lists(folder / CODES, vectors, info.probes, info.error, info.settings.recall)


def _flat_codes(file: Path, vectors: Vectors, fast_file: Path | None, info: IndexInfo) -> Finder:
    from search.vectors.flat_codes import read_flat_codes  # imports faiss, which a small collection does not need

    return read_flat_codes(file, vectors, fast_file, info.error, info.settings.recall)


def _mapped(file: Path, dtype: type = np.float32, ndim: int = 2) -> NDArray[Any]:
    values = np.asarray(np.lib.format.open_memmap(file, mode="r"))
    if values.dtype != dtype or values.ndim != ndim or not values.flags.c_contiguous:
        raise ValueError(f"{file}: unexpected content ({values.dtype}, {values.ndim} dimensions)")
    return values
