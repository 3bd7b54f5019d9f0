"""`eval collection`: a user's own collection by their own queries.

Does the index find what exact search finds; does the decoder's second look help; how long does an answer take; and how far
can a cosine be trusted here.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from statistics import quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import Medium
from evaluation.datasets.files import Unique, read_csv
from evaluation.errors import DatasetError
from evaluation.features.extract import OnProgress
from evaluation.measures.calibration import promised, reliability
from evaluation.measures.intervals import mean_interval
from evaluation.reports.provenance import digest, provenance
from evaluation.reports.report import Curve, Example, Line, Measure, Report, Row, Table
from search import Collection, Hit, search
from search.engine import DEFAULT_KINDS
from search.rerank import WEIGHT, rerank
from search.thumbnails import thumbnail_path

_K = 10
_USUAL, _DEPTH = 20, 200  # hits of a usual search, which is timed, and of the one whose ranks count
_LEAST_JUDGED = 20  # hits, of both kinds, below which a calibration curve would be noise
_EXAMPLES, _SHOWN = 12, 5
_COSINES = 5  # groups of hits by their cosine
_TIE = 1e-5
_QUALITY = ("R@1", "R@5", "R@10", "MRR")


@dataclass(frozen=True)
class OwnQuery:
    """What someone typed, and the uris that are right; none where they only want to know the speed."""

    text: str
    right: frozenset[str]


@dataclass
class _Answer:
    """What came back for a query, and how long it took in milliseconds."""

    hits: list[Hit]
    reranked: list[Hit]
    milliseconds: float
    rerank_milliseconds: float
    index_recall: float = field(default=0.0)


def read_own_queries_of(collection: Collection, file: Path) -> tuple[OwnQuery, ...]:
    """A CSV with the columns `query` and `path`, one line for each right answer; `path` may be empty.

    A path is absolute, or the end of one: "2019/beach.jpg" is found wherever it lies.

    Raises:
        DatasetError: the file cannot be read, or a path is no file of the collection or fits several; the record is named.
    """
    known = collection.snapshot.table.read(["uri"])["uri"].unique().to_pylist()
    by_name: dict[str, list[str]] = {}
    for uri in known:
        by_name.setdefault(PurePath(uri).name, []).append(uri)
    right: dict[str, set[str]] = {}
    pairs = Unique("pair of query and path")
    for record, row in read_csv(file, ("query", "path")):
        query, path = row["query"], row["path"]
        if not query:
            raise DatasetError(f"{record}: the query is empty. Type what you would search for.")
        pairs.add((query, path), record)
        answers = right.setdefault(query, set())
        if path:
            answers.add(_the_one(path, by_name, record))
    if not right:
        raise DatasetError(f"{file}: holds no query. Write one on each line, below the line query,path.")
    return tuple(OwnQuery(query, frozenset(answers)) for query, answers in right.items())


def evaluate_collection(
    collection: Collection,
    queries: Sequence[OwnQuery],
    *,
    shortlist: int = 20,
    weight: float = WEIGHT,
    on_progress: OnProgress | None = None,
) -> Report:
    """Ask every query, by the index, exactly, and with the shortlist reranked."""
    tell = on_progress or (lambda *_: None)
    exact = _read_exact(collection)
    search(queries[0].text, collection=collection, k=_K)  # the first one warms caches up and does not count
    answers = []
    for number, query in enumerate(queries, 1):
        answers.append(_ask(collection, query, exact, shortlist, weight))
        tell("queries", number, len(queries))
    judged = [(query, answer) for query, answer in zip(queries, answers, strict=True) if query.right]
    tables = [_index_table(answers, len(exact.place)), _latency_table(answers, shortlist)]
    curves: tuple[Curve, ...] = ()
    if judged:
        tables = [*_quality_tables(judged, shortlist), *tables]
        curves, calibration = _calibration(judged)
        tables += calibration
    encoder = collection.encoder
    facts = provenance(encoder) | {
        "version": collection.snapshot.version,
        "segments": len(exact.place),
        "queries": len(queries),
        "with a right answer": len(judged),
        "shortlist": shortlist,
        "weight of the decoder": weight,
        "queries sha256": digest([query.text for query in queries]),
    }
    return Report(
        "collection",
        f"Collection {collection.path.resolve().parent.name}/{collection.path.name}",
        tuple(tables),
        facts,
        curves,
        _examples(collection.path, judged),
        examples_are="Queries whose right answer came latest",
        records=_records(queries, answers),
    )


def _the_one(path: str, by_name: dict[str, list[str]], record: str) -> str:
    wanted = PurePath(path)
    fitting = [uri for uri in by_name.get(wanted.name, []) if PurePath(uri).parts[-len(wanted.parts) :] == wanted.parts]
    if len(fitting) != 1:
        what = f"fits {len(fitting)} files of the collection" if fitting else "is no file of the collection"
        raise DatasetError(f"{record}: the path {path!r} {what}. Write the whole path of one that is indexed, or leave it empty.")
    return fitting[0]


@dataclass(frozen=True)
class _Exact:
    """What exact search looks among: vectors float32 (S, E) of the pictures and moments, and the place of each segment id."""

    vectors: NDArray[np.float32]
    place: dict[int, int]


def _read_exact(collection: Collection) -> _Exact:
    """Read from Lance. Raises DatasetError where the collection holds nothing."""
    kinds = ", ".join(f"'{kind}'" for kind in DEFAULT_KINDS)
    rows = collection.snapshot.table.read(["segment_id", "vector"], f"kind IN ({kinds})")
    if not len(rows):
        raise DatasetError(f"{collection.path}: the collection holds no picture or moment. Index some first.")
    vectors = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    return _Exact(vectors.astype(np.float32, copy=False), {segment: place for place, segment in enumerate(rows["segment_id"].to_pylist())})


def _ask(collection: Collection, query: OwnQuery, exact: _Exact, shortlist: int, weight: float) -> _Answer:
    since = time.perf_counter()
    search(query.text, collection=collection, k=_USUAL)
    found = time.perf_counter()
    hits = list(search(query.text, collection=collection, k=max(_DEPTH, shortlist)))
    again = time.perf_counter()
    first = rerank(hits[:shortlist], query.text, collection.encoder, collection.path, weight=weight)
    done = time.perf_counter()
    answer = _Answer(hits, first + hits[shortlist:], 1000 * (found - since), 1000 * (done - again))
    answer.index_recall = _index_recall(collection, query.text, exact)
    return answer


def _index_recall(collection: Collection, text: str, exact: _Exact) -> float:
    """The part of the exact ten nearest segments that the index returns; one as near as the tenth is as good."""
    vector = collection.encoder.encode_texts([text])[0]
    cosines = exact.vectors @ vector
    k = min(_K, len(cosines))
    least = np.partition(cosines, -k)[-k] - _TIE
    hits = search(vector, collection=collection, k=k, group_by_file=False)
    return sum(bool(cosines[exact.place[hit.segment_id]] >= least) for hit in hits) / k


def _ranks(judged: Sequence[tuple[OwnQuery, _Answer]], *, reranked: bool) -> NDArray[np.float64]:
    """The rank of the first right hit, from 1; infinity where none came back."""
    return np.array([_rank(query, answer.reranked if reranked else answer.hits) or np.inf for query, answer in judged])


def _quality(ranks: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {**{f"R@{k}": (ranks <= k).astype(np.float64) for k in (1, 5, 10)}, "MRR": 1 / ranks}


def _quality_tables(judged: Sequence[tuple[OwnQuery, _Answer]], shortlist: int) -> list[Table]:
    before, after = _quality(_ranks(judged, reranked=False)), _quality(_ranks(judged, reranked=True))
    gain = {name: mean_interval(after[name] - before[name]) for name in _QUALITY}
    rows = (
        Row("cosine", {name: mean_interval(values) for name, values in before.items()}),
        Row(f"first {shortlist} reranked", {name: mean_interval(values) for name, values in after.items()}),
    )
    note = "Query by query: an interval that contains 0 means that no gain was shown."
    found = f"Ranks beyond {_DEPTH} count as not found."
    return [
        Table("what is found", _QUALITY, rows, found, bars=_QUALITY),
        Table("gain of reranking", _QUALITY, (Row("points", gain),), note),
    ]


def _index_table(answers: Sequence[_Answer], segments: int) -> Table:
    recall = mean_interval(np.array([answer.index_recall for answer in answers]))
    name = f"recall@{min(_K, segments)}"
    return Table("index against exact search", (name,), (Row(f"{segments} segments", {name: recall}),))


def _latency_table(answers: Sequence[_Answer], shortlist: int) -> Table:
    plain = [answer.milliseconds for answer in answers]
    whole = [answer.milliseconds + answer.rerank_milliseconds for answer in answers]
    rows = (Row("search", _percentiles(plain)), Row(f"search, first {shortlist} reranked", _percentiles(whole)))
    return Table("latency, ms", ("p50", "p99"), rows, f"One query after the other, words to {_USUAL} hits, the model loaded.")


def _percentiles(values: Sequence[float]) -> dict[str, Measure]:
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": Measure(cuts[49]), "p99": Measure(cuts[98])}


def _calibration(judged: Sequence[tuple[OwnQuery, _Answer]]) -> tuple[tuple[Curve, ...], list[Table]]:
    """Of the first ten hits of each query: what a curve over the cosine promises, against what came true."""
    rows = [(n, hit.similarity, hit.uri in query.right) for n, (query, answer) in enumerate(judged) for hit in answer.hits[:_K]]
    questions, cosines, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows], bool)
    if min(right.sum(), (~right).sum()) < _LEAST_JUDGED or len(judged) < _LEAST_JUDGED:
        need = f"A calibration curve needs {_LEAST_JUDGED} queries, {_LEAST_JUDGED} right hits and as many wrong ones"
        return (), [Table("calibration", (), (), f"{need}; here are {len(judged)}, {right.sum()} and {(~right).sum()}.")]
    kept = reliability(promised(cosines, right, questions), right)
    values = {"expected calibration error": Measure(100 * kept.expected_calibration_error), "Brier": Measure(100 * kept.brier)}
    note = "By a logistic curve over the cosine, fitted on other queries. A hit that is right but not in your list counts as wrong."
    line = Line("hits", tuple(100 * p for p in kept.promised), tuple(100 * p for p in kept.came_true))
    curve = Curve("calibration", "promised, %", "came true, %", (line,), diagonal=True)
    return (curve,), [_trust_table(cosines, right), Table("calibration", tuple(values), (Row("cosine, logistic", values),), note)]


def _trust_table(cosines: NDArray[np.float64], right: NDArray[np.bool_]) -> Table:
    """How many of the hits were right, in groups of equal size by cosine."""
    rows = []
    for group in np.array_split((-cosines).argsort(kind="stable"), _COSINES):
        name = f"cosine {cosines[group[-1]]:.2f} to {cosines[group[0]]:.2f}, {len(group)} hits"
        rows.append(Row(name, {"right": Measure(100 * float(right[group].mean()))}))
    return Table("how far a cosine can be trusted", ("right",), tuple(rows), f"Of the first {_K} hits of each query.")


def _records(queries: Sequence[OwnQuery], answers: Sequence[_Answer]) -> tuple[dict[str, Any], ...]:
    """Each query with the rank of its first right hit before and after reranking, empty where none came back."""
    records = []
    for query, answer in zip(queries, answers, strict=True):
        before, after = (_rank(query, hits) for hits in (answer.hits, answer.reranked))
        first = answer.hits[0] if answer.hits else None
        places = {"rank": before, "rank reranked": after} if query.right else {"rank": None, "rank reranked": None}
        found = {"first hit": first.uri if first else "", "cosine": round(first.similarity, 4) if first else None}
        records.append({"query": query.text, **places, **found, "ms": round(answer.milliseconds, 1)})
    return tuple(records)


def _examples(collection: Path, judged: Sequence[tuple[OwnQuery, _Answer]]) -> tuple[Example, ...]:
    """The queries whose right answer came latest: where to look first."""
    worst = sorted(judged, key=lambda pair: -(_rank(pair[0], pair[1].hits) or np.inf))[:_EXAMPLES]
    examples = []
    for query, answer in worst:
        rank, hits = _rank(query, answer.hits), answer.hits[:_SHOWN]
        found = tuple(
            (_seen(collection, hit), f"{hit.similarity:.2f}{_moment(hit)}{' ✓' if hit.uri in query.right else ''}") for hit in hits
        )
        examples.append(
            Example(f"{query.text} ({f'rank {rank}' if rank else f'not among the first {len(answer.hits)}'})", rank == 1, found)
        )
    return tuple(examples)


def _rank(query: OwnQuery, hits: Sequence[Hit]) -> int | None:
    return next((place for place, hit in enumerate(hits, 1) if hit.uri in query.right), None)


def _seen(collection: Path, hit: Hit) -> Medium:
    """A hit as the search page shows it: of a film the moment's own frame."""
    return Medium(PurePath(hit.uri).name, thumbnail_path(collection, hit.media_id, hit.frame_seconds), "image", hit.uri)


def _moment(hit: Hit) -> str:
    return "" if hit.start_seconds is None else f", {hit.start_seconds:.1f}–{hit.end_seconds:.1f} s"
