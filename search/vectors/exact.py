"""Exact cosines of vectors that lie in memory or in a mapped file, and the largest of them."""

import numpy as np
from numpy.typing import NDArray

from media.blas_threads import one_blas_thread
from search.vectors.in_parts import in_parts

_ROWS_AT_ONCE = 1 << 14
_ROWS_PER_THREAD = 1 << 13
_MANY = 2 * _ROWS_PER_THREAD
_FEW = 1 / 8  # of the vectors; to compute all cosines is faster than to copy more of them first

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]
Vectors = NDArray[np.float32]
Found = tuple[Slots, Vectors]


def dot(vectors: Vectors, vector: Vectors) -> Vectors:
    """float32 (n, E) and (E,) to (n,). OpenBLAS would divide it among threads that spin: 7 ms on a busy machine. Ours sleep.

    OpenBLAS rounds a vector in another way at another place, by 1e-7, and `einsum` does not, so few vectors have the same cosines anywhere.
    """
    if len(vectors) < _MANY:
        return np.einsum("ne,e->n", vectors, vector)
    cosines = np.empty(len(vectors), np.float32)

    def of_part(start: int, stop: int) -> None:
        np.dot(vectors[start:stop], vector, out=cosines[start:stop])

    with one_blas_thread:
        in_parts(of_part, len(vectors), _ROWS_PER_THREAD)
    return cosines


def dot_of(vectors: Vectors, slots: Slots, vector: Vectors) -> Vectors:
    """The cosines of some vectors, float32 (n,)."""
    if len(slots) > len(vectors) * _FEW:
        return dot(vectors, vector)[slots]

    def of_part(start: int, stop: int) -> Vectors:
        blocks = [slots[first : min(first + _ROWS_AT_ONCE, stop)] for first in range(start, stop, _ROWS_AT_ONCE)]
        return np.concatenate([np.zeros(0, np.float32), *(np.einsum("ne,e->n", vectors[block], vector) for block in blocks)])

    return np.concatenate(in_parts(of_part, len(slots), _ROWS_PER_THREAD))


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
