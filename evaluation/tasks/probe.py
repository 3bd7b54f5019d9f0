"""`eval classify` with a training set: a linear probe or an attentional pooler on frozen features."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.datasets.dataset import LabelledMedia
from evaluation.errors import DatasetError
from evaluation.features.extract import MEAN_VECTOR, Features, FeatureSource, readable
from evaluation.measures.ranking import rank_in_blocks
from evaluation.reports.report import Report
from evaluation.tasks.classify import classification_report
from evaluation.tasks.linear_probe import STRENGTHS, fit_best
from evaluation.tasks.pooler_probe import TOKENS, TrainingOptions, pooler_scores, train_pooler

ProbeKind = Literal["linear", "pooler"]
_NAMES: dict[ProbeKind, str] = {"linear": "linear probe", "pooler": "attentional pooler probe"}


@dataclass(frozen=True)
class ProbeOptions:
    """Which probe, and how it is trained."""

    kind: ProbeKind = "pooler"
    protocol: str = "own"  # the published figures: "kinetics-400", "kinetics-600", "kinetics-700", "moments-in-time"; others have none
    strengths: tuple[float, ...] = STRENGTHS  # of the linear probe's L2 penalty; a held-out tenth of the training set chooses
    training: TrainingOptions = field(default_factory=TrainingOptions)  # of the pooler; its seed also draws the held-out tenth


def evaluate_probe(train: LabelledMedia, test: LabelledMedia, source: FeatureSource, options: ProbeOptions | None = None) -> Report:
    """Train a probe on one set and measure it on the other.

    Raises DatasetError if the sets have different classes, or a training medium has several; UnreadableMediaError if a medium cannot
    be read, and the source does not allow that.
    """
    options = options or ProbeOptions()
    _check(train, test)
    feature = MEAN_VECTOR if options.kind == "linear" else TOKENS
    train, known = readable(train, source, feature)
    test, features = readable(test, source, feature)
    labels = np.array([right[0] for right in train.right], np.int64)
    fit = _fit_linear if options.kind == "linear" else _fit_pooler
    scores, how = fit(known, features, labels, len(train.classes), source, options)
    same, name = len(set(known.keys) & set(features.keys)), _NAMES[options.kind]
    return classification_report(
        replace(test, missing=(*train.missing, *test.missing)),
        features,
        rank_in_blocks(scores, test.right, block=options.training.batch_size),
        source.encoder,
        title=f"{name.capitalize()} on {test.title}",
        system=f", {name}",
        protocol=("frozen", options.protocol),
        metadata={"training set": train.title, "training media": len(train.media), "probe": how, "same files in both sets": same},
        note=f"{same} files are in the training set too, so the accuracy on new files may be lower." if same else "",
    )


def _check(train: LabelledMedia, test: LabelledMedia) -> None:
    if train.classes != test.classes:
        other = sorted({names[0] for names in train.classes} ^ {names[0] for names in test.classes})
        raise DatasetError(
            f"{train.title} and {test.title} have different classes ({len(train.classes)} and {len(test.classes)}; not in both: "
            f"{', '.join(other)[:80]}). A probe needs a training set and a test set with the same classes."
        )
    for medium, right in zip(train.media, train.right, strict=True):
        if len(right) > 1:
            raise DatasetError(f"{medium.record}: {medium.name!r} has {len(right)} classes. A training set needs one for each medium.")
    if len(train.media) < 2:
        raise DatasetError(f"{train.title}: holds {len(train.media)} medium. Training needs at least two, of which one is held out.")


# Both fit to `train` and return the scores of B media of `test`, float32 (B, C), and how the probe was trained.
_Fitted = tuple[Callable[[range], NDArray[np.float32]], str]


def _fit_linear(
    train: Features, test: Features, labels: NDArray[np.int64], num_classes: int, source: FeatureSource, options: ProbeOptions
) -> _Fitted:
    on_fit = partial(source.on_progress, "fits")
    best = fit_best(train.vectors(), labels, num_classes, strengths=options.strengths, seed=options.training.seed, on_fit=on_fit)
    how = f"logistic regression, L2 {best.l2:g} of the mean loss, chosen on a held-out tenth of the training set"
    return lambda rows: best.scores(test.vectors(rows)), how


def _fit_pooler(
    train: Features, test: Features, labels: NDArray[np.int64], num_classes: int, source: FeatureSource, options: ProbeOptions
) -> _Fitted:
    training, heads = options.training, source.encoder.config.pooler.heads
    device = torch.device("cuda" if source.encoder.device.type == "cuda" else "cpu")
    on_epoch = partial(source.on_progress, "epochs")
    trained = train_pooler(train, labels, num_classes, training, heads=heads, device=device, on_epoch=on_epoch)
    how = (
        f"attentional pooler with one query, {training.epochs} epochs, batch {training.batch_size}, AdamW with learning rate "
        f"{training.learning_rate:g} and weight decay {training.weight_decay:g}, seed {training.seed}"
    )
    return lambda rows: pooler_scores(trained, test, rows), how
