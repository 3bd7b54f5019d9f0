"""The report of a classification: accuracies with intervals, the worst classes, the most frequent confusions, wrong answers."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from coca_model import Encoder
from evaluation.datasets.dataset import LabelledMedia
from evaluation.features.extract import Features
from evaluation.measures.intervals import Measure, mean_interval
from evaluation.measures.ranking import BEST, Answers
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

    examples = []  # at equal distances through the data set, so that they come from all classes
    for n in wrong[np.linspace(0, len(wrong) - 1, min(_EXAMPLES, len(wrong))).round().astype(np.int64)].tolist():
        given = ", ".join(words([answer]) for answer in answers.best[n, :_SHOWN])
        examples.append(Example(f"{words(dataset.right[n])} (rank {answers.ranks[n] + 1})", False, ((dataset.media[n], given),)))
    names = "\n".join(";".join(names) for names in dataset.classes)
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
        tuple(tables),
        provenance(encoder) | common | metadata,
        examples=tuple(examples),
        missing=dataset.missing,
        examples_are="Wrong answers, at equal distances through the set",
        records=tuple(
            {"medium": medium.name, "class": words(right), "answer": dataset.classes[best[0]][0], "rank": int(rank) + 1}
            for medium, right, best, rank in zip(dataset.media, dataset.right, answers.best, answers.ranks, strict=True)
        ),
    )
