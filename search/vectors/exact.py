"""Exact cosines of vectors that lie in memory or in a mapped file, and the largest of them."""

import numpy as np
from numpy.typing import NDArray

from search.vectors.in_parts import in_parts

_LEAST_FOR_FAISS = 1 << 13  # vectors; to compare fewer takes less time than to import FAISS
_ROWS_PER_PART = 1 << 12

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]
Vectors = NDArray[np.float32]
Found = tuple[Slots, Vectors]


def dot(vectors: Vectors, vector: Vectors) -> Vectors:
    """The cosines of all vectors, float32 (n, E) and (E,) to (n,). Equal vectors have equal cosines (not so at widths below 16).

    Neither FAISS, as it is called here, nor `einsum` starts threads that spin and take the core from others, as OpenBLAS does.
    """
    _check_width(vectors, vector)
    if len(vectors) < _LEAST_FOR_FAISS:
        return np.einsum("ne,e->n", vectors, vector)
    import faiss

    vectors, vector, cosines = np.ascontiguousarray(vectors), np.ascontiguousarray(vector), np.empty(len(vectors), np.float32)

    def of_part(start: int, stop: int) -> None:
        pointers = (faiss.swig_ptr(each) for each in (cosines[start:stop], vector, vectors[start:stop]))
        faiss.fvec_inner_products_ny(*pointers, len(vector), stop - start)  # type: ignore[attr-defined]

    in_parts(of_part, len(vectors), _ROWS_PER_PART)
    return cosines


def dot_of(vectors: Vectors, slots: Slots, vector: Vectors) -> Vectors:
    """The cosines of some vectors, float32 (n,). Of a large array they are not copied first. Faster if the slots are sorted."""
    _check_width(vectors, vector)
    if slots.ndim != 1 or (len(slots) and not 0 <= slots.min() <= slots.max() < len(vectors)):  # FAISS would read beyond the end
        raise IndexError(f"There are no such slots among {len(vectors)} ({slots}).")
    if len(vectors) < _LEAST_FOR_FAISS:
        return np.einsum("ne,e->n", vectors[slots], vector)
    import faiss

    slots, vector, cosines = np.ascontiguousarray(slots), np.ascontiguousarray(vector), np.empty(len(slots), np.float32)

    def of_part(start: int, stop: int) -> None:
        faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
        pointers = (faiss.swig_ptr(each) for each in (cosines[start:stop], vector, vectors, slots[start:stop]))
        faiss.fvec_inner_products_by_idx(*pointers, len(vector), 1, stop - start)  # type: ignore[attr-defined]

    if len(slots):
        in_parts(of_part, len(slots), _ROWS_PER_PART)
    return cosines


def _check_width(vectors: Vectors, vector: Vectors) -> None:
    if vectors.shape[1:] != vector.shape:  # FAISS would read beyond the end
        raise ValueError(f"Vectors of shape {vectors.shape} cannot be compared with one of shape {vector.shape}.")


def nearest_of(vectors: Vectors, vector: Vectors, k: int, slots: Slots | None) -> Found:
    """The `k` vectors most similar to `vector`, best first, among some slots or all: slots int64 (n,), cosines float32 (n,)."""
    cosines = dot(vectors, vector) if slots is None else dot_of(vectors, slots, vector)
    best = largest(cosines, k)
    return (best if slots is None else slots[best]), cosines[best]


def some_of(vectors: Vectors, count: int) -> Vectors:
    """At most `count` of the vectors, spread evenly, contiguous in memory."""
    return np.ascontiguousarray(vectors[:: -(-len(vectors) // count)])


def largest(values: Vectors, count: int) -> Slots:
    """The positions of the `count` largest values, or of all, largest first."""
    first = max(0, len(values) - count)
    best = np.argpartition(values, first)[first:] if first else np.arange(len(values))
    return best[np.lexsort((best, -values[best]))]
