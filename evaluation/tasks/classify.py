"""`eval classify`: zero-shot classification, and the report of a classification by any method.

The answer is the nearest class vector (Radford et al. 2021, section 3.1), the mean of several sentences about the class (section
3.1.4). Our lists of sentences are shorter than CLIP's, so accuracies can differ in the first decimal. Users can pass another list.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from evaluation.datasets.dataset import LabelledMedia
from evaluation.datasets.files import Unique, read_lines
from evaluation.errors import DatasetError
from evaluation.features import MEAN_VECTOR, Features, FeatureSource, readable
from evaluation.measures.intervals import RESAMPLES, Measure, mean_interval
from evaluation.measures.ranking import BEST, Answers, rank_in_blocks, similarities
from evaluation.reports.parts import Example, Row, Table, data_metadata, model_name, provenance
from evaluation.reports.published import published
from evaluation.reports.report import Report

PICTURES = (
    "a photo of a {}.", "a picture of one {}.", "a photo that shows the {}.", "a close view of a {}.", "a {} seen from far away.",
    "a small {}.", "a big {}.", "part of a {}.", "a blurry picture of a {}.", "a sharp picture of the {}.", "a dark picture of a {}.",
    "a bright picture of the {}.", "a picture of a {} in black and white.", "an old picture of a {}.",
    "a badly framed picture of the {}.", "a {} on a plain background.", "a {} among other things.", "more than one {}.",
    "a drawn picture of a {}.", "a painted {}.", "a comic picture of the {}.", "a statue of a {}.", "a {} as a toy.",
    "a {} made by a computer.",
)  # fmt: skip
VIDEOS = (
    "a video of a person {}.", "a short film of people {}.", "someone {} in front of a camera.", "a few seconds of {}.",
    "a recording of {} at home.", "a recording of {} outdoors.", "this clip shows {}.", "what happens here is {}.",
)  # fmt: skip
_BLOCK = 1024  # media whose scores are in memory
_EXAMPLES = 12
_LISTED = 10  # rows in the tables of worst classes and confusions
_SHOWN = 3  # answers below an example


def evaluate_zero_shot(dataset: LabelledMedia, source: FeatureSource, *, templates: Sequence[str] = (), protocol: str = "own") -> Report:
    """Report accuracies, confusions and published figures. Raises UnreadableMediaError, unless the source allows missing media.

    `templates` are sentences with {} for the class, by default those of `default_templates`. `protocol` names the published figures to
    compare with: "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch", "objectnet"; others have none.
    """
    dataset, features = readable(dataset, source, MEAN_VECTOR)
    templates = templates or default_templates(dataset)
    classes = class_vectors(dataset.classes, templates, source.of_texts)
    answers = rank_in_blocks(lambda rows: similarities(features.vectors(rows), classes), dataset.right, block=_BLOCK)
    metadata = {
        "templates": " | ".join(templates),
        "ranking": "exact cosine to every class; ties count against us",
        "intervals": f"95 %, bootstrap of {RESAMPLES:,} resamples",
    }
    if same := [names[0] for names, count in Counter(dataset.classes).items() if count > 1]:
        metadata["classes with the same names"] = f"{', '.join(same)}: no prompt can tell them apart, so they count as wrong"
    title, figures = f"Zero-shot classification on {dataset.title}", ("zero-shot", protocol)
    return classification_report(dataset, features, answers, source.encoder, title=title, protocol=figures, metadata=metadata)


def default_templates(dataset: LabelledMedia) -> tuple[str, ...]:
    """Our list for pictures, or for videos if more than half of the media are videos."""
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
    """The mean vector of all sentences (templates times names) about each of C classes: float32 (C, E), each row of L2 norm 1."""
    sentences = [[fill(template, name) for name in names for template in templates] for names in classes]
    vectors = of_texts([sentence for own in sentences for sentence in own])
    ends = np.cumsum([len(own) for own in sentences])
    means = np.stack([part.mean(0, dtype=np.float64) for part in np.split(vectors, ends[:-1])])
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.maximum(norms, 1e-12)).astype(np.float32)


def classification_report(
    dataset: LabelledMedia,
    features: Features,
    answers: Answers,
    encoder: Encoder,
    *,
    title: str,
    protocol: tuple[str, str],
    metadata: dict[str, Any],
    system: str = "",
    note: str = "",
) -> Report:
    """The report. `protocol`: the task and the protocol of the published figures. `system` follows the name of the model."""

    def words(classes: Sequence[int]) -> str:
        return " or ".join(dataset.classes[index][0].replace("_", " ") for index in classes)

    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)  # media with the same several right classes (ObjectNet) are one group
    for index, classes in enumerate(dataset.right):
        groups[classes].append(index)
    accuracy_of = {classes: 100 * float(answers.top(1)[media].mean()) for classes, media in groups.items()}
    values = {"top-1": mean_interval(answers.top(1))}
    if len(dataset.classes) > BEST:
        values["top-5"] = mean_interval(answers.top(BEST))
    bars = tuple(values)
    values["mean per class"] = Measure(float(np.mean(list(accuracy_of.values()))))
    rows, measured_on = published(*protocol, len(dataset.classes))
    ours = Row(f"{model_name(encoder)}{system}", values)
    tables = [Table("accuracy", tuple(values), (ours, *rows), " ".join(filter(None, (measured_on, note))), bars=bars)]

    worst = sorted((accuracy, classes) for classes, accuracy in accuracy_of.items() if accuracy < 100)[:_LISTED]
    worst_rows = (Row(f"{words(classes)} ({len(groups[classes])})", {"top-1": Measure(accuracy)}) for accuracy, classes in worst)
    wrong = np.flatnonzero(answers.ranks > 0)
    confused = Counter((dataset.right[n], int(answers.best[n, 0])) for n in wrong)
    confusions = []
    for (right, answer), count in sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]:
        name = f"{words(right)} taken for {words([answer])} ({count} of {len(groups[right])})"
        confusions.append(Row(name, {"of its media": Measure(100 * count / len(groups[right]))}))
    if worst:
        tables += [Table("worst classes", ("top-1",), tuple(worst_rows)), Table("confusions", ("of its media",), tuple(confusions))]

    examples = []  # evenly spaced over the data set, so that they come from all classes
    for n in wrong[np.linspace(0, len(wrong) - 1, min(_EXAMPLES, len(wrong))).round().astype(np.int64)].tolist():
        given = ", ".join(words([answer]) for answer in answers.best[n, :_SHOWN])
        examples.append(Example(f"{words(dataset.right[n])} (rank {answers.ranks[n] + 1})", False, ((dataset.media[n], given),)))
    data: list[bytes | str] = [*features.keys, "\n".join(";".join(names) for names in dataset.classes), *map(str, dataset.right)]
    common = data_metadata(dataset.title, {"media": len(dataset.media), "classes": len(dataset.classes)}, data, dataset.missing)
    return Report(
        "classify",
        title,
        tuple(tables),
        provenance(encoder) | common | metadata,
        examples=tuple(examples),
        missing=dataset.missing,
        examples_are="Wrong answers, evenly spaced over the set",
        records=tuple(
            {"medium": medium.name, "class": words(right), "answer": dataset.classes[best[0]][0], "rank": int(rank) + 1}
            for medium, right, best, rank in zip(dataset.media, dataset.right, answers.best, answers.ranks, strict=True)
        ),
    )
