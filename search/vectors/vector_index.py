"""Nearest neighbours by cosine among the rows of a snapshot.

Vectors stand in slots, in the order in which they were written, so a row that is added moves no other vector. Most rows share the slots
of an earlier snapshot. A slot without a row holds an outdated vector, and is never found.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.vectors.codes import Codes
from search.vectors.in_parts import in_parts

_LEAST_CANDIDATES = 400
_CANDIDATES_PER_HIT = 2
_MOST_CANDIDATES = 1 / 16  # of the vectors; with more, computing every cosine is faster
_MOST_HITS = 1 / 256  # of the vectors; the cosines of more hits lie so close together that nearly all vectors are candidates
_STANDARD_ERRORS = 2.6  # the error of an estimate is larger in one of 200 cases
_SAMPLE = 256  # vectors that tell how far estimates are off for a query
_FEW_ROWS = 10_000  # the cosines of so many are computed sooner than the codes of a large collection are scanned
_ROWS_AT_ONCE = 1 << 14
_ROWS_PER_THREAD = 1 << 13

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
        found = None
        if self.codes is not None and not exact and num_allowed > _FEW_ROWS and k <= self.num_slots * _MOST_HITS:
            found = self._best_by_codes(vector, k, self._slots_of(allowed))
        if found is None:
            rows = None if allowed is None else np.flatnonzero(allowed)
            cosines = self._all_cosines(vector, rows)
        else:
            rows, cosines = self._row_of_slot[found[0]], found[1]
        best = _largest(cosines, k)
        return (best if rows is None else rows[best]), cosines[best]

    def _best_by_codes(self, vector: Vectors, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Positions, Vectors] | None:
        """Slots that hold the `k` best, and their exact cosines; None if it is faster to compute every cosine.

        The k-th best cosine so far, minus the error of estimates, says how low an estimate may be that could still belong to a hit. More
        candidates are taken until there is none left. For a query that is similar to nothing, these would be many.
        """
        assert self.codes is not None
        bias, error, usual = self._errors_of_estimates(vector)
        count = max(_LEAST_CANDIDATES, _CANDIDATES_PER_HIT * k)
        while count <= self.num_slots * _MOST_CANDIDATES:
            slots, estimates = self.codes.candidates(vector, count, allowed)
            lowest = estimates[-1]
            slots = np.sort(slots)  # so that memory is read in order
            cosines = _dot(self._vectors_in(slots), vector)
            kth = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
            needed = kth - bias - _STANDARD_ERRORS * error
            if lowest <= needed or len(slots) < count:
                return slots, cosines
            count = max(4 * count, int(np.mean(usual >= needed) * self.num_slots))
        return None

    def _errors_of_estimates(self, vector: Vectors) -> tuple[float, float, Vectors]:
        """Mean and standard deviation of exact minus estimated cosines of a sample, and the estimates."""
        sample, codes = self._sample
        places, estimates = codes.candidates(vector, len(sample))
        errors = _dot(sample[places], vector) - estimates
        return float(errors.mean()), float(errors.std()), estimates

    @cached_property
    def _sample(self) -> tuple[Vectors, Codes]:
        assert self.codes is not None
        slots = np.unique(np.linspace(0, self.num_slots - 1, _SAMPLE).astype(np.int64))
        vectors = self._vectors_in(slots)
        return vectors, self.codes.with_vectors(vectors)

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
    parts = in_parts(lambda start, stop: np.einsum("ne,e->n", vectors[start:stop], vector), len(vectors), _ROWS_PER_THREAD)
    return np.concatenate(parts)


def _largest(values: NDArray[np.float32], count: int) -> Positions:
    """The positions of the largest values, largest first, int64 (count,)."""
    best = np.argpartition(values, len(values) - count)[len(values) - count :]
    return best[np.lexsort((best, -values[best]))]
