"""Probes on frozen features: the linear one beside scikit-learn's, the pooler with the tiny CoCa on planted colours."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from evaluation.datasets.dataset import LabelledMedia
from evaluation.datasets.labelled_media import read_class_folders
from evaluation.errors import DatasetError
from evaluation.features.cache import ResultCache
from evaluation.features.extract import Decoded, FeatureSource
from evaluation.reports.published import COCA
from evaluation.reports.report import Measure
from evaluation.tasks import linear_probe
from evaluation.tasks.linear_probe import fit, fit_best, hold_out
from evaluation.tasks.pooler_probe import TOKENS, TrainingOptions, load_tokens, spread, train_pooler
from evaluation.tasks.probe import ProbeOptions, evaluate_probe
from tests.fakes import COLOURS, write_film

SHORT = TrainingOptions(epochs=12, batch_size=8, learning_rate=3e-3)


@pytest.fixture(scope="module")
def blobs():
    """240 points of four overlapping classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 240)
    return (random.normal(size=(4, 8))[labels] + random.normal(size=(240, 8))).astype(np.float32), labels


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A training and a test set: noisy pictures of three colours."""
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 3)):
        for colour in ("red", "green", "blue"):
            (root / part / colour).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(random.normal(COLOURS[colour], 25, (40, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / colour / f"{number}.png")
    return read_class_folders(root / "train"), read_class_folders(root / "test")


@pytest.fixture(scope="module")
def source(tiny_encoder, tmp_path_factory):
    cache = ResultCache(tmp_path_factory.mktemp("cache") / "cache.sqlite")
    yield FeatureSource(tiny_encoder, cache)
    cache.close()


def silent(source):
    """The same source with an encoder that cannot embed: everything must come from the cache."""
    names = ("model_id", "preprocessing_id", "dtype", "device", "batch_size", "config")
    return FeatureSource(SimpleNamespace(**{name: getattr(source.encoder, name) for name in names}), source.cache)


def accuracy(report):
    return report.tables[0].rows[0].values["top-1"].value


def shuffled(dataset):
    right = [dataset.right[index] for index in np.random.default_rng(1).permutation(len(dataset.media))]
    return LabelledMedia(dataset.title, dataset.media, dataset.classes, tuple(right))


# --- the linear probe ---------------------------------------------------------------------------------------------------


def scikit(vectors, labels, l2):
    return LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-8, max_iter=5000).fit(vectors, labels)


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_the_loss_and_the_logits_are_those_of_scikit_learn(blobs, l2):
    vectors, labels = blobs
    oracle, ours = scikit(vectors.astype(np.float64), labels, l2), fit(vectors, labels, 4, l2=l2)
    wanted = log_loss(labels, oracle.predict_proba(vectors)) + l2 / 2 * np.square(oracle.coef_).sum()
    assert ours.loss == pytest.approx(wanted, rel=1e-6)
    probabilities = torch.from_numpy(ours.scores(vectors)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, oracle.predict_proba(vectors), atol=1e-3)


def test_the_fit_does_not_depend_on_blocks_or_the_start(blobs, monkeypatch):
    vectors, labels = blobs
    whole = fit(vectors, labels, 4, l2=1e-2)
    monkeypatch.setattr(linear_probe, "_BLOCK", 37)
    again = fit(vectors, labels, 4, l2=1e-2, start=fit(vectors, labels, 4, l2=1.0))
    assert again.loss == pytest.approx(whole.loss, rel=1e-7)
    torch.testing.assert_close(again.weights, whole.weights, atol=1e-3, rtol=1e-3)


def test_the_strength_is_the_one_that_does_best_on_the_held_out_tenth(blobs):
    vectors, labels = blobs
    held, kept = hold_out(labels, seed=0)
    found = []
    for l2 in (1e1, 1e-1, 1e-2, 1e-5):
        oracle = scikit(vectors[kept], labels[kept], l2)
        found.append((oracle.score(vectors[held], labels[held]), -log_loss(labels[held], oracle.predict_proba(vectors[held])), l2))
    best = fit_best(vectors, labels, 4, strengths=(1e-5, 1e-2, 1e-1, 1e1))
    assert best.l2 == max(found)[-1]
    assert best.loss == pytest.approx(fit(vectors, labels, 4, l2=best.l2).loss, rel=1e-9)


def test_a_tenth_is_held_out_of_each_class():
    labels = np.repeat([2, 0, 1], (50, 20, 30))
    held, kept = hold_out(labels, seed=3)
    assert np.bincount(labels[held]).tolist() == [2, 3, 5]
    assert sorted([*held, *kept]) == list(range(100))
    assert not np.array_equal(held, hold_out(labels, seed=4)[0])


def test_a_linear_probe_on_frozen_vectors_tells_colours(colours, source):
    report = evaluate_probe(*colours, source, ProbeOptions("linear", strengths=(1e-4, 1e-6)))
    assert report.tables[0].rows[0].values == {"top-1": Measure(100.0, 100.0, 100.0), "mean per class": Measure(100.0)}
    wanted = {"training set": colours[0].title, "training media": 24, "media": 9, "classes": 3, "same files in both sets": 0}
    assert report.facts.items() >= wanted.items()
    assert report.facts["probe"].startswith("logistic regression, L2 ")


# --- the attentional pooler ---------------------------------------------------------------------------------------------


def test_the_pooler_learns_planted_colours_and_no_shuffled_ones(colours, source):
    train, test = colours
    report = evaluate_probe(train, test, source, ProbeOptions(training=SHORT, protocol="kinetics-400"))
    ours, published = report.tables[0].rows
    assert ours.values["top-1"] == Measure(100.0, 100.0, 100.0)
    assert ours.name.endswith(", attentional pooler probe")
    assert (published.source, published.values) == (COCA, {"top-1": Measure(88.0)})
    assert accuracy(evaluate_probe(shuffled(train), test, source, ProbeOptions(training=SHORT))) < 90


@pytest.mark.parametrize("kind", ["linear", "pooler"])
def test_the_second_time_features_come_from_the_cache_and_the_probe_is_the_same(colours, source, kind):
    options = ProbeOptions(kind, training=TrainingOptions(epochs=2), strengths=(1e-4,))
    first = evaluate_probe(*colours, source, options)
    assert evaluate_probe(*colours, silent(source), options).to_json() == first.to_json()


def test_another_seed_gives_another_probe_and_the_callers_random_numbers_stay(colours, source):
    train, _ = colours
    features, labels = source.of_media(train.media, TOKENS), np.array([right[0] for right in train.right])
    state = torch.random.get_rng_state()
    weights = [
        train_pooler(features, labels, 3, TrainingOptions(epochs=1, seed=seed), heads=2, device=torch.device("cpu")).classify.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_tokens_of_a_film_are_those_of_sixteen_frames(tmp_path, source):
    write_film(tmp_path / "films" / "a" / "1.mp4", [("red", 1.0), ("blue", 1.0)])
    write_film(tmp_path / "films" / "b" / "2.mp4", [("green", 1.0)])
    features = source.of_media(read_class_folders(tmp_path / "films").media, TOKENS)
    first = features.load([0])[0]["tokens"]
    assert (first.shape, first.dtype) == ((16, 4, 32), np.float16)
    assert np.abs(np.diff(first.astype(np.float32), axis=0)).max(axis=(1, 2)).argmax() == 7  # red turns to blue
    assert load_tokens(features, [0, 1], torch.device("cpu")).shape == (2, 16 * 4, 32)


def test_a_picture_has_one_frame_and_a_short_film_has_some_twice():
    frames = np.arange(3, dtype=np.float16).reshape(3, 1, 1)
    kept = TOKENS.keep(frames, Decoded(np.zeros((3, 1, 1, 3), np.uint8), np.zeros(3), 0.1))["tokens"]
    assert kept.ravel().tolist() == [0] * 4 + [1] * 8 + [2] * 4
    assert TOKENS.keep(frames[:1], Decoded(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1), 0.0))["tokens"].shape == (1, 1, 1)
    assert spread(1, 3).tolist() == [0, 0, 0]


# --- two sets that do not go together -----------------------------------------------------------------------------------


def test_sets_with_other_classes_are_refused(colours, source):
    train, test = colours
    other = LabelledMedia("other", test.media, (("red",), ("green",), ("pink",)), test.right)
    with pytest.raises(DatasetError, match=re.escape("train and other have other classes (3 and 3; not in both: blue, pink)")):
        evaluate_probe(train, other, source)


def test_a_training_medium_with_two_classes_is_named(colours, source):
    train, test = colours
    double = LabelledMedia("double", train.media, train.classes, ((0, 1), *train.right[1:]))
    with pytest.raises(DatasetError, match=re.escape("'blue/0.png' has 2 classes")):
        evaluate_probe(double, test, source)
