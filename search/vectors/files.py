"""The files of a `VectorIndex` in the folder of a snapshot.

vectors.npy    float32 (M1, E), the vectors of this snapshot or of an earlier one, whose file it shares
changes.npy    in the second case, float32 (M2, E): the vectors that changed since
slots.npy      int64 (N,): where the vector of each row stands in the two
codes.faiss    codes of all vectors, see `search.vectors.codes`; missing in a small collection
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from media.atomic_write import atomic_path
from search.vectors.vector_index import VectorIndex

VECTORS, CHANGES, SLOTS, CODES = "vectors.npy", "changes.npy", "slots.npy", "codes.faiss"
LEAST_FOR_CODES = 20_000  # with fewer vectors, exact search takes a millisecond or two


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
    with atomic_path(file) as path, path.open("wb") as stream:
        np.save(stream, slots)


def write_codes(folder: Path, earlier: Path | None) -> bool:
    """Write the codes of the vectors in a folder. Returns whether it did: a small collection needs none.

    Args:
        earlier: a folder with codes of the same `vectors.npy`, which are extended.
    """
    main, changes = _parts(folder)
    if len(main) + len(changes) < LEAST_FOR_CODES:
        return False
    from search.vectors.codes import build_codes, extend_codes  # imports faiss, which a small collection does not need

    if earlier is not None and (earlier / CODES).exists():
        codes = extend_codes(earlier / CODES, len(main), changes)
    else:
        codes = build_codes(np.concatenate([main, changes]) if len(changes) else main)
    with atomic_path(folder / CODES) as path:
        codes.write(path)
    return True


def open_index(folder: Path, *, has_codes: bool) -> VectorIndex:
    """Map the files into memory. Raises OSError, ValueError, RuntimeError if they are missing or damaged, or do not fit each other."""
    parts, slots, codes = _parts(folder), _mapped(folder / SLOTS), None
    if has_codes:
        from search.vectors.codes import read_codes

        codes = read_codes(folder / CODES)
    index = VectorIndex(parts, slots, codes)
    is_inside = not len(slots) or (slots.min() >= 0 and slots.max() < index.num_slots)
    if not is_inside or (codes is not None and len(codes) != index.num_slots):
        raise ValueError(f"{folder}: vectors, slots and codes do not fit each other")
    return index


def _parts(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    main = _mapped(folder / VECTORS)
    return main, _mapped(folder / CHANGES) if (folder / CHANGES).exists() else main[:0]


def _mapped(file: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(file, mmap_mode="r"))
    except EOFError as error:
        raise ValueError(f"{file}: empty") from error
