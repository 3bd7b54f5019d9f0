"""`eval collection`: a user's collection by the user's queries.

Does the index find what exact search finds, does reranking by the decoder help, how long does an answer take, and how far can a
cosine be trusted here.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.features.extract import OnProgress
from evaluation.measures.calibration import cross_fitted, reliability
from evaluation.measures.intervals import Measure, mean_interval
from evaluation.reports.parts import Curve, Example, Line, Row, Table
from evaluation.reports.provenance import digest, provenance
from evaluation.reports.report import Report
from evaluation.tasks.collection_answers import DEPTH, USUAL, Answer, K, OwnQuery, ask, read_vectors, shown_as
from search import Collection
from search.decoder_rerank import WEIGHT

_MIN_JUDGED = 20  # right hits, wrong hits and queries that a calibration curve needs
_EXAMPLES, _SHOWN = 12, 5
_COSINES = 5  # groups of hits by cosine
_QUALITY = ("R@1", "R@5", "R@10", "MRR")


def evaluate_collection(
    collection: Collection,
    queries: Sequence[OwnQuery],
    *,
    shortlist: int = 20,
    weight: float = WEIGHT,
    on_progress: OnProgress | None = None,
) -> Report:
    """Ask every query: by the index, exactly, and with the shortlist reranked. Raises DatasetError if the collection is empty."""
    exact = read_vectors(collection)
    answers = ask(collection, queries, exact, shortlist=shortlist, weight=weight, on_progress=on_progress or (lambda *_: None))
    judged = [answer for answer in answers if answer.query.right]
    tables = [_index_table(answers, len(exact.row_of)), _latency_table(answers, shortlist)]
    curves: tuple[Curve, ...] = ()
    if judged:
        tables = [*_quality_tables(judged, shortlist), *tables]
        curves, calibration = _calibration(judged)
        tables += calibration
    metadata = {
        "version": collection.snapshot.version,
        "segments": len(exact.row_of),
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
        provenance(collection.encoder) | metadata,
        curves,
        _examples(collection.path, judged),
        examples_are="Queries with the lowest ranked right answers",
        records=tuple(_record(answer) for answer in answers),
    )


def _quality_tables(judged: Sequence[Answer], shortlist: int) -> list[Table]:
    before, after = _quality([answer.rank for answer in judged]), _quality([answer.rank_reranked for answer in judged])
    gain = {name: mean_interval(after[name] - before[name]) for name in _QUALITY}
    rows = (
        Row("cosine", {name: mean_interval(values) for name, values in before.items()}),
        Row(f"first {shortlist} reranked", {name: mean_interval(values) for name, values in after.items()}),
    )
    found = f"Right answers beyond rank {DEPTH} count as not found."
    note = "The gain is computed query by query. An interval that contains 0 shows no gain."
    return [
        Table("what is found", _QUALITY, rows, found, bars=_QUALITY),
        Table("gain of reranking", _QUALITY, (Row("points", gain),), note),
    ]


def _quality(found: Sequence[int | None]) -> dict[str, NDArray[np.float64]]:
    ranks = np.array([rank or np.inf for rank in found])
    return {**{f"R@{k}": (ranks <= k).astype(np.float64) for k in (1, 5, 10)}, "MRR": 1 / ranks}


def _index_table(answers: Sequence[Answer], segments: int) -> Table:
    recall = mean_interval(np.array([answer.index_recall for answer in answers]))
    name = f"recall@{min(K, segments)}"
    return Table("index against exact search", (name,), (Row(f"{segments} segments", {name: recall}),))


def _latency_table(answers: Sequence[Answer], shortlist: int) -> Table:
    plain = [answer.milliseconds for answer in answers]
    whole = [answer.milliseconds + answer.rerank_milliseconds for answer in answers]
    rows = (Row("search", _percentiles(plain)), Row(f"search, first {shortlist} reranked", _percentiles(whole)))
    return Table("latency, ms", ("p50", "p99"), rows, f"One query at a time, from text to {USUAL} hits, with the model loaded.")


def _percentiles(values: Sequence[float]) -> dict[str, Measure]:
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"p50": Measure(cuts[49]), "p99": Measure(cuts[98])}


def _calibration(judged: Sequence[Answer]) -> tuple[tuple[Curve, ...], list[Table]]:
    """Of the first ten hits of each query: the probabilities of a curve over the cosine, and the share that was right."""
    rows = [(n, hit.similarity, hit.uri in answer.query.right) for n, answer in enumerate(judged) for hit in answer.hits[:K]]
    queries, cosines, right = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows], bool)
    if min(right.sum(), (~right).sum()) < _MIN_JUDGED or len(judged) < _MIN_JUDGED:
        need = f"A calibration curve needs {_MIN_JUDGED} queries, {_MIN_JUDGED} right hits and as many wrong ones"
        return (), [Table("calibration", (), (), f"{need}. Here are {len(judged)}, {right.sum()} and {(~right).sum()}.")]
    result = reliability(cross_fitted(cosines, right, queries), right)
    values = {"expected calibration error": Measure(100 * result.expected_calibration_error), "Brier": Measure(100 * result.brier)}
    note = "A logistic curve over the cosine, fitted on other queries. A right hit that is not in your list counts as wrong."
    line = Line("hits", tuple(100 * p for p in result.predicted), tuple(100 * p for p in result.observed))
    curve = Curve("calibration", "probability, %", "right, %", (line,), diagonal=True)
    return (curve,), [_trust_table(cosines, right), Table("calibration", tuple(values), (Row("cosine, logistic", values),), note)]


def _trust_table(cosines: NDArray[np.float64], right: NDArray[np.bool_]) -> Table:
    """The share of right hits in groups of equal size by cosine."""
    rows = []
    for group in np.array_split((-cosines).argsort(kind="stable"), _COSINES):
        name = f"cosine {cosines[group[-1]]:.2f} to {cosines[group[0]]:.2f}, {len(group)} hits"
        rows.append(Row(name, {"right": Measure(100 * float(right[group].mean()))}))
    return Table("how far a cosine can be trusted", ("right",), tuple(rows), f"Of the first {K} hits of each query.")


def _record(answer: Answer) -> dict[str, Any]:
    """A query with the rank of the first right hit before and after reranking, and the first hit; empty if there is none."""
    first = answer.hits[0] if answer.hits else None
    return {
        "query": answer.query.text,
        "rank": answer.rank,
        "rank reranked": answer.rank_reranked,
        "first hit": first.uri if first else "",
        "cosine": round(first.similarity, 4) if first else None,
        "ms": round(answer.milliseconds, 1),
    }


def _examples(collection: Path, judged: Sequence[Answer]) -> tuple[Example, ...]:
    """The queries with the lowest ranked right answers: where to look first."""
    examples = []
    for answer in sorted(judged, key=lambda answer: -(answer.rank or np.inf))[:_EXAMPLES]:
        found = []
        for hit in answer.hits[:_SHOWN]:
            moment = "" if hit.start_seconds is None else f", {hit.start_seconds:.1f}–{hit.end_seconds:.1f} s"
            right = " ✓" if hit.uri in answer.query.right else ""
            found.append((shown_as(collection, hit), f"{hit.similarity:.2f}{moment}{right}"))
        rank = f"rank {answer.rank}" if answer.rank else f"not among the first {len(answer.hits)}"
        examples.append(Example(f"{answer.query.text} ({rank})", answer.rank == 1, tuple(found)))
    return tuple(examples)
