"""A large collection of made-up pictures, written as the indexer writes one, for what is measured after indexing.

The vectors lie in clusters, as those of real pictures do. The files do not exist: nothing that is measured reads them.
"""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from coca_model import Encoder
from search.schema import media_id_of, segment_id_of
from search.writer import CollectionWriter

WIDE = "width >= 6000"  # keeps a tenth of the rows
_ROWS_PER_COMMIT = 50_000
_PICTURES_PER_CLUSTER = 50


def write_collection(folder: Path, encoder: Encoder, count: int) -> None:
    """A collection of `count` pictures with clustered vectors; the same whenever it is made."""
    random = np.random.default_rng(0)
    vectors = clustered(count, encoder.config.embedding_width, random)
    with CollectionWriter(folder, encoder, model="default") as writer:
        for start in range(0, count, _ROWS_PER_COMMIT):
            rows = _rows(vectors[start : start + _ROWS_PER_COMMIT], start, writer.segments.schema)
            writer.segments.replace(rows, key="segment_id")
        writer.finish()


def clustered(count: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """float32 (count, width), rows of L2 norm 1, about cosine 0.5 to the others of their cluster."""
    centres = random.standard_normal((-(-count // _PICTURES_PER_CLUSTER), width), dtype=np.float32)
    vectors = random.standard_normal((count, width), dtype=np.float32)
    vectors += centres[random.integers(0, len(centres), count)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def queries(count: int, width: int) -> list[NDArray[np.float32]]:
    """Vectors that are none of the collection's."""
    return list(clustered(count, width, np.random.default_rng(1)))


def words(count: int) -> list[str]:
    """Short sentences, all different up to 216 of them."""
    sentences = [
        f"{what} {who} {where}"
        for where in ("on the beach", "in the snow", "in front of a house", "under a tree", "near the water", "at night")
        for what in ("a brown", "a small", "an old", "a running", "a sleeping", "a happy")
        for who in ("dog", "cat", "horse", "child", "man", "woman")
    ]
    return list(itertools.islice(itertools.cycle(sentences), count))


def _rows(vectors: NDArray[np.float32], start: int, schema: pa.Schema) -> pa.Table:
    count = len(vectors)
    uris = [f"/pictures/{number // 1000:05}/{number:08}.jpg" for number in range(start, start + count)]
    media = [media_id_of(uri) for uri in uris]
    now = datetime.now(UTC)
    columns = {
        "segment_id": [segment_id_of(number, 0) for number in media],
        "media_id": media,
        "kind": ["image"] * count,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "uri": uris,
        "size_bytes": [2_000_000 + number for number in range(count)],
        "mtime": [1_700_000_000.0 + number for number in range(count)],
        "sha256": [f"{number:064x}" for number in media],
        "width": [6000 if number % 10 == 0 else 4000 for number in range(start, start + count)],
        "height": [3000] * count,
        "camera": ["A camera"] * count,
        "indexed_at": [now] * count,
    }
    absent = {field.name: pa.nulls(count, field.type) for field in schema if field.name not in columns}
    return pa.table(columns | absent).select(schema.names).cast(schema)
