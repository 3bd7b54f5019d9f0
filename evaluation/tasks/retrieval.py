"""`eval retrieval`: texts find media and media find texts, by exact ranking over the whole set."""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import CaptionedMedia
from evaluation.features.extract import MEAN_VECTOR, FeatureSource, readable
from evaluation.measures.ranking import MEASURES, best_first, measures, ranks_of_right, recall_curve
from evaluation.reports.parts import Curve, Example, Line, Row, Table
from evaluation.reports.provenance import digest, model_name, provenance
from evaluation.reports.published import published
from evaluation.reports.report import Report

_CURVE_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
_EXAMPLES, _SHOWN = 12, 5


def evaluate_retrieval(dataset: CaptionedMedia, source: FeatureSource, *, protocol: str = "own") -> Report:
    """Rank all media for every text, and all texts for every medium.

    `protocol` names the published figures to compare with: "coco", "flickr30k", "msrvtt", "msrvtt-1ka"; others have none. Raises
    UnreadableMediaError if a medium cannot be read, and the source does not allow that.
    """
    dataset, features = readable(dataset, source, MEAN_VECTOR)
    media, texts = features.vectors(), source.of_texts(dataset.texts)
    kinds = {medium.kind for medium in dataset.media}
    kind = "file" if len(kinds) > 1 else "picture" if "image" in kinds else "video"
    texts_of = {index: own for index, own in enumerate(dataset.texts_of) if own}
    to_media = ranks_of_right(texts, media, dataset.owners)
    to_text = ranks_of_right(media[list(texts_of)], texts, list(texts_of.values()))
    clusters = np.array([owners[0] for owners in dataset.owners])
    tables, lines = [], []
    for name, ranks, groups in ((f"text to {kind}", to_media, clusters), (f"{kind} to text", to_text, None)):
        ours = Row(model_name(source.encoder), measures(ranks, clusters=groups))
        rows, note = published(name, protocol, len(dataset.media))
        tables.append(Table(name, MEASURES, (ours, *rows), note, bars=("R@1", "R@5", "R@10")))
        lines.append(Line(name, _CURVE_KS, recall_curve(ranks, _CURVE_KS)))
    metadata = {
        "data set": dataset.title,
        kind + "s": len(dataset.media),
        "texts": len(dataset.texts),
        "data sha256": digest([*features.keys, *dataset.texts]),
        "left out": len(dataset.missing),
        "ranking": "exact cosine over the whole set; ties count against us",
        "intervals": "95 %, bootstrap of 1,000 resamples, the texts of one medium drawn together",
    }
    asked = [(owners[0], text) for owners, text in zip(dataset.owners, dataset.texts, strict=True)] + [(index, "") for index in texts_of]
    records = tuple(
        {"medium": dataset.media[index].name, "text": text, "rank": int(ranks[0])}
        for (index, text), ranks in zip(asked, to_media + to_text, strict=True)
    )
    return Report(
        "retrieval",
        f"Retrieval on {dataset.title}",
        tuple(tables),
        provenance(source.encoder) | metadata,
        (Curve("recall@k", "k", "recall, %", tuple(lines), log_x=True),),
        _examples(dataset, texts, media, to_media),
        dataset.missing,
        records,
    )


def _examples(
    dataset: CaptionedMedia, texts: NDArray[np.float32], media: NDArray[np.float32], ranks: Sequence[NDArray[np.int64]]
) -> tuple[Example, ...]:
    """Random texts, the same ones each time, each with the first media found."""
    drawn = random.Random(0).sample(range(len(texts)), min(_EXAMPLES, len(texts)))
    order, cosines = best_first(texts[drawn], media, [dataset.owners[text] for text in drawn], _SHOWN)
    examples = []
    for text, row, values in zip(drawn, order.tolist(), cosines.tolist(), strict=True):
        right = dataset.owners[text]
        found = tuple((dataset.media[m], f"{c:.2f}{' ✓' if m in right else ''}") for m, c in zip(row, values, strict=True))
        examples.append(Example(f"{dataset.texts[text]} (rank {ranks[text][0]})", row[0] in right, found))
    return tuple(examples)
