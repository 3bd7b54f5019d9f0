"""`eval classify`: zero-shot classification. The answer is the nearest class vector, made of prompts (Radford et al. 2021, section 3.1)."""

from collections import Counter
from dataclasses import dataclass

from evaluation.datasets.dataset import LabelledMedia
from evaluation.features.extract import MEAN_VECTOR, FeatureSource, readable
from evaluation.measures.classification import rank_in_blocks
from evaluation.measures.intervals import RESAMPLES
from evaluation.measures.ranking import similarities
from evaluation.reports.report import Report
from evaluation.tasks.classify import classification_report
from evaluation.tasks.prompts import PICTURES, VIDEOS, class_vectors

_BLOCK = 1024  # media whose scores are in memory


@dataclass(frozen=True)
class ZeroShotOptions:
    """How to classify.

    Attributes:
        templates: sentences with {} in them. The default is our list for pictures, or for videos if most media are videos.
        protocol: the published figures to compare with: "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r",
            "imagenet-sketch", "objectnet"; others have none.
    """

    templates: tuple[str, ...] = ()
    protocol: str = "own"


def evaluate_zero_shot(dataset: LabelledMedia, source: FeatureSource, options: ZeroShotOptions | None = None) -> Report:
    """Top-1, top-5 and mean per-class accuracy, confusions, and the published figures.

    Raises:
        UnreadableMediaError: a medium cannot be read, and the source does not allow that.
        DatasetError: no medium can be read.
    """
    options = options or ZeroShotOptions()
    dataset, features = readable(dataset, source, MEAN_VECTOR)
    templates = options.templates or default_templates(dataset)
    classes = class_vectors(dataset.classes, templates, source.of_texts)
    answers = rank_in_blocks(lambda rows: similarities(features.vectors(rows), classes), dataset.right, block=_BLOCK)
    metadata = {
        "templates": " | ".join(templates),
        "ranking": "exact cosine to every class; ties count against us",
        "intervals": f"95 %, bootstrap of {RESAMPLES:,} resamples",
    }
    if same := [names[0] for names, count in Counter(dataset.classes).items() if count > 1]:
        metadata["classes with the same names"] = f"{', '.join(same)}: no prompt can tell them apart, so they count as wrong"
    return classification_report(
        dataset,
        features,
        answers,
        source.encoder,
        title=f"Zero-shot classification on {dataset.title}",
        protocol=("zero-shot", options.protocol),
        metadata=metadata,
    )


def default_templates(dataset: LabelledMedia) -> tuple[str, ...]:
    """Our list for the kind of most media."""
    videos = sum(medium.kind == "video" for medium in dataset.media)
    return VIDEOS if 2 * videos > len(dataset.media) else PICTURES
