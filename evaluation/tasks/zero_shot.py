"""`eval classify`: zero-shot classification, the nearest class vector made of prompts (Radford et al. 2021, section 3.1)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evaluation.datasets.dataset import LabelledMedia
from evaluation.features.extract import MEAN_VECTOR, Features, FeatureSource, readable
from evaluation.measures.intervals import RESAMPLES
from evaluation.measures.ranking import similarities
from evaluation.reports.provenance import digest, model_name, provenance
from evaluation.reports.published import ZERO_SHOT, measured_on
from evaluation.reports.report import Report
from evaluation.tasks.answers import WRONG_ANSWERS, Answers, join, rank_classes, records, same_names, tables, wrong_examples
from evaluation.tasks.prompts import PICTURES, VIDEOS, class_vectors

_BLOCK = 1024  # media whose scores are held at once


@dataclass(frozen=True)
class ZeroShotOptions:
    """How to classify.

    Attributes:
        templates: sentences with {} in them; by default our list for pictures, or that for videos.
        protocol: whose published figures stand beside ours: "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r",
            "imagenet-sketch", "objectnet"; others have none.
        examples: how many wrong answers the report shows, at most.
    """

    templates: tuple[str, ...] = ()
    protocol: str = "own"
    examples: int = 12
    resamples: int = RESAMPLES
    seed: int = 0


def evaluate_zero_shot(dataset: LabelledMedia, source: FeatureSource, options: ZeroShotOptions | None = None) -> Report:
    """Top-1, top-5 and mean per-class accuracy, what is confused with what, and the published figures.

    Raises:
        UnreadableMediaError: a medium cannot be read, and the source does not allow that.
        DatasetError: none can be read.
    """
    options = options or ZeroShotOptions()
    dataset, features = readable(dataset, source, MEAN_VECTOR)
    templates = options.templates or default_templates(dataset)
    answers = classify_zero_shot(dataset, features, source, templates=templates)
    facts = facts_of(dataset, features, source) | {
        "templates": " | ".join(templates),
        "ranking": "exact cosine to every class; ties count against us",
        "intervals": f"95 %, bootstrap of {options.resamples:,} resamples",
    }
    if twice := same_names(dataset):
        facts["classes with the same names"] = f"{', '.join(twice)}: cannot be told apart, and count as wrong"
    published = ZERO_SHOT.get(options.protocol, ())
    return Report(
        "classify",
        f"Zero-shot classification on {dataset.title}",
        tables(
            dataset,
            answers,
            model_name(source.encoder),
            published,
            note=measured_on(options.protocol, len(dataset.classes)) if published else "",
            resamples=options.resamples,
            seed=options.seed,
        ),
        facts,
        examples=wrong_examples(dataset, answers, options.examples),
        missing=dataset.missing,
        examples_are=WRONG_ANSWERS,
        records=records(dataset, answers),
    )


def classify_zero_shot(dataset: LabelledMedia, features: Features, source: FeatureSource, *, templates: tuple[str, ...]) -> Answers:
    """The classes of each medium by cosine; `features` are the media's `MEAN_VECTOR`, all of them readable."""
    classes = class_vectors(dataset.classes, templates, source.of_texts)
    parts = []
    for start, stop in pairwise([*range(0, len(dataset.media), _BLOCK), len(dataset.media)]):
        scores = similarities(features.vectors(range(start, stop)), classes)
        parts.append(rank_classes(scores, dataset.right[start:stop]))
    return join(parts)


def facts_of(dataset: LabelledMedia, features: Features, source: FeatureSource) -> dict[str, Any]:
    """What was measured with what."""
    names = "\n".join(";".join(names) for names in dataset.classes)
    return provenance(source.encoder) | {
        "data set": dataset.title,
        "media": len(dataset.media),
        "classes": len(dataset.classes),
        "data sha256": digest([*features.keys, names, *map(str, dataset.right)]),
        "left out": len(dataset.missing),
    }


def default_templates(dataset: LabelledMedia) -> tuple[str, ...]:
    """Our list for what most of the media are."""
    videos = sum(medium.kind == "video" for medium in dataset.media)
    return VIDEOS if 2 * videos > len(dataset.media) else PICTURES
