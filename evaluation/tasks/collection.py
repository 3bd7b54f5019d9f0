"""`eval collection`: measures a user's collection with the user's queries. The only file of `evaluation` that searches.

It measures the recall of the index, the gain of reranking by the decoder, the latency, and how often hits of a cosine are right.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import Medium
from evaluation.datasets.files import Unique, read_csv
from evaluation.errors import DatasetError
from evaluation.features import OnProgress
from evaluation.measures.calibration import cross_fitted, reliability
from evaluation.measures.intervals import Measure, mean_interval
from evaluation.measures.ranking import by_query
from evaluation.reports.parts import Curve, Example, Line, Row, Table, digest, provenance
from evaluation.reports.report import Report
from search import Collection, Hit, search
from search.collection.bucket.place import fetch_thumbnails, shown
from search.collection.thumbnails import thumbnail_of
from search.decoder_rerank import WEIGHT, rerank
from search.schema import DEFAULT_KINDS

_K = 10
_USUAL, _DEPTH = 20, 200  # hits of the search that is timed, and of the search that is scored
_TIE = 1e-5
_MIN_JUDGED = 20  # right hits, wrong hits and queries that a calibration curve needs
_EXAMPLES, _SHOWN = 12, 5
_COSINES = 5  # groups of hits by cosine
_QUALITY = ("R@1", "R@5", "R@10", "MRR")


@dataclass(frozen=True)
class OwnQuery:
    """A query, and the uris of the right files; none if only the latency is measured."""

    text: str
    right: frozenset[str]

    def rank(self, hits: Sequence[Hit]) -> int | None:
        """The rank of the first right hit, from 1; None if there is none."""
        return next((rank for rank, hit in enumerate(hits, 1) if hit.uri in self.right), None)


@dataclass(frozen=True)
class _Answer:
    query: OwnQuery
    hits: list[Hit]
    rank: int | None
    rank_reranked: int | None
    milliseconds: float
    rerank_milliseconds: float
    index_recall: float  # 0..1


def read_own_queries_of(collection: Collection, file: Path) -> tuple[OwnQuery, ...]:
    """A CSV with the columns `query` and `path`, one line for each right answer. `path` may be empty.

    A path is absolute, or the end of an absolute path: "2019/beach.jpg" matches in any folder. Raises DatasetError if
    a path matches no file of the collection, or several.
    """
    by_name: dict[str, list[str]] = {}
    snapshot = collection.snapshot
    for uri in sorted({row["uri"] for row in snapshot.rows(snapshot.segment_ids)}):
        by_name.setdefault(PurePath(uri).name, []).append(uri)
    right, pairs = dict[str, set[str]](), Unique("pair of query and path")
    for record, row in read_csv(file, ("query", "path"), filled=("query",)):
        query, path = row["query"], row["path"]
        pairs.add((query, path), record)
        answers, wanted = right.setdefault(query, set()), PurePath(path).parts
        matching = [uri for uri in by_name.get(PurePath(path).name, []) if PurePath(uri).parts[-len(wanted) :] == wanted]
        if path and len(matching) != 1:
            what = f"matches {len(matching)} files" if matching else "matches no file"
            raise DatasetError(f"{record}: the path {path!r} {what} of the collection. Write the full path of an indexed file, or none.")
        answers.update(matching)
    if not right:
        raise DatasetError(f"{file}: contains no query. Write one per line, below the line query,path.")
    return tuple(OwnQuery(query, frozenset(answers)) for query, answers in right.items())


def evaluate_collection(
    collection: Collection,
    queries: Sequence[OwnQuery],
    *,
    shortlist: int = 20,
    weight: float = WEIGHT,
    on_progress: OnProgress = lambda *_: None,
) -> Report:
    """Search every query: by the index, exactly, and with the shortlist reranked. Raises DatasetError if the collection is empty."""
    ids, vectors = collection.snapshot.vectors(DEFAULT_KINDS)
    if not len(ids):
        raise DatasetError(f"{collection.path}: the collection holds no picture or moment. Index some first.")
    row_of = {segment: row for row, segment in enumerate(ids.tolist())}
    search(queries[0].text, collection=collection, k=_K)  # warms up caches
    answers = []
    for number, query in enumerate(queries, 1):
        answers.append(_ask(collection, query, vectors, row_of, shortlist=shortlist, weight=weight))
        on_progress("queries", number, len(queries))
    judged = [answer for answer in answers if answer.query.right]
    recall = mean_interval(np.array([answer.index_recall for answer in answers]))
    name = f"recall@{min(_K, len(ids))}"
    index = Table("index against exact search", (name,), (Row(f"{len(ids)} segments", {name: recall}),))
    tables = [index, _latency_table(answers, shortlist)]
    curves: tuple[Curve, ...] = ()
    if judged:
        curves, calibration = _calibration(judged)
        tables = [*_quality_tables(judged, shortlist), *tables, *calibration]
    counts = {"segments": len(ids), "queries": len(queries), "with a right answer": len(judged)}
    reranking = {"shortlist": shortlist, "weight of the decoder": weight, "queries sha256": digest([query.text for query in queries])}
    records = []
    for answer in answers:
        first = answer.hits[0] if answer.hits else None
        ranks = {"query": answer.query.text, "rank": answer.rank, "rank reranked": answer.rank_reranked}
        found = {"first hit": first.uri if first else "", "cosine": round(first.similarity, 4) if first else None}
        records.append({**ranks, **found, "ms": round(answer.milliseconds, 1)})
    return Report(
        "collection",
        f"Collection {'/'.join(shown(collection.path.resolve()).split('/')[-2:])}",
        tuple(tables),
        provenance(collection.encoder) | {"version": collection.snapshot.version} | counts | reranking,
        curves,
        _examples(collection.path, judged),
        examples_are="Queries with the lowest ranked right answers",
        records=tuple(records),
    )


def _ask(
    collection: Collection, query: OwnQuery, vectors: NDArray[np.float32], row_of: dict[int, int], *, shortlist: int, weight: float
) -> _Answer:
    """`vectors` float32 (S, E) are those of all pictures and moments, `row_of` gives the row of each segment id."""
    times = [time.perf_counter()]
    search(query.text, collection=collection, k=_USUAL)
    times.append(time.perf_counter())
    hits = list(search(query.text, collection=collection, k=max(_DEPTH, shortlist)))
    times.append(time.perf_counter())
    first = rerank(hits[:shortlist], query.text, collection.encoder, collection.path, weight=weight)
    times.append(time.perf_counter())
    usual, _, reranking = (1000 * np.diff(times)).tolist()
    # the share of the ten nearest segments by exact search that the index returns; ties with the tenth count
    vector = collection.encoder.encode_texts([query.text])[0]
    cosines = vectors @ vector
    k = min(_K, len(cosines))
    least = np.partition(cosines, -k)[-k] - _TIE
    found = search(vector, collection=collection, k=k, group_by_file=False)
    recall = sum(bool(cosines[row_of[hit.segment_id]] >= least) for hit in found) / k
    return _Answer(query, hits, query.rank(hits), query.rank(first + hits[shortlist:]), usual, reranking, recall)


def _quality_tables(judged: Sequence[_Answer], shortlist: int) -> list[Table]:
    before = by_query(np.array([answer.rank or np.inf for answer in judged]))
    after = by_query(np.array([answer.rank_reranked or np.inf for answer in judged]))
    gain = {name: mean_interval(after[name] - before[name]) for name in _QUALITY}
    shown = {"cosine": before, f"first {shortlist} reranked": after}
    rows = tuple(Row(name, {column: mean_interval(values[column]) for column in _QUALITY}) for name, values in shown.items())
    note = "The gain is computed query by query. An interval that contains 0 shows no gain."
    return [
        Table("what is found", _QUALITY, rows, f"Right answers beyond rank {_DEPTH} count as not found.", bars=_QUALITY),
        Table("gain of reranking", _QUALITY, (Row("points", gain),), note),
    ]


def _latency_table(answers: Sequence[_Answer], shortlist: int) -> Table:
    plain = [answer.milliseconds for answer in answers]
    whole = [answer.milliseconds + answer.rerank_milliseconds for answer in answers]
    named = {"search": plain, f"search, first {shortlist} reranked": whole}
    rows = [Row(name, {f"p{p}": Measure(float(np.percentile(values, p))) for p in (50, 99)}) for name, values in named.items()]
    return Table("latency, ms", ("p50", "p99"), tuple(rows), f"One query at a time, from text to {_USUAL} hits, with the model loaded.")


def _calibration(judged: Sequence[_Answer]) -> tuple[tuple[Curve, ...], list[Table]]:
    """Compare probabilities from a curve over the cosine with the share of right hits, for the first ten hits of each query."""
    rows = [(n, hit.similarity, hit.uri in answer.query.right) for n, answer in enumerate(judged) for hit in answer.hits[:_K]]
    queries, cosines, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows], bool)
    if min(right.sum(), (~right).sum(), len(judged)) < _MIN_JUDGED:
        need = f"A calibration curve needs {_MIN_JUDGED} queries, {_MIN_JUDGED} right hits and as many wrong ones"
        return (), [Table("calibration", (), (), f"{need}. Here are {len(judged)}, {right.sum()} and {(~right).sum()}.")]
    result = reliability(cross_fitted(cosines, right, queries), right)
    values = {"expected calibration error": Measure(100 * result.expected_calibration_error), "Brier": Measure(100 * result.brier)}
    note = "A logistic curve over the cosine, fitted on other queries. A right hit that is not in your list counts as wrong."
    line = Line("hits", tuple(100 * p for p in result.predicted), tuple(100 * p for p in result.observed))
    curve = Curve("calibration", "probability, %", "right, %", (line,), diagonal=True)
    groups = []  # of equal size, by cosine
    for group in np.array_split((-cosines).argsort(kind="stable"), _COSINES):
        name = f"cosine {cosines[group[-1]]:.2f} to {cosines[group[0]]:.2f}, {len(group)} hits"
        groups.append(Row(name, {"right": Measure(100 * float(right[group].mean()))}))
    trust = Table("how far a cosine can be trusted", ("right",), tuple(groups), f"Of the first {_K} hits of each query.")
    return (curve,), [trust, Table("calibration", tuple(values), (Row("cosine, logistic", values),), note)]


def _examples(collection: Path, judged: Sequence[_Answer]) -> tuple[Example, ...]:
    """The queries with the lowest ranked right answers: where to look first. Hits as the search page shows them."""
    examples = []
    for answer in sorted(judged, key=lambda answer: -(answer.rank or np.inf))[:_EXAMPLES]:
        found = []
        fetch_thumbnails(collection, [thumbnail_of(collection, vars(hit)) for hit in answer.hits[:_SHOWN]])
        for hit in answer.hits[:_SHOWN]:
            moment = "" if hit.start_seconds is None else f", {hit.start_seconds:.1f}–{hit.end_seconds:.1f} s"
            right = " ✓" if hit.uri in answer.query.right else ""
            medium = Medium(PurePath(hit.uri).name, thumbnail_of(collection, vars(hit)), "image", hit.uri)
            found.append((medium, f"{hit.similarity:.2f}{moment}{right}"))
        rank = f"rank {answer.rank}" if answer.rank else f"not among the first {len(answer.hits)}"
        examples.append(Example(f"{answer.query.text} ({rank})", answer.rank == 1, tuple(found)))
    return tuple(examples)
