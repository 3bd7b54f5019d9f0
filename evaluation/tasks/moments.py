"""`eval moments`: where in a video a sentence happens.

Two methods are measured. *Shots* are those of the index: the video is cut where neighbouring embeddings differ. *Raised segment*
needs no cuts: it is the stretch of frames with higher cosines to the sentence than the rest, by maximum likelihood of one raised
segment in Gaussian noise (circular binary segmentation, Olshen et al. 2004, Biostatistics 5, section 3).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import MomentQuery, MomentSet
from evaluation.errors import UnreadableMediaError
from evaluation.features import Arrays, Decoded, Feature, Features, FeatureSource
from evaluation.measures.intervals import Measure, mean_interval
from evaluation.reports.parts import Curve, Example, Line, Row, Table, data_metadata, model_name, provenance
from evaluation.reports.report import Report
from indexer.processing.shots import find_shots, mean_vector
from media.video import SECONDS_BETWEEN_FRAMES

Span = tuple[float, float]
THRESHOLDS = (0.3, 0.5, 0.7)
COLUMNS = (*(f"R@1, IoU {threshold}" for threshold in THRESHOLDS), "mean IoU")
DIDEMO = ("Rank@1", "Rank@5", "mIoU")
_DIDEMO_PARTS, _DIDEMO_SPANS = 6, 21  # parts of five seconds, and the spans that can be made of them
_EXAMPLES, _RIGHT = 12, 0.5  # and the least overlap of an example that counts as right
_CURVE = tuple(i / 20 for i in range(1, 20))


def evaluate_moments(dataset: MomentSet, source: FeatureSource, *, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> Report:
    """Find the moment of each sentence in its video. Raises UnreadableMediaError, unless the source allows missing media."""
    feature = Feature(f"frames {seconds_between:g} s", lambda encoder, pixels: encoder.encode_pixels(pixels), _keep, seconds_between)
    features = source.of_media(dataset.media, feature)
    queries = [query for query in dataset.queries if query.medium not in features.failed]
    if not queries:
        raise UnreadableMediaError(f"{dataset.title}: none of its videos can be read. {next(iter(features.failed.values()))}")
    grid = dataset.segment_seconds
    answers, beyond = _answers(queries, source.of_texts([query.text for query in queries]), features, grid)
    # the IoU of each first answer with the best matching span, float64 (queries,)
    overlaps = {
        name: np.array([_best_overlap(spans[0], query) for spans, query in zip(found, queries, strict=True)])
        for name, found in answers.items()
    }
    model, clusters = model_name(source.encoder), np.array([query.medium for query in queries])
    rows = []
    for name, values in overlaps.items():
        rates = {f"R@1, IoU {threshold}": (values >= threshold).astype(np.float64) for threshold in THRESHOLDS} | {"mean IoU": values}
        rows.append(Row(f"{model}, {name}", {column: mean_interval(rate, clusters=clusters) for column, rate in rates.items()}))
    note = "If a sentence has several spans, the best match counts."
    note += f" {beyond} of the sentences have a span that begins after the end of the video." if beyond else ""
    tables = [Table("moments", COLUMNS, tuple(rows), note, bars=COLUMNS)]
    if grid is not None:
        rows = [Row(f"{model}, {name}", didemo_measures(found, queries, clusters)) for name, found in answers.items()]
        tables.append(Table("DiDeMo's measures", DIDEMO, tuple(rows), "Of four annotators' spans, the best three count.", bars=DIDEMO))
    lines = tuple(Line(name, _CURVE, tuple(100 * float((values >= t).mean()) for t in _CURVE)) for name, values in overlaps.items())
    missing = (*dataset.missing, *features.failed.values())
    counts = {"videos": len({query.medium for query in queries}), "sentences": len(queries)}
    measured = counts | {"frames": f"{seconds_between:g} s apart, at least 16 a video"}
    metadata = data_metadata(dataset.title, measured, [*features.keys, *(query.text for query in queries)], missing)
    found, records = [spans[0] for spans in answers["raised segment"]], []
    for query, (start, stop), iou in zip(queries, found, overlaps["raised segment"].tolist(), strict=True):
        times = {"start": round(start, 3), "stop": round(stop, 3), "iou": round(iou, 4)}
        records.append({"medium": dataset.media[query.medium].name, "text": query.text, **times})
    return Report(
        "moments",
        f"Moments on {dataset.title}",
        tuple(tables),
        provenance(source.encoder) | metadata,
        (Curve("R@1 by overlap", "least temporal IoU", "recall, %", lines),),
        _examples(dataset, queries, found),
        missing,
        tuple(records),
    )


def _answers(
    queries: Sequence[MomentQuery], texts: NDArray[np.float32], features: Features, grid: float | None
) -> tuple[dict[str, list[list[Span]]], int]:
    """The spans that each method finds for each query, best first, and how many queries have a span after the end of the video."""
    shots, raised, beyond = list[list[Span]](), list[list[Span]](), 0
    for query, text in zip(queries, texts, strict=True):
        (arrays,) = features.load([query.medium])
        # (n, E) and (n + 1,): frame i stands for the seconds from edge i to edge i + 1
        vectors, edges = arrays["vectors"].astype(np.float32), arrays["edges"].astype(np.float64)
        beyond += any(start >= edges[-1] for start, _ in query.spans)
        vectors, edges = (vectors, edges) if grid is None else _on_grid(vectors, edges, grid)
        shots.append(_shots(vectors, edges, text))
        cosines = (vectors @ text).astype(np.float64)
        raised.append(raised_segments(cosines, edges, most=1 if grid is None else _DIDEMO_SPANS))
    return {"shots": shots, "raised segment": raised}, beyond


def _keep(vectors: NDArray[np.generic], decoded: Decoded) -> Arrays:
    """The arrays to cache for a video."""
    between = (decoded.seconds[:-1] + decoded.seconds[1:]) / 2
    last = max(decoded.duration_seconds, float(decoded.seconds[-1]))
    return {"vectors": vectors.astype(np.float32), "edges": np.array([0.0, *between, last])}


def _examples(dataset: MomentSet, queries: Sequence[MomentQuery], found: Sequence[Span]) -> tuple[Example, ...]:
    """Random sentences, the same ones each time, each with the middle of the segment that was found and of the true ones."""
    examples = []
    for index in random.Random(0).sample(range(len(queries)), min(_EXAMPLES, len(queries))):
        query, answer = queries[index], found[index]
        named = [("found", answer), *dict.fromkeys(("true", span) for span in query.spans)]
        shown = tuple((replace(dataset.media[query.medium], seconds=(a + b) / 2), f"{what} {a:.1f}–{b:.1f} s") for what, (a, b) in named)
        examples.append(Example(query.text, _best_overlap(answer, query) >= _RIGHT, shown))
    return tuple(examples)


def temporal_iou(found: Span, truth: Span) -> float:
    """Seconds in both over seconds in either. Spans are [start, stop). 0 if both are empty."""
    both = max(0.0, min(found[1], truth[1]) - max(found[0], truth[0]))
    either = (found[1] - found[0]) + (truth[1] - truth[0]) - both
    return both / either if either > 0 else 0.0


def _best_overlap(span: Span, query: MomentQuery) -> float:
    return max(temporal_iou(span, truth) for truth in query.spans)


def raised_segments(cosines: NDArray[np.float64], edges: NDArray[np.float64], *, most: int = 1) -> list[Span]:
    """The best stretches of frames as spans in seconds, best first, at most `most`.

    The score of a stretch of `a` of n frames is sqrt(a (n - a) / n) times (mean inside - mean outside). The whole video scores 0.
    """
    n = len(cosines)
    sums = np.concatenate([[0.0], np.cumsum(cosines - cosines.mean())])  # their differences are the sums of stretches, relative to the mean
    best: list[tuple[float, int, int]] = []
    for length in range(1, n + 1):  # one length at a time, so that a film of hours needs no more memory than its frames
        spread = np.sqrt(length * (n - length) / n)
        scores = (sums[length:] - sums[:-length]) / spread if length < n else np.zeros(1)
        first = np.argsort(-scores, kind="stable")[:most]
        best += [(-float(scores[start]), int(start), int(start) + length) for start in first]
    return [(float(edges[start]), float(edges[stop])) for _, start, stop in sorted(best)[:most]]


def didemo_measures(found: Sequence[Sequence[Span]], queries: Sequence[MomentQuery], clusters: NDArray[np.int64]) -> Mapping[str, Measure]:
    """Rank@1, Rank@5 and mIoU over the three best spans, as Hendricks et al. 2017 score DiDeMo (arXiv 1708.01641, section 5)."""
    ranks, overlaps = [], []
    for spans, query in zip(found, queries, strict=True):
        span_ranks = [spans.index(span) + 1 if span in spans else np.inf for span in query.spans]
        ranks.append(np.sort(span_ranks)[:3].mean())
        overlaps.append(np.sort([temporal_iou(spans[0], span) for span in query.spans])[-3:].mean())
    rank = np.array(ranks)
    named = {"Rank@1": rank <= 1, "Rank@5": rank <= 5, "mIoU": np.array(overlaps)}
    return {name: mean_interval(values.astype(np.float64), clusters=clusters) for name, values in named.items()}


def _shots(vectors: NDArray[np.float32], edges: NDArray[np.float64], text: NDArray[np.float32]) -> list[Span]:
    """The shots as spans in seconds, most similar to the text first."""
    shots = [shot for _, shot in find_shots(vectors, edges[:-1].tolist())]
    cosines = np.array([float(mean_vector(vectors[shot.first : shot.stop]) @ text) for shot in shots])
    best_first = (shots[index] for index in np.argsort(-cosines, kind="stable"))
    return [(float(edges[shot.first]), float(edges[shot.stop])) for shot in best_first]


def _on_grid(vectors: NDArray[np.float32], edges: NDArray[np.float64], seconds: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The mean vector of each of the first six parts of the grid, which DiDeMo's annotators saw. A short last part counts as whole."""
    parts = ((edges[:-1] + edges[1:]) / 2 // seconds).astype(np.int64)
    present = np.unique(parts[parts < _DIDEMO_PARTS])
    means = np.stack([mean_vector(vectors[parts == part]) for part in present])
    return means, np.append(present, present[-1] + 1) * seconds
