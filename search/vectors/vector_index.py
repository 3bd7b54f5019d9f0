"""Nearest neighbours by cosine among the rows of a snapshot.

Vectors stand in slots, in the order in which they were written, so a row that is added moves no other vector. Most rows share the slots
of an earlier snapshot. A slot without a row holds an outdated vector, and is never found.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.vectors.codes import Codes

# Measured with the embedded checkpoint on 45,000 pictures and 400 of their captions: the ten nearest pictures are among the best 400 by
# codes in 99.95 % of cases, and among the best 1,000 in all.
_LEAST_CANDIDATES = 1000
_CANDIDATES_PER_HIT = 4
_FEW_ROWS = 10_000  # the cosines of so many are computed sooner than the codes of a large collection are scanned
_ROWS_AT_ONCE = 1 << 14

Positions = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class VectorIndex:
    """The vectors of N rows, in M slots.

    Attributes:
        parts: float32 (M1, E) and (M2, E), M1 + M2 = M, mapped into memory, each row of L2 norm 1.
        slots: int64 (N,), the slot of each row.
        codes: of all slots; None in a small collection, which is searched exactly.
    """

    parts: tuple[Vectors, Vectors]
    slots: Positions
    codes: Codes | None = None

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def num_slots(self) -> int:
        return sum(map(len, self.parts))

    def nearest(
        self, vector: Vectors, k: int, allowed: NDArray[np.bool_] | None = None, *, exact: bool = False
    ) -> tuple[Positions, Vectors]:
        """The `k` rows most similar to `vector`, best first; fewer if there are fewer.

        Args:
            vector: float32 (E,), L2 norm 1.
            allowed: bool (N,), the rows that may be returned; None for all. A filter is applied before the search.
            exact: compute every cosine.

        Returns:
            positions int64 (n,) of rows, and their exact cosines float32 (n,), n = min(k, number of allowed rows).
        """
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, num_allowed)
        vector = np.ascontiguousarray(vector, np.float32)
        if k < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self.codes is None or exact or num_allowed <= max(_FEW_ROWS, k):
            rows = None if allowed is None else np.flatnonzero(allowed)
            cosines = self._all_cosines(vector, rows)
        else:
            count = max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k)
            slots = np.sort(self.codes.candidates(vector, count, self._slots_of(allowed)))  # so that memory is read in order
            rows, cosines = self._row_of_slot[slots], _dot(self._vectors_in(slots), vector)
        best = _largest(cosines, k)
        return (best if rows is None else rows[best]), cosines[best]

    def vectors(self, positions: Positions) -> Vectors:
        """The vectors of some rows, float32 (n, E)."""
        return self._vectors_in(self.slots[positions])

    def _vectors_in(self, slots: Positions) -> Vectors:
        main, changes = self.parts
        if not len(changes):
            return main[slots]
        found = main[np.minimum(slots, len(main) - 1)] if len(main) else np.empty((len(slots), main.shape[1]), np.float32)
        is_changed = slots >= len(main)
        found[is_changed] = changes[slots[is_changed] - len(main)]
        return found

    def _all_cosines(self, vector: Vectors, rows: Positions | None) -> Vectors:
        """The cosines of some rows; None for all."""
        if rows is not None and len(rows) <= len(self) // 8:
            blocks = (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))
            return np.concatenate([_dot(self.vectors(block), vector) for block in blocks])
        cosines = np.concatenate([_dot(part, vector) for part in self.parts])
        return cosines[self.slots if rows is None else self.slots[rows]]

    def _slots_of(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """The slots of the allowed rows, bool (M,); None for all of them."""
        if allowed is None:
            return None if len(self) == self.num_slots else self._row_of_slot >= 0
        return np.append(allowed, False)[self._row_of_slot]

    @cached_property
    def _row_of_slot(self) -> Positions:
        """The row of each slot, int64 (M,); -1 for an outdated vector."""
        rows = np.full(self.num_slots, -1, np.int64)
        rows[self.slots] = np.arange(len(self))
        return rows


def _dot(vectors: Vectors, vector: Vectors) -> Vectors:
    """float32 (n, E) and (E,) to (n,). Not `@`: the threads of OpenBLAS wait for each other by spinning, 7 ms on a busy machine."""
    found: Vectors = np.einsum("ne,e->n", vectors, vector)
    return found


def _largest(values: NDArray[np.float32], count: int) -> Positions:
    """The positions of the largest values, largest first, int64 (count,)."""
    best = np.argpartition(values, len(values) - count)[len(values) - count :]
    return best[np.lexsort((best, -values[best]))]
