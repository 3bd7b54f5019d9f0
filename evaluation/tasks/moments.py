"""`eval moments`: where in a video a sentence happens.

Two answers are measured. *Shots* is what the index holds: the video cut where the embeddings jump. *Raised segment* needs
no cut: the stretch of frames whose cosines to the sentence are raised above the rest, by maximum likelihood of one raised
segment in Gaussian noise (circular binary segmentation, Olshen et al. 2004, Biostatistics 5, section 3).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import MomentQuery, MomentSet
from evaluation.errors import UnreadableMediaError
from evaluation.features.cache import Arrays
from evaluation.features.extract import Decoded, Feature, FeatureSource
from evaluation.measures.intervals import mean_interval
from evaluation.reports.provenance import digest, model_name, provenance
from evaluation.reports.report import Curve, Example, Line, Measure, Report, Row, Table
from indexer.sample import SECONDS_BETWEEN_FRAMES, find_shots, mean_vector

Span = tuple[float, float]
THRESHOLDS = (0.3, 0.5, 0.7)
COLUMNS = (*(f"R@1, IoU {threshold}" for threshold in THRESHOLDS), "mean IoU")
_EXAMPLES, _RIGHT = 12, 0.5  # an example counts as right from this overlap on
_CURVE = tuple(i / 20 for i in range(1, 20))


@dataclass(frozen=True)
class Frames:
    """The sampled frames of one video: vectors float32 (n, E), and the edges (n + 1,) in seconds between what each stands for."""

    vectors: NDArray[np.float32]
    edges: NDArray[np.float64]


def evaluate_moments(dataset: MomentSet, source: FeatureSource, *, seconds_between: float = SECONDS_BETWEEN_FRAMES) -> Report:
    """Find each sentence's moment in its own video.

    Raises:
        UnreadableMediaError: a video cannot be read, and the source does not allow that.
    """
    features = source.of_media(dataset.media, _frames_feature(seconds_between))
    queries = [query for query in dataset.queries if query.medium not in features.failed]
    if not queries:
        raise UnreadableMediaError(f"{dataset.title}: none of its videos can be read. {next(iter(features.failed.values()))}")
    texts = source.of_texts([query.text for query in queries])
    grid = dataset.segment_seconds
    answers: dict[str, list[list[Span]]] = {name: [] for name in _WAYS}
    missing = (*dataset.missing, *features.failed.values())
    beyond = 0
    for query, text in zip(queries, texts, strict=True):
        (arrays,) = features.load([query.medium])
        beyond += any(start >= arrays["edges"][-1] for start, _ in query.spans)
        frames = Frames(arrays["vectors"].astype(np.float32), arrays["edges"].astype(np.float64))
        for name, find in _WAYS.items():
            answers[name].append(find(frames, text, grid))
    overlaps = {name: _overlaps(found, queries) for name, found in answers.items()}
    clusters = np.array([query.medium for query in queries])
    model = model_name(source.encoder)
    rows = tuple(Row(f"{model}, {name}", _measures(values, clusters)) for name, values in overlaps.items())
    notes = [_NOTE, *([f"{beyond} of the sentences have a span that begins after the end of their video."] if beyond else [])]
    tables = [Table("moments", COLUMNS, rows, " ".join(notes), bars=COLUMNS)]
    if grid is not None:
        official = tuple(Row(f"{model}, {name}", didemo_measures(found, queries, clusters)) for name, found in answers.items())
        tables.append(
            Table("DiDeMo's own measures", DIDEMO, official, "Of four people's spans, the three that agree best count.", bars=DIDEMO)
        )
    facts = provenance(source.encoder) | {
        "data set": dataset.title,
        "videos": len({query.medium for query in queries}),
        "sentences": len(queries),
        "frames": f"{seconds_between:g} s apart, at least 16 a video",
        "left out": len(missing),
        "data sha256": digest([*features.keys, *(query.text for query in queries)]),
    }
    lines = tuple(Line(name, _CURVE, tuple(100 * float((values >= t).mean()) for t in _CURVE)) for name, values in overlaps.items())
    curve = Curve("R@1 by overlap", "least temporal IoU", "recall, %", lines)
    found = answers["raised segment"]
    records = [_record(dataset, query, spans[0], iou) for query, spans, iou in zip(queries, found, overlaps["raised segment"], strict=True)]
    return Report(
        "moments",
        f"Moments on {dataset.title}",
        tuple(tables),
        facts,
        (curve,),
        _examples(dataset, queries, found),
        missing,
        tuple(records),
    )


_NOTE = "Where a sentence has several spans, the one that fits best counts."
_DIDEMO_PARTS, _DIDEMO_SPANS = 6, 21  # parts of five seconds, and the stretches that they make
DIDEMO = ("Rank@1", "Rank@5", "mIoU")


def _record(dataset: MomentSet, query: MomentQuery, found: Span, iou: float) -> dict[str, Any]:
    """What the raised segment answers to a sentence."""
    start, stop = (round(seconds, 3) for seconds in found)
    return {"medium": dataset.media[query.medium].name, "text": query.text, "start": start, "stop": stop, "iou": round(float(iou), 4)}


def _examples(dataset: MomentSet, queries: Sequence[MomentQuery], found: Sequence[Sequence[Span]]) -> tuple[Example, ...]:
    """Sentences drawn blindly, the same ones each time, each with the middle of the segment that was found and of the true ones."""
    examples = []
    for index in random.Random(0).sample(range(len(queries)), min(_EXAMPLES, len(queries))):
        query, answer = queries[index], found[index][0]
        named = [("found", answer), *dict.fromkeys(("true", span) for span in query.spans)]
        shown = tuple((replace(dataset.media[query.medium], seconds=(a + b) / 2), f"{what} {a:.1f}–{b:.1f} s") for what, (a, b) in named)
        examples.append(Example(query.text, max(temporal_iou(answer, span) for span in query.spans) >= _RIGHT, shown))
    return tuple(examples)


def temporal_iou(found: Span, truth: Span) -> float:
    """Seconds in both over seconds in either; spans are [start, stop). 0 where both are empty."""
    both = max(0.0, min(found[1], truth[1]) - max(found[0], truth[0]))
    either = (found[1] - found[0]) + (truth[1] - truth[0]) - both
    return both / either if either > 0 else 0.0


def raised_segments(cosines: NDArray[np.float64], edges: NDArray[np.float64], *, most: int = 1) -> list[Span]:
    """The best stretches of frames as spans in seconds, best first, at most `most`.

    The score of a stretch of `a` of n frames is sqrt(a (n - a) / n) times the mean inside less the mean outside; the whole has 0.
    Length by length, so that a film of hours needs no more memory than its frames.
    """
    n = len(cosines)
    sums = np.concatenate([[0.0], np.cumsum(cosines - cosines.mean())])  # of a stretch: how far it is above the mean
    best: list[tuple[float, int, int]] = []
    for length in range(1, n + 1):
        spread = np.sqrt(length * (n - length) / n)
        scores = (sums[length:] - sums[:-length]) / spread if length < n else np.zeros(1)
        first = np.argsort(-scores, kind="stable")[:most]
        best += [(-float(scores[start]), int(start), int(start) + length) for start in first]
    return [(float(edges[start]), float(edges[stop])) for _, start, stop in sorted(best)[:most]]


def didemo_measures(found: Sequence[Sequence[Span]], queries: Sequence[MomentQuery], clusters: NDArray[np.int64]) -> Mapping[str, Measure]:
    """Rank@1, Rank@5 and mIoU over the three best spans, as Hendricks et al. 2017 score DiDeMo (arXiv 1708.01641, section 5)."""
    ranks, overlaps = [], []
    for spans, query in zip(found, queries, strict=True):
        places = [spans.index(span) + 1 if span in spans else np.inf for span in query.spans]
        ranks.append(np.sort(places)[:3].mean())
        overlaps.append(np.sort([temporal_iou(spans[0], span) for span in query.spans])[-3:].mean())
    rank = np.array(ranks)
    named = {"Rank@1": rank <= 1, "Rank@5": rank <= 5, "mIoU": np.array(overlaps)}
    return {name: mean_interval(values.astype(np.float64), clusters=clusters) for name, values in named.items()}


def _shots(frames: Frames, text: NDArray[np.float32], grid: float | None) -> list[Span]:
    if grid is not None:
        frames = _on_grid(frames, grid)
    shots = find_shots(frames.vectors)
    cosines = [float(mean_vector(frames.vectors[shot.first : shot.stop]) @ text) for shot in shots]
    return [
        (float(frames.edges[shots[i].first]), float(frames.edges[shots[i].stop])) for i in np.argsort(-np.array(cosines), kind="stable")
    ]


def _raised(frames: Frames, text: NDArray[np.float32], grid: float | None) -> list[Span]:
    if grid is not None:
        frames = _on_grid(frames, grid)
    return raised_segments((frames.vectors @ text).astype(np.float64), frames.edges, most=1 if grid is None else _DIDEMO_SPANS)


_WAYS: dict[str, Callable[[Frames, NDArray[np.float32], float | None], list[Span]]] = {"shots": _shots, "raised segment": _raised}


def _on_grid(frames: Frames, seconds: float) -> Frames:
    """One vector for each of the first six parts of the grid, the mean direction of its frames: what DiDeMo's people were shown.

    The last part may be short, and counts as whole.
    """
    middle = (frames.edges[:-1] + frames.edges[1:]) / 2
    parts = (middle // seconds).astype(np.int64)
    there = np.unique(parts[parts < _DIDEMO_PARTS])
    vectors = np.stack([mean_vector(frames.vectors[parts == part]) for part in there])
    return Frames(vectors, np.append(there, there[-1] + 1) * seconds)


def _overlaps(found: Sequence[Sequence[Span]], queries: Sequence[MomentQuery]) -> NDArray[np.float64]:
    """The IoU of each first answer with the span that fits best: float64 (queries,)."""
    return np.array([max(temporal_iou(spans[0], span) for span in query.spans) for spans, query in zip(found, queries, strict=True)])


def _measures(overlaps: NDArray[np.float64], clusters: NDArray[np.int64]) -> Mapping[str, Measure]:
    rates = {f"R@1, IoU {threshold}": (overlaps >= threshold).astype(np.float64) for threshold in THRESHOLDS}
    return {name: mean_interval(values, clusters=clusters) for name, values in (rates | {"mean IoU": overlaps}).items()}


def _frames_feature(seconds_between: float) -> Feature:
    def keep(vectors: NDArray[np.generic], decoded: Decoded) -> Arrays:
        between = (decoded.seconds[:-1] + decoded.seconds[1:]) / 2
        last = max(decoded.duration_seconds, float(decoded.seconds[-1]))
        return {"vectors": vectors.astype(np.float32), "edges": np.array([0.0, *between, last])}

    return Feature(f"frames {seconds_between:g} s", lambda encoder, pixels: encoder.encode_pixels(pixels), keep, seconds_between)
