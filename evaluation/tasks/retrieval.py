"""`eval retrieval`: texts find media and media find texts, by exact ranking over the whole set."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import CaptionedMedia
from evaluation.features.extract import MEAN_VECTOR, FeatureSource, readable
from evaluation.measures.ranking import MEASURES, best_first, measures, ranks_of_right, recall_curve
from evaluation.reports.provenance import digest, model_name, provenance
from evaluation.reports.published import RETRIEVAL, measured_on
from evaluation.reports.report import Curve, Example, Line, Report, Row, Table

_CURVE_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
_EXAMPLES = 12
_SHOWN = 5


def evaluate_retrieval(dataset: CaptionedMedia, source: FeatureSource, *, protocol: str = "own") -> Report:
    """Rank every medium for every text and the other way round.

    Args:
        protocol: whose published figures stand beside ours: "coco", "flickr30k", "msrvtt", "msrvtt-1ka"; others have none.

    Raises:
        UnreadableMediaError: a medium cannot be read, and the source does not allow that.
    """
    dataset, features = readable(dataset, source, MEAN_VECTOR)
    media, texts = features.vectors(), source.of_texts(dataset.texts)
    what = _kind(dataset)
    of_media = dataset.texts_of
    asked = [index for index, own in enumerate(of_media) if own]
    to_media = ranks_of_right(texts, media, dataset.owners)
    to_text = ranks_of_right(media[asked], texts, [of_media[index] for index in asked])
    clusters = np.array([owners[0] for owners in dataset.owners])
    tables, lines = [], []
    for name, ranks, groups in ((f"text to {what}", to_media, clusters), (f"{what} to text", to_text, None)):
        ours = Row(model_name(source.encoder), measures(ranks, clusters=groups))
        published = RETRIEVAL.get((protocol, name), ())
        note = measured_on(protocol, len(dataset.media)) if published else ""
        tables.append(Table(name, MEASURES, (ours, *published), note, bars=("R@1", "R@5", "R@10")))
        lines.append(Line(name, _CURVE_KS, recall_curve(ranks, _CURVE_KS)))
    facts = provenance(source.encoder) | {
        "data set": dataset.title,
        what + "s": len(dataset.media),
        "texts": len(dataset.texts),
        "data sha256": digest([*features.keys, *dataset.texts]),
        "left out": len(dataset.missing),
        "ranking": "exact cosine over the whole set; ties count against us",
        "intervals": "95 %, bootstrap of 1,000 resamples, the texts of one medium drawn together",
    }
    return Report(
        "retrieval",
        f"Retrieval on {dataset.title}",
        tuple(tables),
        facts,
        (Curve("recall@k", "k", "recall, %", tuple(lines), log_x=True),),
        _examples(dataset, texts, media, to_media),
        dataset.missing,
        tuple(_records(dataset, to_media, asked, to_text)),
    )


def _records(
    dataset: CaptionedMedia, to_media: Sequence[NDArray[np.int64]], asked: Sequence[int], to_text: Sequence[NDArray[np.int64]]
) -> Iterator[dict[str, Any]]:
    """The rank of the first right answer to every query, text or medium."""
    for text, owners, ranks in zip(dataset.texts, dataset.owners, to_media, strict=True):
        yield {"medium": dataset.media[owners[0]].name, "text": text, "rank": int(ranks[0])}
    for index, ranks in zip(asked, to_text, strict=True):
        yield {"medium": dataset.media[index].name, "text": "", "rank": int(ranks[0])}


def _kind(dataset: CaptionedMedia) -> str:
    kinds = {medium.kind for medium in dataset.media}
    return {"image": "picture", "video": "video"}[kinds.pop()] if len(kinds) == 1 else "file"


def _examples(
    dataset: CaptionedMedia, texts: NDArray[np.float32], media: NDArray[np.float32], ranks: Sequence[NDArray[np.int64]]
) -> tuple[Example, ...]:
    """Queries drawn blindly, the same ones each time, each with the first media found."""
    drawn = random.Random(0).sample(range(len(texts)), min(_EXAMPLES, len(texts)))
    order, cosines = best_first(texts[drawn], media, [dataset.owners[text] for text in drawn], _SHOWN)
    examples = []
    for text, row, values in zip(drawn, order, cosines, strict=True):
        right = set(dataset.owners[text])
        found = tuple(
            (dataset.media[m], f"{c:.2f}{' ✓' if m in right else ''}") for m, c in zip(row.tolist(), values.tolist(), strict=True)
        )
        examples.append(Example(f"{dataset.texts[text]} (rank {ranks[text][0]})", row[0] in right, found))
    return tuple(examples)
