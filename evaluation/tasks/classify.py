"""The report of a classification: accuracies with intervals, the worst classes, the most frequent confusions, wrong answers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from coca_model import Encoder
from evaluation.datasets.dataset import LabelledMedia
from evaluation.features.extract import Features
from evaluation.measures.classification import BEST, Answers
from evaluation.measures.intervals import Measure, mean_interval
from evaluation.reports.parts import Example, Row, Table
from evaluation.reports.provenance import digest, model_name, provenance
from evaluation.reports.published import published
from evaluation.reports.report import Report

_EXAMPLES = 12
_LISTED = 10  # rows in the tables of worst classes and confusions
_SHOWN = 3  # answers below an example


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
    rows, measured_on = published(*protocol, len(dataset.classes))
    names = "\n".join(";".join(names) for names in dataset.classes)
    groups = _groups(dataset)
    accuracy_of = {classes: 100 * float(answers.top(1)[media].mean()) for classes, media in groups.items()}
    values = {"top-1": mean_interval(answers.top(1))}
    if len(dataset.classes) > BEST:
        values["top-5"] = mean_interval(answers.top(BEST))
    bars = tuple(values)
    values["mean per class"] = Measure(float(np.mean(list(accuracy_of.values()))))
    ours = Row(f"{model_name(encoder)}{system}", values)
    accuracy = Table("accuracy", tuple(values), (ours, *rows), " ".join(filter(None, (measured_on, note))), bars=bars)
    worst = sorted((classes for classes in groups if accuracy_of[classes] < 100), key=lambda classes: (accuracy_of[classes], classes))
    worst_rows = [Row(f"{_words(dataset, each)} ({len(groups[each])})", {"top-1": Measure(accuracy_of[each])}) for each in worst[:_LISTED]]
    details = (
        Table("worst classes", ("top-1",), tuple(worst_rows)),
        Table("confusions", ("of its media",), _confusions(dataset, answers, groups)),
    )
    common = {
        "data set": dataset.title,
        "media": len(dataset.media),
        "classes": len(dataset.classes),
        "data sha256": digest([*features.keys, names, *map(str, dataset.right)]),
        "left out": len(dataset.missing),
    }
    return Report(
        "classify",
        title,
        (accuracy, *(table for table in details if table.rows)),
        provenance(encoder) | common | metadata,
        examples=_wrong_answers(dataset, answers),
        missing=dataset.missing,
        examples_are="Wrong answers, at equal distances through the set",
        records=_records(dataset, answers),
    )


def _groups(dataset: LabelledMedia) -> dict[tuple[int, ...], list[int]]:
    """The media of each class. Media with the same several right classes (ObjectNet) are one group."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, classes in enumerate(dataset.right):
        groups.setdefault(classes, []).append(index)
    return groups


def _confusions(dataset: LabelledMedia, answers: Answers, groups: dict[tuple[int, ...], list[int]]) -> tuple[Row, ...]:
    pairs = Counter((dataset.right[n], int(answers.best[n, 0])) for n in np.flatnonzero(answers.ranks > 0))
    rows = []
    for (right, answer), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]:
        name = f"{_words(dataset, right)} taken for {_words(dataset, [answer])} ({count} of {len(groups[right])})"
        rows.append(Row(name, {"of its media": Measure(100 * count / len(groups[right]))}))
    return tuple(rows)


def _wrong_answers(dataset: LabelledMedia, answers: Answers) -> tuple[Example, ...]:
    """At most `_EXAMPLES` wrong answers, at equal distances through the data set, so that they come from all classes."""
    wrong = np.flatnonzero(answers.ranks > 0)
    chosen = np.linspace(0, len(wrong) - 1, min(_EXAMPLES, len(wrong))).round().astype(np.int64)
    examples = []
    for index in wrong[chosen].tolist():
        given = ", ".join(_words(dataset, [answer]) for answer in answers.best[index, :_SHOWN])
        title = f"{_words(dataset, dataset.right[index])} (rank {answers.ranks[index] + 1})"
        examples.append(Example(title, False, ((dataset.media[index], given),)))
    return tuple(examples)


def _records(dataset: LabelledMedia, answers: Answers) -> tuple[dict[str, Any], ...]:
    """The class of every medium, the answer, and the rank of the first right class."""
    return tuple(
        {"medium": medium.name, "class": _words(dataset, right), "answer": dataset.classes[best[0]][0], "rank": int(rank) + 1}
        for medium, right, best, rank in zip(dataset.media, dataset.right, answers.best, answers.ranks, strict=True)
    )


def _words(dataset: LabelledMedia, classes: Sequence[int]) -> str:
    return " or ".join(dataset.classes[index][0].replace("_", " ") for index in classes)
