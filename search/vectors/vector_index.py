"""Nearest neighbours by cosine among the rows of a snapshot.

Vectors stand in slots, in the order in which they were written, so a row that is added moves no other vector. Most rows share the slots
of an earlier snapshot. A slot without a row holds an outdated vector, and is never found.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.vectors.exact import Found, Mask, Slots, Vectors, largest, nearest_of
from search.vectors.exact_many import nearest_of_many
from search.vectors.finder import Finder, none_found

_FEW_ROWS = 10_000  # the cosines of so many are computed sooner than a large index is searched
_MANY_QUERIES = 16  # a product of matrices takes less time than so many searches by an index

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """The vectors of one file, float32 (M, E) mapped into memory, each of L2 norm 1, and what finds candidates among them.

    A small part has no finder, and is searched exactly.
    """

    vectors: Vectors
    finder: Finder | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found:
        """The `k` best slots, by the finder if that is faster, and perhaps others. Arguments as those of `Finder.find`."""
        found = self.finder.find(vector, k, allowed) if self.finder is not None else None
        return found or self.find_exactly(vector, k, None if allowed is None else np.flatnonzero(allowed))

    def find_exactly(self, vector: Vectors, k: int, slots: Slots | None) -> Found:
        """The `k` best among some slots; None for all."""
        return nearest_of(self.vectors, vector, k, slots) if len(self) else none_found()


@dataclass(frozen=True)
class VectorIndex:
    """The vectors of N rows, in M slots.

    Attributes:
        main: the vectors of the first M1 slots.
        changes: those of the other slots: rows that changed since `main` was written.
        slots: int64 (N,), the slot of each row.
        queries: float32 (Q, E), typical queries, to measure recall; None if there are none.
    """

    main: Part
    changes: Part
    slots: Slots
    queries: Vectors | None = None

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def num_slots(self) -> int:
        return len(self.main) + len(self.changes)

    def nearest(self, vector: Vectors, k: int, allowed: Mask | None = None, *, exact: bool = False) -> tuple[Positions, Vectors]:
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
        if k < 1:
            return none_found()
        vector, split = np.ascontiguousarray(vector, np.float32), len(self.main)
        parts = self.main, self.changes
        if exact or num_allowed <= _FEW_ROWS:
            found = [part.find_exactly(vector, k, slots) for part, slots in zip(parts, self._slots_of(allowed), strict=True)]
        else:
            mask = self._mask_of(allowed)
            masks = (None, None) if mask is None else (mask[:split], mask[split:])
            found = [part.find(vector, k, each) for part, each in zip(parts, masks, strict=True)]
        return self._best(k, *found)

    def nearest_of_many(
        self, vectors: Vectors, k: int, allowed: Mask | None = None, *, exact: bool = False
    ) -> list[tuple[Positions, Vectors]]:
        """`nearest` for each of many queries, float32 (Q, E), by products of matrices unless an index is faster."""
        finder = None if exact else self.main.finder
        if finder is not None and (finder.beats_products or len(vectors) < _MANY_QUERIES):
            return [self.nearest(vector, k, allowed) for vector in vectors]
        mask = self._mask_of(allowed)
        split = len(self.main)
        main = nearest_of_many(self.main.vectors, vectors, k, None if mask is None else mask[:split])
        changes = nearest_of_many(self.changes.vectors, vectors, k, None if mask is None else mask[split:])
        return [self._best(k, *both) for both in zip(main, changes, strict=True)]

    def _best(self, k: int, main: Found, changes: Found) -> tuple[Positions, Vectors]:
        """The rows of the best `k` of what was found in both parts, best first."""
        slots, cosines = np.concatenate([main[0], changes[0] + len(self.main)]), np.concatenate([main[1], changes[1]])
        best = largest(cosines, k)
        return self._row_of_slot[slots[best]], cosines[best]

    def vectors(self, positions: Positions) -> Vectors:
        """The vectors of some rows, float32 (n, E)."""
        slots = self.slots[positions]
        if not len(self.changes):
            return self.main.vectors[slots]
        found = np.empty((len(slots), self.main.vectors.shape[1]), np.float32)
        is_changed = slots >= len(self.main)
        found[~is_changed] = self.main.vectors[slots[~is_changed]]
        found[is_changed] = self.changes.vectors[slots[is_changed] - len(self.main)]
        return found

    def _slots_of(self, allowed: Mask | None) -> tuple[Slots | None, Slots | None]:
        """The slots of the allowed rows in each part; None for all of a part."""
        if allowed is not None and np.count_nonzero(allowed) <= _FEW_ROWS:
            slots = np.sort(self.slots[np.flatnonzero(allowed)])  # so that memory is read in order
        else:
            mask = self._mask_of(allowed)
            if mask is None:
                return None, None
            slots = np.flatnonzero(mask)
        first = np.searchsorted(slots, len(self.main))
        return slots[:first], slots[first:] - len(self.main)

    def _mask_of(self, allowed: Mask | None) -> Mask | None:
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
