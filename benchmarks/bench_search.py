"""Milliseconds of a search over a large synthetic collection, against exact ranking in memory with NumPy. `make bench`.

Two levels. Ranking: the index alone against NumPy over the same vectors. Search: `search()`, which filters in Lance, ranks, and
reads the rows of the hits from disk, against all vectors and rows kept in memory in NumPy and Arrow; words go through the text
tower on both sides. Exact ranking in memory is what a program without a collection would do. The last line printed is one
JSON document.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.result import Result, print_result, threads
from benchmarks.same_hits import check_same
from benchmarks.side_by_side import latency, ratio, seconds_of_each
from benchmarks.synthetic_collection import WIDE, queries, words, write_collection
from coca_model import load
from search import Collection, open_collection, search
from search.schema import KINDS

ROWS, CALLS, K = 100_000, 120, 20
SMALL_ROWS, SMALL_CALLS = 2_000, 8
CHECKED = 20  # queries whose hits are compared first
Vector = NDArray[np.float32]
Sides = dict[str, Callable[[Any], Any]]


class InMemory:
    """The other side: vectors and rows in memory, every cosine computed, the best sorted."""

    def __init__(self, collection: Collection) -> None:
        ids, self.vectors = collection.snapshot.vectors(KINDS)
        self.rows = pa.Table.from_pylist(collection.snapshot.rows(ids))
        self.ids = self.rows["segment_id"].to_numpy()
        self.width = self.rows["width"].to_numpy()
        self.encoder = collection.encoder

    def wide(self) -> NDArray[np.int64]:
        """The positions that the filter keeps."""
        return np.flatnonzero(self.width >= 6000)

    def nearest(self, vector: Vector, among: NDArray[np.int64] | None = None) -> tuple[NDArray[np.int64], Vector]:
        """Positions and cosines of the K best."""
        cosines = (self.vectors if among is None else self.vectors[among]) @ vector
        best = np.argpartition(-cosines, K)[:K]
        best = best[np.argsort(-cosines[best])]
        return best if among is None else among[best], cosines[best]

    def search(self, query: str | Vector, *, filtered: bool) -> list[dict[str, Any]]:
        """Rows of the K best, with their cosines."""
        vector = self.encoder.encode_texts([query])[0] if isinstance(query, str) else query
        best, cosines = self.nearest(vector, self.wide() if filtered else None)
        rows = self.rows.take(best).to_pylist()
        return [{**row, "similarity": float(cosine)} for row, cosine in zip(rows, cosines, strict=True)]


def measure(small: bool = False) -> Result:
    """Make a collection, check that both sides find the same, then time them in turn."""
    rows, calls = (SMALL_ROWS, SMALL_CALLS) if small else (ROWS, CALLS)
    encoder = load()
    with tempfile.TemporaryDirectory() as folder:
        write_collection(Path(folder), encoder, rows)
        collection = open_collection(folder, encoder=encoder)
        memory = InMemory(collection)
        vectors, sentences = queries(calls, encoder.config.embedding_width), words(calls)
        sides: dict[str, dict[str, float]] = {}
        ratios, worst = {}, 0.0
        cases: list[tuple[str, Sides, Sequence[Any]]] = [
            *((what, pair, vectors) for what, pair in _ranking(collection, memory).items()),
            *((f"vector{what}", pair, vectors) for what, pair in _search(collection, memory).items()),
            *((f"words{what}", pair, sentences) for what, pair in _search(collection, memory).items()),
        ]
        for what, pair, inputs in cases:
            worst = max(worst, *(_difference(pair, given) for given in inputs[:CHECKED]))
            seconds = seconds_of_each(pair, inputs)
            sides |= {f"{what}: {name}": latency(values) for name, values in seconds.items()}
            ratios[f"{what}: {' to '.join(pair)}"] = ratio(seconds, *pair)
    return Result(
        "search",
        f"Milliseconds a query for the {K} nearest of {rows:,} pictures, exact; a filter keeps a tenth of them.",
        sides,
        ratios,
        {"largest difference of a cosine": worst},
        {"rows": rows, "calls of each side": calls, "k": K},
        threads(),
    )


def _ranking(collection: Collection, memory: InMemory) -> dict[str, Sides]:
    """Vector -> ids and cosines, without and with a filter whose rows are known."""
    index, allowed, wide = collection.snapshot.index, collection.snapshot.allowed(WIDE), memory.wide()

    def in_memory(vector: Vector, among: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], Vector]:
        best, cosines = memory.nearest(vector, among)
        return memory.ids[best], cosines

    return {
        "ranking": {"FAISS": lambda v: index.nearest(v, K), "NumPy": lambda v: in_memory(v, None)},
        "ranking, filter": {"FAISS": lambda v: index.nearest(v, K, allowed), "NumPy": lambda v: in_memory(v, wide)},
    }


def _search(collection: Collection, memory: InMemory) -> dict[str, Sides]:
    """Vector or words -> hits, without and with a filter that is looked up."""
    return {
        "": {
            "search()": lambda query: search(query, collection=collection, k=K),
            "in memory": lambda query: memory.search(query, filtered=False),
        },
        ", filter": {
            "search()": lambda query: search(query, collection=collection, k=K, where=WIDE),
            "in memory": lambda query: memory.search(query, filtered=True),
        },
    }


def _difference(pair: Sides, given: str | Vector) -> float:
    ours, theirs = (_ranked(run(given)) for run in pair.values())
    assert len(ours) == K
    return check_same(ours, theirs)


def _ranked(found: Any) -> list[tuple[int, float]]:
    if isinstance(found, tuple):
        return list(zip(found[0].tolist(), found[1].tolist(), strict=True))
    rows = [row if isinstance(row, dict) else vars(row) for row in found]
    return [(row["segment_id"], row["similarity"]) for row in rows]


if __name__ == "__main__":
    print_result(measure, __doc__)
