"""Seconds to open: a large synthetic collection with its FAISS index kept on disk or made anew, and the embedded checkpoint. `make bench`.

Files lie in the page cache. An index made anew is read from Lance and then kept, as the first opening after `faiss/` was
deleted does. The last line printed is one JSON document.
"""

import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.open_clip_side import crops
from benchmarks.result import Result, print_result, threads
from benchmarks.same_hits import check_same
from benchmarks.side_by_side import ratio, seconds_of
from benchmarks.synthetic_collection import queries, write_collection
from coca_model import Encoder, load
from search import Collection, open_collection
from search.collection.vector_index import VectorIndex

ROWS, ROUNDS = 100_000, 7
SMALL_ROWS, SMALL_ROUNDS = 2_000, 1


def measure(small: bool = False) -> Result:
    """Make a collection, check that both ways of opening give the same, then time them in turn; so for the checkpoint."""
    rows, rounds = (SMALL_ROWS, SMALL_ROUNDS) if small else (ROWS, ROUNDS)
    encoder, exact = load(), load(dtype=torch.float32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_collection(folder, encoder, rows)

        def kept() -> Collection:
            return open_collection(folder, encoder=encoder)

        def made_anew() -> Collection:
            shutil.rmtree(folder / "snapshots")
            return open_collection(folder, encoder=encoder)

        difference = _difference(kept(), made_anew())
        cosine = _least_cosine(encoder, exact)
        fast = f"checkpoint, {encoder.dtype}, this machine's".replace("torch.", "")
        sides: dict[str, Callable[[], object]] = {
            "collection, index kept": kept,
            "collection, index made anew": made_anew,
            fast: load,
            "checkpoint, float32": lambda: load(dtype=torch.float32),
        }
        seconds = seconds_of(sides, rounds)
    return Result(
        "open",
        f"Seconds until a collection of {rows:,} pictures, and the embedded checkpoint, are ready.",
        {name: {"seconds": round(statistics.median(values), 4)} for name, values in seconds.items()},
        {
            "index kept to made anew": ratio(seconds, "collection, index kept", "collection, index made anew"),
            "checkpoint, this machine's dtype to float32": ratio(seconds, fast, "checkpoint, float32"),
        },
        {"largest difference of a cosine": difference, "least cosine of the two dtypes": cosine},
        {"rows": rows},
        threads(),
    )


def _difference(kept: Collection, made_anew: Collection) -> float:
    """Of the cosines of the nearest 20, after checking that both hold the same ids."""
    ours, theirs = kept.snapshot.index, made_anew.snapshot.index
    assert np.array_equal(np.sort(ours.ids()), np.sort(theirs.ids())), "the two indexes hold other ids"
    return max(check_same(_nearest(ours, vector), _nearest(theirs, vector)) for vector in queries(20, kept.identity.embedding_width))


def _nearest(index: VectorIndex, vector: NDArray[np.float32]) -> list[tuple[int, float]]:
    ids, cosines = index.nearest(vector, 20)
    return list(zip(ids.tolist(), cosines.tolist(), strict=True))


def _least_cosine(encoder: Encoder, exact: Encoder) -> float:
    pixels = crops(16, exact.config.image.image_size)
    cosine = float((encoder.encode_pixels(pixels) * exact.encode_pixels(pixels)).sum(1).min())
    assert cosine > 0.99, cosine
    return cosine


if __name__ == "__main__":
    print_result(measure, __doc__)
