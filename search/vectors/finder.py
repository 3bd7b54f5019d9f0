"""What finds candidates among many vectors, so that few exact cosines are computed. One implementation for each kind of index."""

from typing import Protocol

import numpy as np

from search.vectors.exact import Found, Mask, Vectors


class Finder(Protocol):
    """Knows all vectors of one file. Several threads may call it at once.

    Attributes:
        beats_products: even many queries are answered faster one by one than by products of matrices with all vectors.
    """

    beats_products: bool

    def __len__(self) -> int:
        """The number of vectors."""
        ...

    def find(self, vector: Vectors, k: int, allowed: Mask | None) -> Found | None:
        """Slots that very probably hold the `k` best, in any order, and their exact cosines. There may be more than `k`.

        Args:
            vector: float32 (E,), L2 norm 1.
            allowed: bool (M,), the slots that may be returned; None for all.

        Returns:
            slots int64 (n,) and cosines float32 (n,); None if it is faster to compute every cosine.
        """
        ...


def none_found() -> Found:
    return np.zeros(0, np.int64), np.zeros(0, np.float32)
