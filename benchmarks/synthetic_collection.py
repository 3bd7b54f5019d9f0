"""A large collection of synthetic pictures, written as the indexer writes one, for benchmarks of searching.

The vectors lie in clusters, as vectors of real pictures do. The picture files do not exist, because no benchmark reads them.
"""

import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from search.collection import CollectionWriter, FileRows, Segment
from search.schema import FileColumns, new_media_id

# What a filter keeps: the filter, and the same test of NumPy columns.
FILTERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a half": ("width >= 6000", lambda columns: columns["width"] >= 6000),
    "a hundredth": ("rating >= 4", lambda columns: columns["rating"] >= 4),
    "a ten-thousandth": ("title = 'Rare'", lambda columns: columns["title"] == "rare"),
}
_ROOT = "/pictures"
_PICTURES_PER_CLUSTER = 50


def write_collection(folder: Path, encoder: Encoder, count: int) -> None:
    """Write a collection of `count` pictures with clustered vectors. It is always the same, except `indexed_at`."""
    vectors = clustered(count, count, encoder.config.embedding_width, np.random.default_rng(0))
    with CollectionWriter(folder, encoder, model="default") as writer:
        writer.add_roots([_ROOT])
        (root_id,) = writer.identity.roots
        for number, vector in enumerate(vectors):
            writer.add(FileRows(_file(number, root_id), (Segment("image", vector),), thumbnails={}))
        writer.finish()


def clustered(count: int, pictures: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """float32 (count, width) in the clusters of a collection of pictures: L2 norm 1, with a cosine of about 0.5 to others of a cluster."""
    centres = np.random.default_rng(2).standard_normal((math.ceil(pictures / _PICTURES_PER_CLUSTER), width), dtype=np.float32)
    vectors = random.standard_normal((count, width), dtype=np.float32)
    vectors += centres[random.integers(0, len(centres), count)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def queries(count: int, pictures: int, width: int) -> list[NDArray[np.float32]]:
    """Vectors that are not in the collection, and belong to its clusters."""
    return list(clustered(count, pictures, width, np.random.default_rng(1)))


def words(count: int) -> list[str]:
    """Short sentences; the first 216 are all different."""
    sentences = [
        f"{what} {who} {where}"
        for where in ("on the beach", "in the snow", "in front of a house", "under a tree", "near the water", "at night")
        for what in ("a brown", "a small", "an old", "a running", "a sleeping", "a happy")
        for who in ("dog", "cat", "horse", "child", "man", "woman")
    ]
    return list(itertools.islice(itertools.cycle(sentences), count))


def _file(number: int, root_id: str) -> FileColumns:
    path = f"{number // 1000:05}/{number:08}.jpg"
    media_id = new_media_id(f"{_ROOT}/{path}")
    return FileColumns(
        media_id=media_id,
        root_id=root_id,
        path=path,
        size_bytes=2_000_000 + number,
        mtime=1_700_000_000.0 + number,
        sha256=f"{media_id:064x}",
        indexed_at=datetime.now(UTC),
        width=6000 if number % 2 == 0 else 4000,
        height=3000,
        rating=5 if number % 100 == 0 else 3,
        title="rare" if number % 10_000 == 0 else None,
        camera="A camera",
    )
