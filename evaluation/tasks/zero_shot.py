"""`eval classify`: zero-shot classification. The answer is the nearest class vector (Radford et al. 2021, section 3.1).

A class vector is made of several sentences about the class ("prompt ensembles", section 3.1.4). The lists are ours, shorter than those
that CLIP's authors published. Accuracies can differ from those with CLIP's lists in the first decimal. A user can pass another list.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import LabelledMedia
from evaluation.datasets.files import Unique, read_lines
from evaluation.errors import DatasetError
from evaluation.features.extract import MEAN_VECTOR, FeatureSource, readable
from evaluation.measures.intervals import RESAMPLES
from evaluation.measures.ranking import rank_in_blocks, similarities
from evaluation.reports.report import Report
from evaluation.tasks.classify import classification_report

SINGLE = ("a photo of a {}.",)
PICTURES = (
    *SINGLE,
    "a picture of one {}.",
    "a photo that shows the {}.",
    "a close view of a {}.",
    "a {} seen from far away.",
    "a small {}.",
    "a big {}.",
    "part of a {}.",
    "a blurry picture of a {}.",
    "a sharp picture of the {}.",
    "a dark picture of a {}.",
    "a bright picture of the {}.",
    "a picture of a {} in black and white.",
    "an old picture of a {}.",
    "a badly framed picture of the {}.",
    "a {} on a plain background.",
    "a {} among other things.",
    "more than one {}.",
    "a drawn picture of a {}.",
    "a painted {}.",
    "a comic picture of the {}.",
    "a statue of a {}.",
    "a {} as a toy.",
    "a {} made by a computer.",
)
VIDEOS = (
    "a video of a person {}.",
    "a short film of people {}.",
    "someone {} in front of a camera.",
    "a few seconds of {}.",
    "a recording of {} at home.",
    "a recording of {} outdoors.",
    "this clip shows {}.",
    "what happens here is {}.",
)
_BLOCK = 1024  # media whose scores are in memory


@dataclass(frozen=True)
class ZeroShotOptions:
    """How to classify."""

    templates: tuple[str, ...] = ()  # sentences with {} in them; by default our list for the kind of most media
    protocol: str = "own"  # the published figures to compare with: "imagenet", -v2, -a, -r, -sketch, "objectnet"; others have none


def evaluate_zero_shot(dataset: LabelledMedia, source: FeatureSource, options: ZeroShotOptions | None = None) -> Report:
    """Top-1, top-5 and mean per-class accuracy, confusions, and the published figures.

    Raises UnreadableMediaError if a medium cannot be read, and the source does not allow that; DatasetError if none can be read.
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
    title, protocol = f"Zero-shot classification on {dataset.title}", ("zero-shot", options.protocol)
    return classification_report(dataset, features, answers, source.encoder, title=title, protocol=protocol, metadata=metadata)


def default_templates(dataset: LabelledMedia) -> tuple[str, ...]:
    """Our list for the kind of most media."""
    videos = sum(medium.kind == "video" for medium in dataset.media)
    return VIDEOS if 2 * videos > len(dataset.media) else PICTURES


def read_templates(path: Path) -> tuple[str, ...]:
    """A file with one template a line. Empty lines are ignored. Raises DatasetError that names the line."""
    templates, unique = list[str](), Unique("template")
    for where, template in read_lines(path):
        if template.count("{}") != 1:
            raise DatasetError(f"{where}: {template!r:.80} has {{}} {template.count('{}')} times. Write it once, where the name goes.")
        unique.add(template, where)
        templates.append(template)
    if not templates:
        raise DatasetError(f"{path}: holds no template. Write one a line, with {{}} where the name goes.")
    return tuple(templates)


def fill(template: str, name: str) -> str:
    """The sentence about a class. Underscores in the name become spaces."""
    return template.replace("{}", name.replace("_", " "))


def class_vectors(
    classes: Sequence[Sequence[str]], templates: Sequence[str], of_texts: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The normalised mean over all sentences about each of C classes, templates times names: float32 (C, E), each row of L2 norm 1.

    `of_texts`: N texts -> float32 (N, E), each row of L2 norm 1.
    """
    sentences = [[fill(template, name) for name in names for template in templates] for names in classes]
    vectors = of_texts([sentence for own in sentences for sentence in own])
    ends = np.cumsum([len(own) for own in sentences])
    means = np.stack([part.mean(0, dtype=np.float64) for part in np.split(vectors, ends[:-1])])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.maximum(norms, 1e-12)).astype(np.float32)
