"""`eval caption`: compares the decoder's captions of pictures with human captions."""

import random
from dataclasses import dataclass, field

import numpy as np

from coca_model import CaptionOptions
from evaluation.datasets.dataset import CaptionedMedia
from evaluation.errors import DatasetError
from evaluation.features import MEAN_VECTOR, Feature, FeatureSource, readable
from evaluation.measures.caption_metrics import METRICS, score_captions
from evaluation.measures.ranking import measures, ranks_of_right
from evaluation.reports.parts import Example, Row, Table, data_metadata, model_name, provenance
from evaluation.reports.published import published
from evaluation.reports.report import Report

SELF_RETRIEVAL = "self-retrieval R@1"
_EXAMPLES = 16


@dataclass(frozen=True)
class CaptionEvaluation:
    """How captions are made. `protocol` names the published figures to compare with ("coco")."""

    protocol: str = "own"
    options: CaptionOptions = field(default_factory=CaptionOptions)


def evaluate_captions(dataset: CaptionedMedia, source: FeatureSource, settings: CaptionEvaluation | None = None) -> Report:
    """Caption every picture, and compare the captions with the pictures' texts.

    Self-retrieval: whether a caption, used as a query, finds its picture first among the whole set (as in Liu et al. 2018, "Show,
    Tell and Discriminate"). A caption can be fluent and similar to the references, and still fit many pictures. Raises DatasetError if
    the set holds videos, and UnreadableMediaError, unless the source allows missing media.
    """
    settings = settings or CaptionEvaluation()
    options = source.encoder.caption_options(settings.options)
    if videos := [medium.record for medium in dataset.media if medium.kind == "video"]:
        raise DatasetError(f"{videos[0]}: a video. Only pictures can be captioned.")
    feature = Feature(
        f"caption {options}",
        lambda encoder, pixels: np.array(encoder.caption(list(pixels), options), dtype=object),
        lambda caption, _: {"caption": np.frombuffer(str(caption[0]).encode(), np.uint8)},
    )
    dataset = dataset.without({index: "" for index, texts in enumerate(dataset.texts_of) if not texts})
    dataset, features = readable(dataset, source, feature)
    captions = [row["caption"].tobytes().decode() for row in features.load(range(len(dataset.media)))]
    references = [[dataset.texts[text] for text in texts] for texts in dataset.texts_of]
    source.on_progress("metrics", 0, 1)
    scores = score_captions(references, captions)
    source.on_progress("metrics", 1, 1)
    vectors = source.of_media(dataset.media, MEAN_VECTOR).vectors()
    ranks = ranks_of_right(source.of_texts(captions), vectors, [[index] for index in range(len(captions))])
    figures = scores.measures | {SELF_RETRIEVAL: measures(ranks)["R@1"]}
    rows, measured_on = published("captions", settings.protocol, len(dataset.media))
    reasons: dict[str, list[str]] = {}
    for name, reason in scores.lacking.items():
        reasons.setdefault(reason, []).append(name)
    notes = [*(f"{', '.join(names)}: not computed, {reason}." for reason, names in reasons.items()), measured_on]
    columns = tuple(name for name in (*METRICS, SELF_RETRIEVAL) if name in figures)
    ours = Row(model_name(source.encoder), figures)
    words = round(float(np.mean([len(caption.split()) for caption in captions])), 1)
    counts: dict[str, float] = {"pictures": len(dataset.media), "references": len(dataset.texts)}
    counts |= {"different captions": len(set(captions)), "words in a caption": words}
    metadata = data_metadata(dataset.title, counts, [*features.keys, *dataset.texts], dataset.missing) | {
        "captions by": str(options),
        "metrics by": "pycocoevalcap, the reference implementation, in percent; BLEU-4 and METEOR are of the whole set: no interval",
    }
    drawn = random.Random(0).sample(range(len(captions)), min(_EXAMPLES, len(captions)))  # the same ones each time
    return Report(
        "caption",
        f"Captions on {dataset.title}",
        (Table("captions", columns, (ours, *rows), " ".join(filter(None, notes)), bars=columns),),
        provenance(source.encoder) | metadata,
        examples=tuple(Example(captions[n], None, ((dataset.media[n], f"written by a person: {references[n][0]}"),)) for n in drawn),
        missing=dataset.missing,
        records=tuple({"medium": medium.name, "caption": caption} for medium, caption in zip(dataset.media, captions, strict=True)),
    )
