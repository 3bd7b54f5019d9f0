"""`eval classify` with a training set: a linear probe or an attentional pooler on frozen features.

The linear probe is multinomial logistic regression on frozen vectors (Radford et al. 2021, section 3.2), by scikit-learn. It
minimises the mean cross-entropy plus l2/2 times the squared norm of the weights, without the intercepts.

The pooler is the paper's frozen setting (Yu et al. 2022, sections 3.2 and 4.2): the encoder sees each frame alone, one learned query
attends to the tokens of all frames, and a linear layer gives the logits. The tokens are those of `Encoder.encode_image_tokens`,
which the caption decoder reads. They are cached as float16 and loaded batch by batch, so that memory does not grow with the data.

Axes: N media, E embedding, C classes, B batch, T frames, Q tokens of a frame, D width.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.poolers import AttentionalPooler
from evaluation.datasets.dataset import LabelledMedia
from evaluation.errors import DatasetError
from evaluation.features import MEAN_VECTOR, Arrays, Decoded, Feature, Features, FeatureSource, readable
from evaluation.measures.ranking import rank_in_blocks
from evaluation.reports.report import Report
from evaluation.tasks.classify import classification_report
from media.video import CLIP_FRAMES

STRENGTHS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # l2 from strong to weak, so that each fit starts from the weights of the last one
_HELD_OUT = 10  # one example of this many
Vectors = NDArray[np.float32]  # (N, E)
Labels = NDArray[np.int64]  # (N,)
OnStep = Callable[[int, int], None]  # done, total


@dataclass(frozen=True)
class ProbeOptions:
    """Which probe, and how it is trained. The pooler has AdamW, a short warm-up, and a cosine schedule to zero."""

    kind: Literal["linear", "pooler"] = "pooler"
    protocol: str = "own"  # the published figures: "kinetics-400", "kinetics-600", "kinetics-700", "moments-in-time"; others have none
    strengths: tuple[float, ...] = STRENGTHS  # of the linear probe's L2 penalty; a held-out tenth of the training set chooses
    epochs: int = 20  # of the pooler, as all below
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05  # share of all steps
    seed: int = 0  # also draws the held-out tenth for the linear probe


def evaluate_probe(train: LabelledMedia, test: LabelledMedia, source: FeatureSource, options: ProbeOptions | None = None) -> Report:
    """Train a probe on one set and measure it on the other, with the same classes.

    Raises DatasetError if they differ, or if a training medium has several; UnreadableMediaError, unless the source allows missing media.
    """
    options = options or ProbeOptions()
    _check(train, test)
    feature = MEAN_VECTOR if options.kind == "linear" else TOKENS
    train, known = readable(train, source, feature)
    test, features = readable(test, source, feature)
    labels, num_classes = np.array([right[0] for right in train.right], np.int64), len(train.classes)
    if options.kind == "linear":
        on_fit = partial(source.on_progress, "fits")
        linear = fit_best(known.vectors(), labels, num_classes, strengths=options.strengths, seed=options.seed, on_fit=on_fit)
        how = f"logistic regression, L2 {linear.l2:g} of the mean loss, chosen on a held-out tenth of the training set"
        answers = rank_in_blocks(lambda rows: linear.scores(features.vectors(rows)), test.right, block=options.batch_size)
    else:
        device = torch.device("cuda" if source.encoder.device.type == "cuda" else "cpu")
        heads, on_epoch = source.encoder.config.pooler.heads, partial(source.on_progress, "epochs")
        pooler = train_pooler(known, labels, num_classes, options, heads=heads, device=device, on_epoch=on_epoch)
        how = (
            f"attentional pooler with one query, {options.epochs} epochs, batch {options.batch_size}, AdamW with learning rate "
            f"{options.learning_rate:g} and weight decay {options.weight_decay:g}, seed {options.seed}"
        )
        answers = rank_in_blocks(partial(pooler_scores, pooler, features), test.right, block=options.batch_size)
    same, name = len(set(known.keys) & set(features.keys)), "linear probe" if options.kind == "linear" else "attentional pooler probe"
    return classification_report(
        replace(test, missing=(*train.missing, *test.missing)),
        features,
        answers,
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


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier of scikit-learn for C classes. It never answers with a class without training media."""

    model: Any
    num_classes: int
    l2: float

    def scores(self, vectors: Vectors) -> Vectors:
        """float32 (N, E) -> log-probabilities float32 (N, C)."""
        scores = np.full((len(vectors), self.num_classes), -np.inf, np.float32)
        with np.errstate(divide="ignore"):  # the logarithm of a probability of 0
            scores[:, self.model.classes_] = self.model.predict_log_proba(vectors.astype(np.float64))
        return scores


def fit(vectors: Vectors, labels: Labels, num_classes: int, *, l2: float, start: LinearProbe | None = None) -> LinearProbe:
    """Fit to vectors (N, E) and labels (N,), from zero or from `start`, which is changed."""
    num_present = len(np.unique(labels))
    if num_present == 1:
        return LinearProbe(DummyClassifier().fit(vectors, labels), num_classes, l2)
    model = start.model if start and isinstance(start.model, LogisticRegression) else LogisticRegression(warm_start=True)
    # For two classes scikit-learn has one weight vector, which is the difference of our two: half the squared norm.
    model.set_params(C=(2 if num_present == 2 else 1) / (l2 * len(labels)), tol=1e-7, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties on separable data; the scores are good anyway
        model.fit(vectors.astype(np.float64), labels)
    return LinearProbe(model, num_classes, l2)


def fit_best(
    vectors: Vectors,
    labels: Labels,
    num_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    on_fit: OnStep = lambda *_: None,
) -> LinearProbe:
    """Choose `l2` by accuracy, then cross-entropy, on a held-out tenth. Then fit to all data with it."""
    held, kept = hold_out(labels, seed=seed)
    probe, found = None, []
    for done, l2 in enumerate(sorted(strengths, reverse=True), 1):
        probe = fit(vectors[kept], labels[kept], num_classes, l2=l2, start=probe)
        scores = probe.scores(vectors[held])
        likelihood = np.take_along_axis(scores, labels[held, None], axis=1)
        found.append((float((scores.argmax(1) == labels[held]).mean()), float(likelihood.mean()), l2))
        on_fit(done, len(strengths) + 1)
    best = fit(vectors, labels, num_classes, l2=max(found)[-1])
    on_fit(len(strengths) + 1, len(strengths) + 1)
    return best


def hold_out(labels: Labels, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A tenth of the indices, about the same share of each class, and the others."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[labels[shuffled].argsort(kind="stable")]
    return np.sort(by_class[::_HELD_OUT]), np.delete(by_class, np.s_[::_HELD_OUT])


def _keep(tokens: NDArray[np.generic], decoded: Decoded) -> Arrays:
    """The tokens of 16 frames of a video, some repeated if it has fewer, or of a picture, which has no duration."""
    return {"tokens": tokens[spread(len(tokens), CLIP_FRAMES if decoded.duration_seconds or len(tokens) > 1 else 1)]}


TOKENS = Feature(
    "tokens of 16 frames", lambda encoder, pixels: encoder.encode_image_tokens(list(pixels)).to(torch.float16).cpu().numpy(), _keep
)


def train_pooler(
    features: Features,
    labels: Labels,
    num_classes: int,
    options: ProbeOptions,
    *,
    heads: int,
    device: torch.device,
    on_epoch: OnStep = lambda *_: None,
) -> nn.Module:
    """Train on `TOKENS` features and labels (N,): a probe from tokens (B, T * Q, D) to logits (B, C).

    The same seed gives the same probe on the same machine.
    """
    width = features.load([0])[0]["tokens"].shape[-1]
    with torch.random.fork_rng(devices=[]):  # the weights are initialised on the CPU
        torch.manual_seed(options.seed)
        pooler = AttentionalPooler(1, width, heads, context_width=width)  # (B, T * Q, D) -> (B, 1, D)
        probe = nn.Sequential(pooler, nn.Flatten(), nn.Linear(width, num_classes)).to(device)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    random = np.random.default_rng(options.seed)
    steps = options.epochs * math.ceil(len(labels) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, options.warmup))
    for epoch in range(options.epochs):
        order = random.permutation(len(labels))
        for start in range(0, len(order), options.batch_size):
            rows = order[start : start + options.batch_size]
            logits = probe(load_tokens(features, rows.tolist(), device))
            loss = F.cross_entropy(logits, torch.from_numpy(labels[rows]).to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        on_epoch(epoch + 1, options.epochs)
    return probe.eval()


@torch.inference_mode()
def pooler_scores(probe: nn.Module, features: Features, rows: Sequence[int]) -> NDArray[np.float32]:
    """Logits float32 (B, C) of some media."""
    return probe(load_tokens(features, rows, next(probe.parameters()).device)).float().cpu().numpy()


def load_tokens(features: Features, rows: Sequence[int], device: torch.device) -> Tensor:
    """float32 (B, T * Q, D) of some media, from the cache. Media with fewer frames than others repeat them."""
    loaded = [row["tokens"] for row in features.load(rows)]
    most = max(len(tokens) for tokens in loaded)
    batch = np.stack([tokens[spread(len(tokens), most)] for tokens in loaded])  # (B, T, Q, D)
    return torch.from_numpy(batch).to(device).float().flatten(1, 2)  # (B, T * Q, D)


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` uniformly spaced indices of `count` frames, int64."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def _rate(step: int, steps: int, warmup: float) -> float:
    warm = max(1, round(warmup * steps))
    return (step + 1) / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2
