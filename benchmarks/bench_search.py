"""Milliseconds of a search over a large synthetic collection, against exact ranking in memory with NumPy.

Three levels. Ranking: the index alone, against NumPy over the same vectors. Rows: the rows of given hits, from the snapshot on disk,
against an Arrow table in memory. Search: `search()`, against NumPy and that table together; both sides embed words with the same model.
The other side is a program without a collection.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measure.result import Result
from benchmarks.measure.same_hits import check_same
from benchmarks.measure.timing import latency, ratio, seconds_of_each
from benchmarks.synthetic_collection import WIDE, queries, words, write_collection
from coca_model import load
from search import Collection, open_collection, search
from search.schema import KINDS

K, MANY = 20, 1_000
CHECKED = 20  # queries whose hits are compared first
ROWS_OF_HITS = (20, 2_000)
Vector = NDArray[np.float32]
Positions = NDArray[np.int64]
Sides = dict[str, Callable[[Any], Any]]


class InMemory:
    """The other side: all vectors and rows in memory. It computes every cosine and sorts the best."""

    def __init__(self, collection: Collection) -> None:
        self.ids, self.vectors = collection.snapshot.vectors(KINDS)
        self.rows = pa.Table.from_pylist(collection.snapshot.rows(self.ids))
        self.width = self.rows["width"].to_numpy()
        self.encoder = collection.encoder

    def wide(self) -> Positions:
        """The positions that the filter `WIDE` keeps."""
        return np.flatnonzero(self.width >= 6000)

    def nearest(self, vector: Vector, k: int, among: Positions | None = None) -> tuple[Positions, Vector]:
        """Positions and cosines of the best `k`."""
        cosines = (self.vectors if among is None else self.vectors[among]) @ vector
        best = np.argpartition(-cosines, k)[:k]
        best = best[np.argsort(-cosines[best])]
        return best if among is None else among[best], cosines[best]

    def ranking(self, vector: Vector, among: Positions | None = None) -> tuple[NDArray[np.int64], Vector]:
        """Segment ids and cosines of the best `K`."""
        best, cosines = self.nearest(vector, K, among)
        return self.ids[best], cosines

    def search(self, query: str | Vector, k: int, *, filtered: bool) -> list[dict[str, Any]]:
        """Rows of the best `k`, with their cosines."""
        vector = self.encoder.encode_texts([query])[0] if isinstance(query, str) else query
        best, cosines = self.nearest(vector, k, self.wide() if filtered else None)
        rows = self.rows.take(best).to_pylist()
        return [{**row, "similarity": float(cosine)} for row, cosine in zip(rows, cosines, strict=True)]


def measure(small: bool = False) -> Result:
    """Make a collection, check that both sides find the same, then time them in turn."""
    rows, calls = (2_000, 8) if small else (100_000, 120)
    encoder = load()
    with tempfile.TemporaryDirectory() as folder:
        write_collection(Path(folder), encoder, rows)
        collection = open_collection(folder, encoder=encoder)
        seconds: dict[str, list[float]] = {}
        pairs, worst = [], 0.0
        for what, pair, inputs in _cases(collection, InMemory(collection), calls):
            worst = max(worst, *(_difference(pair, given) for given in inputs[:CHECKED]))
            seconds |= {f"{what}: {name}": values for name, values in seconds_of_each(pair, inputs).items()}
            pairs.append((what, *pair))
    return Result(
        "search",
        f"Milliseconds a query for the nearest {K} of {rows:,} pictures, by exact search. A filter keeps a tenth of the pictures.",
        {name: latency(values) for name, values in seconds.items()},
        {f"{what}: {one} to {other}": ratio(seconds, f"{what}: {one}", f"{what}: {other}") for what, one, other in pairs},
        {"largest difference of a cosine": worst},
        {"rows": rows, "calls of each side": calls, "k": K},
    )


def _cases(collection: Collection, memory: InMemory, calls: int) -> Iterator[tuple[str, Sides, Sequence[Any]]]:
    """What is compared, its two sides, and their inputs."""
    snapshot, random = collection.snapshot, np.random.default_rng(2)
    vectors, sentences = queries(calls, memory.encoder.config.embedding_width), words(calls)
    nearest = partial(snapshot.index.nearest, k=K)
    yield "ranking", {"FAISS": nearest, "NumPy": memory.ranking}, vectors
    filtered = partial(nearest, allowed=snapshot.filtered(WIDE))
    yield "ranking, filter", {"FAISS": filtered, "NumPy": partial(memory.ranking, among=memory.wide())}, vectors
    for count in ROWS_OF_HITS:
        positions = [random.choice(len(snapshot), min(count, len(snapshot)), replace=False) for _ in range(calls)]
        both = {"snapshot": lambda at: snapshot.rows(memory.ids[at]), "in memory": lambda at: memory.rows.take(at).to_pylist()}
        yield f"rows of {count:,} hits", both, positions
    for what, k, where, inputs in (
        ("vector", K, None, vectors),
        (f"vector, k {MANY:,}", MANY, None, vectors),
        ("vector, filter", K, WIDE, vectors),
        ("words", K, None, sentences),
        ("words, filter", K, WIDE, sentences),
    ):
        ours = partial(search, collection=collection, k=k, where=where)
        yield what, {"search()": ours, "in memory": partial(memory.search, k=k, filtered=where is not None)}, inputs


def _difference(pair: Sides, given: Any) -> float:
    """The largest difference of a cosine between both sides. Raises AssertionError if they find different segments."""
    ours, theirs = (run(given) for run in pair.values())
    if isinstance(ours, tuple):  # ids and cosines
        return check_same(*(list(zip(*(part.tolist() for part in side), strict=True)) for side in (ours, theirs)))
    if isinstance(ours, list):  # rows without cosines
        assert ours == theirs
        return 0.0
    return check_same([(hit.segment_id, hit.similarity) for hit in ours], [(row["segment_id"], row["similarity"]) for row in theirs])
