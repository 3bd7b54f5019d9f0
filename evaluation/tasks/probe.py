"""`eval classify` with a training set: probes on frozen features, a linear one or an attentional pooler."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.datasets.dataset import LabelledMedia
from evaluation.errors import DatasetError
from evaluation.features.extract import MEAN_VECTOR, Features, FeatureSource, readable
from evaluation.measures.intervals import RESAMPLES
from evaluation.reports.provenance import model_name
from evaluation.reports.published import FROZEN, measured_on
from evaluation.reports.report import Report
from evaluation.tasks.answers import WRONG_ANSWERS, join, rank_classes, records, tables, wrong_examples
from evaluation.tasks.linear_probe import STRENGTHS, fit_best
from evaluation.tasks.pooler_probe import TOKENS, TrainingOptions, pooler_scores, train_pooler
from evaluation.tasks.zero_shot import facts_of

ProbeKind = Literal["linear", "pooler"]
_Scores = Callable[[Features, Sequence[int]], NDArray[np.float32]]  # features and some rows -> logits (B, C)
_NAMES: dict[ProbeKind, str] = {"linear": "linear probe", "pooler": "attentional pooler probe"}


@dataclass(frozen=True)
class ProbeOptions:
    """Which probe, and how it is trained.

    Attributes:
        protocol: whose published figures stand beside ours: "kinetics-400", "kinetics-600", "kinetics-700",
            "moments-in-time"; others have none.
        strengths: of the linear probe's L2 penalty, among which a held-out tenth of the training set chooses.
        training: of the pooler; its seed also draws the held-out tenth.
        examples: how many wrong answers the report shows, at most.
    """

    kind: ProbeKind = "pooler"
    protocol: str = "own"
    strengths: tuple[float, ...] = STRENGTHS
    training: TrainingOptions = field(default_factory=TrainingOptions)
    examples: int = 12
    resamples: int = RESAMPLES


def evaluate_probe(train: LabelledMedia, test: LabelledMedia, source: FeatureSource, options: ProbeOptions | None = None) -> Report:
    """Train a probe on one set and measure it on the other.

    Raises:
        DatasetError: the sets have other classes than each other, or a training medium has several.
        UnreadableMediaError: a medium cannot be read, and the source does not allow that.
    """
    options = options or ProbeOptions()
    _check(train, test)
    feature = MEAN_VECTOR if options.kind == "linear" else TOKENS
    train, known = readable(train, source, feature)
    test, features = readable(test, source, feature)
    labels = np.array([right[0] for right in train.right], np.int64)
    fit = _fit_linear if options.kind == "linear" else _fit_pooler
    scores, how = fit(known, labels, len(train.classes), source, options)
    size = options.training.batch_size
    parts = [
        rank_classes(scores(features, range(start, stop)), test.right[start:stop])
        for start, stop in pairwise([*range(0, len(test.media), size), len(test.media)])
    ]
    answers, seed = join(parts), options.training.seed
    name = f"{model_name(source.encoder)}, {_NAMES[options.kind]}"
    facts = facts_of(test, features, source) | {"training set": train.title, "training media": len(train.media)} | how
    missing = (*train.missing, *test.missing)
    published = FROZEN.get(options.protocol, ())
    notes = [measured_on(options.protocol, len(test.classes))] if published else []
    if same := len(set(known.keys) & set(features.keys)):
        notes.append(f"{same} files are in the training set too: no measure of what the probe does with new ones.")
    note, resamples = " ".join(filter(None, notes)), options.resamples
    return Report(
        "classify",
        f"{_NAMES[options.kind].capitalize()} on {test.title}",
        tables(test, answers, name, published, note=note, resamples=resamples, seed=seed),
        facts | {"same files in both sets": same, "left out": len(missing)},
        examples=wrong_examples(test, answers, options.examples),
        missing=missing,
        examples_are=WRONG_ANSWERS,
        records=records(test, answers),
    )


def _check(train: LabelledMedia, test: LabelledMedia) -> None:
    if train.classes != test.classes:
        other = sorted({names[0] for names in train.classes} ^ {names[0] for names in test.classes})
        raise DatasetError(
            f"{train.title} and {test.title} have other classes ({len(train.classes)} and {len(test.classes)}; not in both: "
            f"{', '.join(other)[:80]}). A probe needs a training set and a test set with the same classes."
        )
    for medium, right in zip(train.media, train.right, strict=True):
        if len(right) > 1:
            raise DatasetError(f"{medium.record}: {medium.name!r} has {len(right)} classes. A training set needs one for each medium.")
    if len(train.media) < 2:
        raise DatasetError(f"{train.title}: holds {len(train.media)} medium. At least two are needed to train and to hold out.")


def _fit_linear(
    known: Features, labels: NDArray[np.int64], num_classes: int, source: FeatureSource, options: ProbeOptions
) -> tuple[_Scores, dict[str, Any]]:
    best = fit_best(
        known.vectors(),
        labels,
        num_classes,
        strengths=options.strengths,
        seed=options.training.seed,
        device=_device(source),
        on_fit=lambda done, total: source.on_progress("fits", done, total),
    )
    how = {"probe": f"logistic regression, L2 {best.l2:g} of the mean loss, chosen on a held-out tenth of the training set"}
    return lambda features, rows: best.scores(features.vectors(rows)), how


def _fit_pooler(
    known: Features, labels: NDArray[np.int64], num_classes: int, source: FeatureSource, options: ProbeOptions
) -> tuple[_Scores, dict[str, Any]]:
    training = options.training
    trained = train_pooler(
        known,
        labels,
        num_classes,
        training,
        heads=source.encoder.config.pooler.heads,
        device=_device(source),
        on_epoch=lambda done, total: source.on_progress("epochs", done, total),
    )
    how = {
        "probe": f"attentional pooler with one query, {training.epochs} epochs, batch {training.batch_size}, AdamW with learning rate "
        f"{training.learning_rate:g} and weight decay {training.weight_decay:g}, seed {training.seed}"
    }
    return lambda features, rows: pooler_scores(trained, features, rows), how


def _device(source: FeatureSource) -> torch.device:
    """The encoder's where that has float64, which the linear probe needs; else the CPU."""
    return torch.device("cuda" if source.encoder.device.type == "cuda" else "cpu")
