"""The codes of `search.vectors.flat_codes` in an order in which one instruction compares 32 of them ("fast scan", André et al. 2015).

A scan takes half the time, but the codes cannot be mapped, and the scan takes no filter.
"""

import math
import mmap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from search.vectors.exact import Found, Mask, Vectors
from search.vectors.in_parts import in_parts

_CODES_PER_SHARD = 1 << 18  # threads take whole shards
_SPARE = 1.25  # so many more candidates are asked for than a filter is expected to leave


class FastCodes:
    """The codes of all vectors, in shards of `_CODES_PER_SHARD`. Several threads may search at once."""

    def __init__(self, shards: Callable[[], list[Any]]) -> None:
        self._shards = shards

    def candidates(self, rotated: Vectors, count: int, allowed: Mask | None) -> Found | None:
        """Slots, the `count` with the largest estimates among them, and their estimates; None if that needs a scan of the other codes.

        Args:
            rotated: float32 (E,), the query after the rotation of the codes.
            allowed: bool (M,), the slots that may be returned; None for all.
        """
        shards = self._shards()
        if not shards:
            return None
        num_slots = sum(int(shard.ntotal) for shard in shards)
        num_allowed = num_slots if allowed is None else int(np.count_nonzero(allowed))
        wanted = count if allowed is None else math.ceil(count * _SPARE * num_slots / max(1, num_allowed))

        def of_shards(first: int, last: int) -> list[tuple[Found, float]]:
            faiss.omp_set_num_threads(1)  # for this thread: those of OpenMP would spin and take the core from others
            return [_of_shard(shards[number], number * _CODES_PER_SHARD, rotated, wanted, allowed) for number in range(first, last)]

        found = [each for part in in_parts(of_shards, len(shards), 1) for each in part]
        slots, estimates = (np.concatenate(each) for each in zip(*(each for each, _ in found), strict=True))
        is_complete = estimates >= max(lowest for _, lowest in found)  # below, a shard may have more
        slots, estimates = slots[is_complete], estimates[is_complete]
        if len(slots) < min(count, num_allowed):
            return None
        return slots, estimates

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            writer = faiss.PyCallbackIOWriter(file.write)  # type: ignore[attr-defined]
            for shard in self._shards():
                faiss.write_index(shard, writer)
            del writer  # writes what it holds


class FastCodesBuilder:
    """Takes rotated vectors in the order of their slots."""

    def __init__(self, center: Any, width: int, query_bits: int) -> None:
        self._center, self._width, self._query_bits = center, width, query_bits
        self._shards: list[Any] = []

    def add(self, rotated: Vectors) -> None:
        """Add float32 (n, E)."""
        while len(rotated):
            if not self._shards or self._shards[-1].ntotal == _CODES_PER_SHARD:
                shard = faiss.IndexRaBitQFastScan(self._width, faiss.METRIC_INNER_PRODUCT)
                shard.center, shard.qb, shard.is_trained = self._center, self._query_bits, True
                self._shards.append(shard)
            room = _CODES_PER_SHARD - self._shards[-1].ntotal
            self._shards[-1].add(np.ascontiguousarray(rotated[:room]))
            rotated = rotated[room:]

    def finish(self) -> FastCodes:
        return FastCodes(lambda: self._shards)


def _of_shard(shard: Any, start: int, rotated: Vectors, wanted: int, allowed: Mask | None) -> tuple[Found, float]:
    """The best `wanted` of a shard without those that the filter drops, and the lowest estimate of them all."""
    estimates, slots = (each[0] for each in shard.search(rotated[None], min(wanted, shard.ntotal)))
    lowest = -math.inf if wanted >= shard.ntotal else float(estimates[-1])
    slots = slots + start
    if allowed is not None:
        slots, estimates = slots[allowed[slots]], estimates[allowed[slots]]
    return (slots, estimates), lowest


def open_fast_codes(file: Path, vectors: Vectors) -> FastCodes:
    """Opens the file, which may be removed afterwards, and reads it at the first search: many readers never search.

    Raises OSError, ValueError if it is missing or empty.
    """
    with file.open("rb") as stream:
        return FastCodes(_Stored(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), vectors.shape))


class _Stored:
    """The shards of a file; none if it is damaged, or not of vectors of this shape."""

    def __init__(self, content: mmap.mmap, shape: tuple[int, ...]) -> None:
        self._content, self._shape, self._lock = content, shape, threading.Lock()
        self._shards: list[Any] | None = None

    def __call__(self) -> list[Any]:
        with self._lock:
            if self._shards is None:
                with self._content as content:
                    self._shards = _read(content, *self._shape)
        return self._shards


def _read(content: mmap.mmap, count: int, width: int) -> list[Any]:
    shards, size = [], len(content)
    try:
        while content.tell() < size:
            shards.append(faiss.read_index(faiss.PyCallbackIOReader(content.read)))  # type: ignore[attr-defined]
    except (RuntimeError, MemoryError):
        return []
    starts = range(0, count, _CODES_PER_SHARD)
    wanted = [(faiss.IndexRaBitQFastScan, min(_CODES_PER_SHARD, count - start), width) for start in starts]
    return shards if [(type(shard), int(shard.ntotal), int(shard.d)) for shard in shards] == wanted else []
