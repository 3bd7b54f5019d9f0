"""Recall@10 of an index against exact search, by sentences as people type them.

Vectors of the collection itself would be easier queries: those of other pictures lie close to them, and all pictures are far from a text.
"""

from itertools import product

import numpy as np

from search.vectors.exact import Vectors
from search.vectors.exact_many import nearest_of_many
from search.vectors.kinds import K
from search.vectors.vector_index import Part

_WHO = (
    "a dog",
    "children",
    "a woman with glasses",
    "friends",
    "a cake",
    "a red car",
    "flowers",
    "a drawing",
    "a screenshot",
    "a map",
    "food",
    "a house",
)
_WHERE = ("on the beach", "in the snow", "at night", "in a kitchen", "from above", "close up", "in the city", "on a table")
SENTENCES = tuple(f"{who} {where}" for who, where in product(_WHO, _WHERE))


def measure_recall(part: Part, queries: Vectors) -> float:
    """The share of the exact nearest 10 that an index finds, over queries, float32 (Q, E), Q > 0."""
    exact = nearest_of_many(part.vectors, queries, K)
    shares = []
    for query, (right, _) in zip(queries, exact, strict=True):
        slots, cosines = part.find(query, K, None)
        shares.append(len(set(right.tolist()) & set(slots[np.argsort(-cosines)][:K].tolist())) / len(right))
    return float(np.mean(shares))
