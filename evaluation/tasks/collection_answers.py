"""Asks a collection its owner's queries: the only file of `evaluation` that searches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import Medium
from evaluation.datasets.files import Unique, read_csv
from evaluation.errors import DatasetError
from evaluation.features.extract import OnProgress
from search import Collection, Hit, search
from search.collection.thumbnails import thumbnail_of
from search.decoder_rerank import rerank
from search.schema import DEFAULT_KINDS

K = 10
USUAL, DEPTH = 20, 200  # hits of a usual search, whose latency is measured, and of the search whose ranks count
_TIE = 1e-5


@dataclass(frozen=True)
class OwnQuery:
    """A query, and the uris of the right files: none if only the latency matters."""

    text: str
    right: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """The hits for a query by cosine and with the shortlist reranked, the latencies, and the recall of the index, 0..1."""

    query: OwnQuery
    hits: list[Hit]
    reranked: list[Hit]
    milliseconds: float
    rerank_milliseconds: float
    index_recall: float

    @property
    def rank(self) -> int | None:
        """The rank of the first right hit, from 1; None if there is none."""
        return self._rank(self.hits)

    @property
    def rank_reranked(self) -> int | None:
        """The same after reranking."""
        return self._rank(self.reranked)

    def _rank(self, hits: Sequence[Hit]) -> int | None:
        return next((rank for rank, hit in enumerate(hits, 1) if hit.uri in self.query.right), None)


def read_own_queries_of(collection: Collection, file: Path) -> tuple[OwnQuery, ...]:
    """A CSV with the columns `query` and `path`, one line for each right answer. `path` may be empty.

    A path is absolute, or the end of an absolute path: "2019/beach.jpg" matches in any folder.

    Raises:
        DatasetError: the file cannot be read, or a path matches no file of the collection or several. The message names the record.
    """
    by_name: dict[str, list[str]] = {}
    snapshot = collection.snapshot
    for uri in sorted({row["uri"] for row in snapshot.rows(snapshot.segment_ids)}):
        by_name.setdefault(PurePath(uri).name, []).append(uri)
    right: dict[str, set[str]] = {}
    pairs = Unique("pair of query and path")
    for record, row in read_csv(file, ("query", "path")):
        query, path = row["query"], row["path"]
        if not query:
            raise DatasetError(f"{record}: the query is empty. Write what you would type into the search box.")
        pairs.add((query, path), record)
        answers = right.setdefault(query, set())
        if path:
            answers.add(_matching_uri(path, by_name, record))
    if not right:
        raise DatasetError(f"{file}: holds no query. Write one on each line, below the line query,path.")
    return tuple(OwnQuery(query, frozenset(answers)) for query, answers in right.items())


def _matching_uri(path: str, by_name: dict[str, list[str]], record: str) -> str:
    wanted = PurePath(path)
    matching = [uri for uri in by_name.get(wanted.name, []) if PurePath(uri).parts[-len(wanted.parts) :] == wanted.parts]
    if len(matching) != 1:
        what = f"matches {len(matching)} files" if matching else "matches no file"
        raise DatasetError(f"{record}: the path {path!r} {what} of the collection. Write the full path of an indexed file, or none.")
    return matching[0]


@dataclass(frozen=True)
class ExactSearch:
    """Vectors float32 (S, E) of all pictures and moments, and the row of each segment id."""

    vectors: NDArray[np.float32]
    row_of: dict[int, int]


def read_vectors(collection: Collection) -> ExactSearch:
    """All vectors of the collection. Raises DatasetError if it holds none."""
    ids, vectors = collection.snapshot.vectors(DEFAULT_KINDS)
    if not len(ids):
        raise DatasetError(f"{collection.path}: the collection holds no picture or moment. Index some first.")
    return ExactSearch(vectors, {segment: row for row, segment in enumerate(ids.tolist())})


def ask(
    collection: Collection, queries: Sequence[OwnQuery], exact: ExactSearch, *, shortlist: int, weight: float, on_progress: OnProgress
) -> list[Answer]:
    """The answers to all queries. The first search warms up caches and does not count."""
    search(queries[0].text, collection=collection, k=K)
    answers = []
    for number, query in enumerate(queries, 1):
        times = [time.perf_counter()]
        search(query.text, collection=collection, k=USUAL)
        times.append(time.perf_counter())
        hits = list(search(query.text, collection=collection, k=max(DEPTH, shortlist)))
        times.append(time.perf_counter())
        first = rerank(hits[:shortlist], query.text, collection.encoder, collection.path, weight=weight)
        times.append(time.perf_counter())
        usual, _, reranking = (1000 * np.diff(times)).tolist()
        recall = _index_recall(collection, query.text, exact)
        answers.append(Answer(query, hits, first + hits[shortlist:], usual, reranking, recall))
        on_progress("queries", number, len(queries))
    return answers


def _index_recall(collection: Collection, text: str, exact: ExactSearch) -> float:
    """The share of the exact ten nearest segments that the index returns. A segment as near as the tenth is as good."""
    vector = collection.encoder.encode_texts([text])[0]
    cosines = exact.vectors @ vector
    k = min(K, len(cosines))
    least = np.partition(cosines, -k)[-k] - _TIE
    hits = search(vector, collection=collection, k=k, group_by_file=False)
    return sum(bool(cosines[exact.row_of[hit.segment_id]] >= least) for hit in hits) / k


def shown_as(collection: Path, hit: Hit) -> Medium:
    """A hit as the search page shows it: for a film, the frame of the moment."""
    return Medium(PurePath(hit.uri).name, thumbnail_of(collection, vars(hit)), "image", hit.uri)
