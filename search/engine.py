"""`search()`: a query to hits.

query -> embedding -> nearest segments in FAISS -> their rows in Lance -> the best moment of each file
"""

import os
from collections.abc import Collection as Kinds
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coca_model import Encoder, PictureError
from search.collection import Collection, Snapshot, default_path, open_collection
from search.errors import QueryError
from search.filter_guard import check_filter
from search.hits import ROW_COLUMNS, Hit, Hits, best_of_each_file
from search.schema import KINDS, Kind

Query = str | os.PathLike[str] | Image.Image | NDArray[np.float32]
DEFAULT_KINDS: tuple[Kind, ...] = ("image", "shot")
MAX_RESULTS = 10_000


def search(
    query: Query,
    *,
    collection: Collection | str | os.PathLike[str] | None = None,
    k: int = 20,
    kinds: Kinds[Kind] = DEFAULT_KINDS,
    where: str | None = None,
    group_by_file: bool = True,
) -> Hits:
    """Find the pictures and moments of videos that are most like `query`.

    Args:
        query: words; or a picture as `pathlib.Path` or Pillow image; or a vector of the model's width.
        collection: an open collection, or the directory of one; this user's default one when absent.
        k: how many hits, 1..10,000; fewer come back only where there are fewer.
        kinds: what to look among: "image", "shot" (a moment of a video), "clip" (a video as a whole).
        where: SQL over the columns of `docs/collection.md`, applied before the search, as in "width >= 1000".
        group_by_file: return only the best moment of each video.

    Returns:
        Hits, best first; `Hits.to_arrow()` makes a table of them.

    Raises:
        NoCollectionError, IncompatibleError: the collection cannot be opened.
        QueryError: an empty query, a picture that cannot be read, an unknown kind, a bad filter, `k` out of range.
    """
    opened = collection if isinstance(collection, Collection) else _cached(collection)
    if not 1 <= k <= MAX_RESULTS:
        raise QueryError(f"k is out of range ({k}). Allowed: 1 to {MAX_RESULTS}.")
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise QueryError(f"Unknown kind ({', '.join(unknown)}). Allowed: {', '.join(KINDS)}.")
    vector = embed_query(query, opened.encoder)
    snapshot = opened.snapshot
    return Hits(_nearest_hits(snapshot, vector, k, frozenset(kinds), where, group_by_file=group_by_file))


def embed_query(query: Query, encoder: Encoder) -> NDArray[np.float32]:
    """The query as a vector, float32 (E,) of L2 norm 1. Raises QueryError where that cannot be."""
    if isinstance(query, str):
        if not query.strip():
            raise QueryError("The query is empty. Type what you remember of the picture.")
        return encoder.encode_texts([query])[0]
    if isinstance(query, np.ndarray):
        vector = np.asarray(query, dtype=np.float32).reshape(-1)
        norm = float(np.linalg.norm(vector))
        if vector.shape != (encoder.config.embedding_width,) or not 0 < norm < float("inf"):
            raise QueryError(
                f"The vector cannot be used (shape {query.shape}, norm {norm}). "
                f"Expected {encoder.config.embedding_width} finite numbers that are not all 0."
            )
        return vector / np.float32(norm)
    try:
        return encoder.encode_images([query])[0]
    except PictureError as error:
        raise QueryError(str(error)) from error


def _allowed(snapshot: Snapshot, kinds: frozenset[Kind], where: str | None) -> NDArray[np.int64] | None:
    """The segments to look among, or None where they are nearly all: the few rows of whole clips are then dropped later."""
    if where is None and kinds.issuperset(DEFAULT_KINDS):
        return None
    of_kind = "kind IN (" + ", ".join(f"'{kind}'" for kind in sorted(kinds)) + ")" if kinds else "false"
    try:
        if where:
            check_filter(where)
        return snapshot.allowed(f"({where}) AND {of_kind}" if where else of_kind)
    except QueryError as error:
        raise QueryError(f"The filter cannot be used ({where}). {error}") from error


def _nearest_hits(
    snapshot: Snapshot, vector: NDArray[np.float32], k: int, kinds: frozenset[Kind], where: str | None, *, group_by_file: bool
) -> list[Hit]:
    """Ask for more segments until `k` files are found: the moments of one video may crowd the front."""
    allowed = _allowed(snapshot, kinds, where)
    available = len(snapshot.index) if allowed is None else len(allowed)
    wanted = min(2 * k, available)
    while True:
        ids, similarity = snapshot.index.nearest(vector, wanted, allowed)
        hits = [hit for hit in _hits(snapshot, ids, similarity) if hit.kind in kinds]
        hits = best_of_each_file(hits) if group_by_file else hits
        if len(hits) >= k or wanted >= available:
            return hits[:k]
        wanted = min(wanted * 4, available)


def _hits(snapshot: Snapshot, ids: NDArray[np.int64], similarity: NDArray[np.float32]) -> list[Hit]:
    rows = {row["segment_id"]: row for row in snapshot.rows(ids, ROW_COLUMNS).to_pylist()}
    return [Hit(similarity=float(cosine), **rows[segment]) for segment, cosine in zip(ids.tolist(), similarity, strict=True)]


def _cached(path: str | os.PathLike[str] | None) -> Collection:
    """The collection at `path`, opened once in this process and moved to its newest version."""
    collection = _open(Path(path) if path is not None else default_path())
    collection.refresh()
    return collection


@lru_cache(maxsize=4)
def _open(path: Path) -> Collection:
    return open_collection(path)
