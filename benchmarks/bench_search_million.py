"""Milliseconds of a search over a million synthetic pictures, against the ranking alone in NumPy, and what opening them takes.

NumPy's side holds the vectors in memory and returns positions, not rows. A new process opens the collection: seconds, and the memory that
it does not share with other processes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.measure.result import Result
from benchmarks.measure.timing import latency, ratio, seconds_of_each
from benchmarks.synthetic_collection import FILTERS, queries, words, write_collection
from coca_model import load
from search import Hits, open_collection, search
from search.schema import KINDS

K = 20
CHECKED = 20  # queries whose recall is measured
ROUNDS = 5
OPEN = """
import json, sys, time
import numpy
from search import open_collection, search

def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous"))

before, since = anonymous(), time.perf_counter()
collection = open_collection(sys.argv[1])
seconds, opened = time.perf_counter() - since, anonymous()
search(numpy.ones(collection.identity.embedding_width, numpy.float32), collection=collection)
print(json.dumps([seconds, (opened - before) / 1e6, (anonymous() - before) / 1e6]))
"""


def measure(small: bool = False) -> Result:
    """Make a collection, measure the recall, then time each search beside the ranking in NumPy."""
    rows, calls = (3_000, 4) if small else (1_000_000, 60)
    encoder = load()
    with tempfile.TemporaryDirectory() as folder:
        with patch("search.collection.writer._ROWS_PER_COMMIT", 50_000):  # else a thousand commits
            write_collection(Path(folder), encoder, rows)
        collection = open_collection(folder)
        vectors = collection.snapshot.vectors(KINDS)[1]
        given = queries(calls, rows, vectors.shape[1])
        searches: dict[str, tuple[Any, Any]] = {
            "vector": (partial(search, collection=collection, k=K), given),
            "vector, k 1,000": (partial(search, collection=collection, k=1_000), given),
            **{
                f"vector, {share}": (partial(search, collection=collection, k=K, where=where), given)
                for share, (where, _) in FILTERS.items()
            },
            "words": (partial(search, collection=collection, k=K), words(calls)),
            "vector, exact": (partial(search, collection=collection, k=K, exact=True), given),
        }
        recall = {f"recall@10, {what}": _recall(run, inputs[:CHECKED]) for what, (run, inputs) in searches.items() if "exact" not in what}
        seconds: dict[str, list[float]] = {}
        for what, (run, inputs) in searches.items():
            sides = (
                {what: run} if what == "words" else {what: run, f"{what}, NumPy": lambda query: np.argpartition(-(vectors @ query), K)[:K]}
            )
            seconds |= seconds_of_each(sides, inputs)
        opening = [_open(folder) for _ in range(1 if small else ROUNDS)]
    opened, memory, memory_later = (round(statistics.median(each), 3) for each in zip(*opening, strict=True))
    return Result(
        "search_million",
        f"Milliseconds a query for the nearest {K} of {rows:,} pictures, and how a new process opens them.",
        {name: latency(values) for name, values in seconds.items()}
        | {"open": {"seconds": opened, "own memory in MB": memory, "own memory in MB after a search": memory_later}},
        {f"{what} to NumPy": ratio(seconds, what, f"{what}, NumPy") for what in searches if f"{what}, NumPy" in seconds},
        recall,
        {"rows": rows, "calls of each side": calls, "k": K},
    )


def _recall(run: Any, inputs: Any) -> float:
    shares = []
    for query in inputs:
        found, exact = ({hit.segment_id for hit in hits[:10]} for hits in (run(query), _exact(run, query)))
        shares.append(len(found & exact) / max(1, len(exact)))
    return round(float(np.mean(shares)), 4)


def _exact(run: Any, query: Any) -> Hits:
    hits: Hits = run(query, exact=True)
    return hits


def _open(folder: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", OPEN, folder], stdout=subprocess.PIPE, text=True, check=True)
    return list(map(float, json.loads(done.stdout)))
