"""`search()` and `search_many()`: from requests to hits.

query -> vector -> ranked segments (`search.ranking`) -> the rows of the best
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from media.errors import PictureError
from search.collection import Collection, default_path, open_collection
from search.errors import QueryError
from search.hits import Hit, Hits
from search.ranking import rank, rank_many
from search.request import SearchRequest
from search.schema import DEFAULT_KINDS, Kind
from search.turns import turn

if TYPE_CHECKING:
    from search.collection.snapshot import Snapshot
    from search.request import Query


def search(
    query: "Query",
    *,
    collection: Collection | str | os.PathLike[str] | None = None,
    k: int = 20,
    kinds: Iterable[Kind] | Kind = DEFAULT_KINDS,
    where: str | None = None,
    group_by_file: bool = True,
    exact: bool = False,
) -> Hits:
    """Find the pictures and moments of videos that are most similar to `query`.

    Args:
        query: words; a picture as `pathlib.Path` or Pillow image; or a vector of the model's width.
        collection: an open collection, its folder, or its address in a bucket; None for the user's default.
        k: how many hits, 1..10,000. There may be fewer in the collection.
        kinds: what to search: "image", "shot" (a moment of a video), "clip" (a whole video).
        where: an expression over the columns of `docs/collection.md`, applied before the search, such as "width >= 1000".
        group_by_file: return only the best moment of each video.
        exact: compare the query with every vector. By default, an index finds candidates in a large collection, and rarely misses a hit.

    Returns:
        Hits, best first; `Hits.to_arrow()` makes a table of them.

    Raises:
        NoCollectionError, IncompatibleError: the collection cannot be opened.
        QueryError: an empty query, a picture that cannot be read, an unknown kind, a bad filter, `k` out of range.
    """
    request = SearchRequest(query, k, tuple([kinds] if isinstance(kinds, str) else kinds), where, group_by_file, exact)
    return answer(request, collection if isinstance(collection, Collection) else _opened(collection))


def search_many(
    queries: "Sequence[Query]",
    *,
    collection: Collection | str | os.PathLike[str] | None = None,
    k: int = 20,
    kinds: Iterable[Kind] | Kind = DEFAULT_KINDS,
    where: str | None = None,
    group_by_file: bool = True,
    exact: bool = False,
) -> list[Hits]:
    """`search` for each of many queries, all from one version of the collection. Faster: they are embedded and compared together.

    Args:
        queries: words, pictures or vectors, also mixed.

    Returns:
        One `Hits` for each query, in their order.

    Raises:
        As `search`. A query that cannot be used is named by its position, and nothing is searched.
    """
    opened = collection if isinstance(collection, Collection) else _opened(collection)
    chosen = tuple([kinds] if isinstance(kinds, str) else kinds)
    if isinstance(queries, str | bytes | os.PathLike):
        raise QueryError("search_many takes a list of queries. Use search for one.")
    requests = []
    for number, query in enumerate(queries):
        with _naming(number):
            requests.append(SearchRequest(query, k, chosen, where, group_by_file, exact))
    if not requests:
        return []
    snapshot = opened.snapshot
    vectors = np.zeros((len(requests), snapshot.identity.embedding_width), np.float32)
    texts = [number for number, request in enumerate(requests) if isinstance(request.query, str)]
    if texts:
        vectors[texts] = opened.text_encoder_for(snapshot).encode_texts([str(requests[number].query) for number in texts])
    for number in set(range(len(requests))) - set(texts):
        with _naming(number):
            vectors[number] = embed_query(requests[number].query, opened, snapshot)
    found = rank_many(snapshot, vectors, requests[0])
    rows = iter(snapshot.rows(np.concatenate([each.segment_ids for each in found])))
    return [Hits([Hit.of_row(next(rows), cosine) for cosine in each.similarity.tolist()]) for each in found]


@contextmanager
def _naming(number: int) -> Iterator[None]:
    try:
        yield
    except QueryError as error:
        raise QueryError(f"Query {number}: {error}") from error


def answer(request: SearchRequest, collection: Collection) -> Hits:
    """The hits of a request, all from one snapshot. Raises as `search`."""
    snapshot = collection.snapshot
    vector = None
    if isinstance(request.query, str):
        collection.text_encoder_for(snapshot)  # which may be loaded first
    else:
        vector = embed_query(request.query, collection, snapshot)  # a picture may take seconds to read
    with turn:
        vector = embed_query(request.query, collection, snapshot) if vector is None else vector
        best = rank(snapshot, vector, request)
        rows = snapshot.rows(best.segment_ids)
    return Hits([Hit.of_row(row, cosine) for cosine, row in zip(best.similarity.tolist(), rows, strict=True)])


def embed_query(query: "Query", collection: Collection, snapshot: "Snapshot") -> NDArray[np.float32]:
    """The query as a vector, float32 (E,) of L2 norm 1. Raises QueryError for a bad vector or picture."""
    if isinstance(query, str):
        return collection.text_encoder_for(snapshot).encode_texts([query])[0]
    if isinstance(query, np.ndarray):
        width = snapshot.identity.embedding_width
        vector = np.array(query, dtype=np.float64).reshape(-1)
        largest = float(np.abs(vector).max(initial=0))
        if vector.shape != (width,) or not 0 < largest < float("inf"):
            raise QueryError(
                f"The vector cannot be used (shape {query.shape}, largest number {largest}). "
                f"Expected {width} finite numbers that are not all 0."
            )
        vector /= largest  # the squares of very large or small numbers are not finite
        return (vector / np.linalg.norm(vector)).astype(np.float32)
    try:
        return collection.encoder_for(snapshot).encode_images([query])[0]
    except PictureError as error:
        raise QueryError(str(error)) from error


def _opened(path: str | os.PathLike[str] | None) -> Collection:
    """The collection at `path`, opened once in this process and moved to its newest version."""
    collection = _open(os.fspath(path if path is not None else default_path()))
    collection.refresh()
    return collection


@lru_cache(maxsize=4)
def _open(path: str) -> Collection:
    return open_collection(path)
