"""Seconds to open a large synthetic collection, with its snapshot or without, and to load the embedded checkpoint.

The files are in the page cache. Without a snapshot, opening builds one from Lance, as it does after `snapshots/` was deleted.
A new process opens the collection and searches by vector; it must not import lancedb.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure.result import Result
from benchmarks.measure.same_hits import Ranking, check_same
from benchmarks.measure.timing import ratio, seconds_of
from benchmarks.open_clip_side import crops
from benchmarks.synthetic_collection import queries, write_collection
from coca_model import load
from search import Collection, open_collection, search
from search.schema import KINDS

FIRST_SEARCH = """
import json, sys, time
since = time.perf_counter()
import numpy
from search import open_collection, search
collection = open_collection(sys.argv[1])
hits = search(numpy.ones(collection.identity.embedding_width, numpy.float32), collection=collection)
print(json.dumps([time.perf_counter() - since, "lancedb" in sys.modules, len(hits)]))
"""


def measure(small: bool = False) -> Result:
    """Make a collection, check that both ways of opening give the same, then time them in turn. Do the same with the checkpoint."""
    rows, rounds = (2_000, 1) if small else (100_000, 7)
    encoder, exact = load(), load(dtype=torch.float32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_collection(folder, encoder, rows)

        def with_snapshot() -> Collection:
            return open_collection(folder, encoder=encoder)

        def without_snapshot() -> Collection:
            shutil.rmtree(folder / "snapshots")
            return with_snapshot()

        difference = _largest_difference(with_snapshot(), without_snapshot())
        pixels = crops(16, exact.config.image.image_size)
        cosine = float((encoder.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(1).min())
        assert cosine > 0.99, cosine
        fast = f"checkpoint, {encoder.dtype}, this machine's".replace("torch.", "")
        sides: dict[str, Callable[[], object]] = {
            "collection, with snapshot": with_snapshot,
            "collection, without snapshot": without_snapshot,
            fast: load,
            "checkpoint, float32": lambda: load(dtype=torch.float32),
        }
        seconds = seconds_of(sides, rounds)
        seconds["new process, first search"] = [_seconds_of_first_search(folder) for _ in range(rounds)]
    return Result(
        "open",
        f"Seconds until a collection of {rows:,} pictures, and the embedded checkpoint, are ready.",
        {name: {"seconds": round(statistics.median(values), 4)} for name, values in seconds.items()},
        {
            "with snapshot to without": ratio(seconds, "collection, with snapshot", "collection, without snapshot"),
            "checkpoint, this machine's dtype to float32": ratio(seconds, fast, "checkpoint, float32"),
        },
        {"largest difference of a cosine": difference, "least cosine of the two dtypes": cosine},
        {"rows": rows},
    )


def _seconds_of_first_search(folder: Path) -> float:
    """Seconds from the start of Python code in a new process until imports, opening and a search by vector are done, without lancedb."""
    printed = subprocess.check_output([sys.executable, "-c", FIRST_SEARCH, str(folder)])
    seconds, has_lancedb, num_hits = json.loads(printed)
    assert not has_lancedb, "a search by vector imports lancedb, which takes more than a second"
    assert num_hits == 20, num_hits
    return float(seconds)


def _largest_difference(one: Collection, other: Collection) -> float:
    """The largest difference between cosines of the nearest 20. First checks that both collections hold the same ids."""
    (ids, _), (other_ids, _) = one.snapshot.vectors(KINDS), other.snapshot.vectors(KINDS)
    assert np.array_equal(np.sort(ids), np.sort(other_ids)), "the two collections hold different ids"

    def nearest(collection: Collection, vector: np.ndarray) -> Ranking:
        return [(hit.segment_id, hit.similarity) for hit in search(vector, collection=collection, k=20)]

    return max(check_same(nearest(one, vector), nearest(other, vector)) for vector in queries(20, len(ids), one.identity.embedding_width))
