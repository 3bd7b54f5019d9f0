"""Milliseconds of a search over a large synthetic collection, against exact ranking in memory with NumPy.

The other side is a program without a collection: it holds all vectors and rows in memory, computes every cosine, and embeds words with the
whole model in torch. A search by the index may miss a hit, so its recall against exact search stands beside its time.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.measure.result import Result
from benchmarks.measure.same_hits import check_same
from benchmarks.measure.timing import latency, ratio, seconds_of, seconds_of_each
from benchmarks.synthetic_collection import FILTERS, queries, words, write_collection
from coca_model import Encoder, load
from search import Collection, Hits, open_collection, search, search_many
from search.schema import KINDS

K, MANY = 20, 1_000
CHECKED = 20  # queries whose hits are compared first
ROWS_OF_HITS = (20, 2_000)
CALLERS = 8
MANY_AT_ONCE = (f"{CALLERS} callers", "search_many()")
Vector = NDArray[np.float32]
Positions = NDArray[np.int64]
Sides = dict[str, Callable[[Any], Any]]


class InMemory:
    """The other side."""

    def __init__(self, collection: Collection, encoder: Encoder) -> None:
        self.ids, self.vectors = collection.snapshot.vectors(KINDS)
        self.rows = pa.Table.from_pylist(collection.snapshot.rows(self.ids))
        self.columns = {name: self.rows[name].to_numpy(zero_copy_only=False) for name in ("width", "rating", "title")}
        self.encoder = encoder

    def search(self, query: str | Vector, k: int, kept: Callable[[dict[str, Any]], Any] | None) -> list[dict[str, Any]]:
        """Rows of the best `k`, with their cosines."""
        vector = self.encoder.encode_texts([query])[0] if isinstance(query, str) else query
        among = None if kept is None else np.flatnonzero(kept(self.columns))
        cosines = (self.vectors if among is None else self.vectors[among]) @ vector
        k = min(k, len(cosines))
        best = np.argpartition(-cosines, k - 1)[:k]
        best = best[np.argsort(-cosines[best])]
        rows = self.rows.take(best if among is None else among[best]).to_pylist()
        return [{**row, "similarity": float(cosine)} for row, cosine in zip(rows, cosines[best], strict=True)]

    def faiss(self, query: Vector, k: int) -> Any:
        """The ranking of FAISS without an index and without rows, by one thread."""
        faiss.omp_set_num_threads(1)
        return faiss.knn(query[None], self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)

    def numpy(self, query: Vector, k: int) -> Positions:
        """The ranking of NumPy without rows."""
        return np.argpartition(-(self.vectors @ query), k)[:k]


def measure(small: bool = False) -> Result:
    """Make a collection, check that exact search finds the same as the other side, then time both in turn."""
    rows, calls = (2_000, 8) if small else (100_000, 120)
    encoder = load()
    with tempfile.TemporaryDirectory() as folder:
        write_collection(Path(folder), encoder, rows)
        collection = open_collection(folder)
        seconds: dict[str, list[float]] = {}
        pairs, agreement = [], {"largest difference of a cosine": 0.0}
        for what, pair, inputs in _cases(collection, InMemory(collection, encoder), calls):
            _check(what, pair, inputs[:CHECKED], agreement)
            seconds |= {f"{what}: {name}": values for name, values in seconds_of_each(pair, inputs).items()}
            pairs.append((what, *pair))
        vectors = queries(calls, rows, encoder.config.embedding_width)
        ours = partial(search, collection=collection)
        with ThreadPoolExecutor(CALLERS) as pool:
            callers = {
                f"vector: {CALLERS} callers": lambda: list(pool.map(ours, vectors)),
                "vector: 1 caller": lambda: list(map(ours, vectors)),
                "vector: search_many()": lambda: search_many(vectors, collection=collection),
            }
            seconds |= {name: [each / calls for each in values] for name, values in seconds_of(callers).items()}
    return Result(
        "search",
        f"Milliseconds a query for the nearest {K} of {rows:,} pictures. The filters keep a half, a hundredth and a ten-thousandth.",
        {name: latency(values) for name, values in seconds.items()},
        {f"{what}: {one} to {other}": ratio(seconds, f"{what}: {one}", f"{what}: {other}") for what, one, other in pairs}
        | {f"vector: {name} to 1 caller": ratio(seconds, f"vector: {name}", "vector: 1 caller") for name in MANY_AT_ONCE},
        agreement,
        {"rows": rows, "calls of each side": calls, "k": K},
    )


def _cases(collection: Collection, memory: InMemory, calls: int) -> Iterator[tuple[str, Sides, Sequence[Any]]]:
    """What is compared, its two sides, and their inputs."""
    snapshot, random = collection.snapshot, np.random.default_rng(2)
    vectors, sentences = queries(calls, len(snapshot), memory.encoder.config.embedding_width), words(calls)
    exact = partial(snapshot.nearest, k=K, kinds=KINDS, exact=True)
    yield "exact ranking, FAISS", {"exact": exact, "FAISS": partial(memory.faiss, k=K)}, vectors
    yield "exact ranking, NumPy", {"exact": exact, "NumPy": partial(memory.numpy, k=K)}, vectors
    for count in ROWS_OF_HITS:
        positions = [random.choice(len(snapshot), min(count, len(snapshot)), replace=False) for _ in range(calls)]
        both = {"snapshot": lambda at: snapshot.rows(memory.ids[at]), "in memory": lambda at: memory.rows.take(at).to_pylist()}
        yield f"rows of {count:,} hits", both, positions
    for what, k, where, inputs in (
        ("vector", K, None, vectors),
        (f"vector, k {MANY:,}", MANY, None, vectors),
        *((f"vector, {share}", K, where, vectors) for share, (where, _) in FILTERS.items()),
        ("words", K, None, sentences),
    ):
        kept = next((test for text, test in FILTERS.values() if text == where), None)
        ours = partial(search, collection=collection, k=k, where=where)
        yield what, {"search()": ours, "in memory": partial(memory.search, k=k, kept=kept)}, inputs


def _check(what: str, pair: Sides, inputs: Sequence[Any], agreement: dict[str, float]) -> None:
    """Record the recall of the index. Raises AssertionError if exact search finds others than the other side, or rows differ."""
    ours, theirs = pair.values()
    recalls = []
    for given in inputs:
        if isinstance(found := ours(given), list):  # rows
            assert found == theirs(given)
        elif isinstance(found, Hits):
            wanted = theirs(given)
            exact = ours(given, exact=True)
            if not isinstance(given, str):  # words are embedded by two programs, and their vectors differ a little
                right = [(row["segment_id"], row["similarity"]) for row in wanted]
                worst = check_same([(hit.segment_id, hit.similarity) for hit in exact], right)
                agreement["largest difference of a cosine"] = max(agreement["largest difference of a cosine"], worst)
            ids = {hit.segment_id for hit in exact[:10]}
            recalls.append(len(ids & {hit.segment_id for hit in found[:10]}) / len(ids))
    if recalls:
        agreement[f"recall@10, {what}"] = round(float(np.mean(recalls)), 4)
