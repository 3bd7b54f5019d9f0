"""What a classifier answered, and what becomes of it: accuracies with intervals, the worst classes, confusions, examples.

A tie between a right and a wrong class counts against us.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.dataset import LabelledMedia
from evaluation.measures.intervals import mean_interval
from evaluation.reports.report import Example, Measure, Row, Table

BEST = 5
WRONG_ANSWERS = "Wrong answers, at equal distances through the set"
_LISTED = 10  # rows of the tables of worst classes and confusions
_SHOWN = 3  # answers in the words of an example


@dataclass(frozen=True)
class Answers:
    """Of N media: `ranks` int64 (N,), 0 where a right class came first; `best` int64 (N, K) the first classes, K = 5 or all."""

    ranks: NDArray[np.int64]
    best: NDArray[np.int64]

    def top(self, k: int) -> NDArray[np.float64]:
        """1 where a right class is among the first k, else 0: float64 (N,)."""
        return (self.ranks < k).astype(np.float64)


def rank_classes(scores: NDArray[np.float32], right: Sequence[Sequence[int]]) -> Answers:
    """Order the classes of each medium by float32 scores (N, C)."""
    is_right = np.zeros(scores.shape, bool)
    for row, own in enumerate(right):
        is_right[row, list(own)] = True
    # NaN, of a model that diverged, counts against us as well
    scores = np.where(np.isnan(scores), np.where(is_right, -np.inf, np.inf), scores)
    order = np.lexsort((is_right, -scores), axis=1)
    ranks = np.take_along_axis(is_right, order, axis=1).argmax(1)
    return Answers(ranks.astype(np.int64), order[:, :BEST].astype(np.int64))


def join(parts: Sequence[Answers]) -> Answers:
    """The answers of consecutive media as one."""
    return Answers(np.concatenate([part.ranks for part in parts]), np.concatenate([part.best for part in parts]))


def tables(
    dataset: LabelledMedia, answers: Answers, name: str, published: Sequence[Row], *, note: str, resamples: int, seed: int
) -> tuple[Table, ...]:
    """Accuracy with the published rows below ours, the worst classes, the most frequent confusions."""
    values = {"top-1": mean_interval(answers.top(1), resamples=resamples, seed=seed)}
    if len(dataset.classes) > BEST:
        values["top-5"] = mean_interval(answers.top(BEST), resamples=resamples, seed=seed)
    groups = _groups(dataset)
    accuracies = {own: 100 * float(answers.top(1)[media].mean()) for own, media in groups.items()}
    values["mean per class"] = Measure(float(np.mean(list(accuracies.values()))))
    columns = tuple(values)
    found = Table("accuracy", columns, (Row(name, values), *published), note, bars=tuple(c for c in columns if c != "mean per class"))
    worst = sorted((own for own in accuracies if accuracies[own] < 100), key=lambda own: (accuracies[own], own))[:_LISTED]
    rows = tuple(Row(f"{_words(dataset, own)} ({len(groups[own])})", {"top-1": Measure(accuracies[own])}) for own in worst)
    return found, *([Table("worst classes", ("top-1",), rows)] if rows else []), *_confusions(dataset, answers, groups)


def records(dataset: LabelledMedia, answers: Answers) -> tuple[dict[str, Any], ...]:
    """The class of every medium, the answer, and the rank of the first right class."""
    return tuple(
        {"medium": medium.name, "class": _words(dataset, own), "answer": dataset.classes[best[0]][0], "rank": int(rank) + 1}
        for medium, own, best, rank in zip(dataset.media, dataset.right, answers.best, answers.ranks, strict=True)
    )


def wrong_examples(dataset: LabelledMedia, answers: Answers, count: int) -> tuple[Example, ...]:
    """At most `count` wrong answers, at equal distances through the data set, so that no class is chosen by its success."""
    wrong = np.flatnonzero(answers.ranks > 0)
    chosen = wrong[np.linspace(0, len(wrong) - 1, min(count, len(wrong))).round().astype(np.int64)] if len(wrong) else wrong
    return tuple(_example(dataset, answers, int(index)) for index in chosen)


def same_names(dataset: LabelledMedia) -> list[str]:
    """Classes that no prompt can tell apart, because all their names are the same."""
    return [names[0] for names, count in Counter(dataset.classes).items() if count > 1]


def _confusions(dataset: LabelledMedia, answers: Answers, groups: dict[tuple[int, ...], list[int]]) -> Iterator[Table]:
    pairs = Counter((dataset.right[n], int(answers.best[n, 0])) for n in np.flatnonzero(answers.ranks > 0))
    rows = []
    for (own, answer), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]:
        name = f"{_words(dataset, own)} taken for {_words(dataset, [answer])} ({count} of {len(groups[own])})"
        rows.append(Row(name, {"of its media": Measure(100 * count / len(groups[own]))}))
    if rows:
        yield Table("confusions", ("of its media",), tuple(rows))


def _groups(dataset: LabelledMedia) -> dict[tuple[int, ...], list[int]]:
    """The media of each class; those for which the same several classes are right (ObjectNet) are one group."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, own in enumerate(dataset.right):
        groups.setdefault(own, []).append(index)
    return groups


def _example(dataset: LabelledMedia, answers: Answers, index: int) -> Example:
    given = ", ".join(_words(dataset, [answer]) for answer in answers.best[index, :_SHOWN])
    title = f"{_words(dataset, dataset.right[index])} (rank {answers.ranks[index] + 1})"
    return Example(title, False, ((dataset.media[index], given),))


def _words(dataset: LabelledMedia, own: Sequence[int]) -> str:
    return " or ".join(dataset.classes[index][0].replace("_", " ") for index in own)
