"""Linear and pooler probes on frozen features of the tiny CoCa, with pictures of three colours."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.datasets.dataset import LabelledMedia
from evaluation.datasets.labelled_media import read_class_folders
from evaluation.errors import DatasetError
from evaluation.features import Decoded, FeatureSource, ResultCache
from evaluation.measures.intervals import Measure
from evaluation.reports.published import COCA
from evaluation.tasks.probe import TOKENS, ProbeOptions, evaluate_probe, load_tokens, spread, train_pooler
from tests.fakes import COLOURS, write_film

SHORT = ProbeOptions(epochs=12, batch_size=8, learning_rate=3e-3)


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


def from_cache_only(source):
    """The same source with an encoder that cannot embed, so everything must come from the cache."""
    names = ("model_id", "preprocessing_id", "dtype", "device", "batch_size", "config")
    return FeatureSource(SimpleNamespace(**{name: getattr(source.encoder, name) for name in names}), source.cache)


def accuracy(report):
    return report.tables[0].rows[0].values["top-1"].value


def shuffled(dataset):
    right = [dataset.right[index] for index in np.random.default_rng(1).permutation(len(dataset.media))]
    return LabelledMedia(dataset.title, dataset.media, dataset.classes, tuple(right))


# --- a linear probe -------------------------------------------------------------------------------------------------------


def test_a_linear_probe_on_frozen_vectors_separates_colours(colours, source):
    report = evaluate_probe(*colours, source, ProbeOptions("linear", strengths=(1e-4, 1e-6)))
    assert report.tables[0].rows[0].values == {"top-1": Measure(100.0, 100.0, 100.0), "mean per class": Measure(100.0)}
    wanted = {"training set": colours[0].title, "training media": 24, "media": 9, "classes": 3, "same files in both sets": 0}
    assert report.metadata.items() >= wanted.items()
    assert report.metadata["probe"].startswith("logistic regression, L2 ")


# --- the attentional pooler ---------------------------------------------------------------------------------------------


def test_the_pooler_learns_colours_but_not_shuffled_labels(colours, source):
    train, test = colours
    report = evaluate_probe(train, test, source, replace(SHORT, protocol="kinetics-400"))
    ours, published = report.tables[0].rows
    assert ours.values["top-1"] == Measure(100.0, 100.0, 100.0)
    assert ours.name.endswith(", attentional pooler probe")
    assert (published.source, published.values) == (COCA, {"top-1": Measure(88.0)})
    assert accuracy(evaluate_probe(shuffled(train), test, source, SHORT)) < 90


@pytest.mark.parametrize("kind", ["linear", "pooler"])
def test_a_second_run_uses_cached_features_and_gives_the_same_report(colours, source, kind):
    options = ProbeOptions(kind, epochs=2, strengths=(1e-4,))
    first = evaluate_probe(*colours, source, options)
    assert evaluate_probe(*colours, from_cache_only(source), options).to_json() == first.to_json()


def test_the_seed_determines_the_probe_and_the_global_random_state_is_unchanged(colours, source):
    train, _ = colours
    features, labels = source.of_media(train.media, TOKENS), np.array([right[0] for right in train.right])
    state = torch.random.get_rng_state()
    weights = [
        train_pooler(features, labels, 3, ProbeOptions(epochs=1, seed=seed), heads=2, device=torch.device("cpu"))[-1].weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_tokens_of_a_video_come_from_sixteen_frames(tmp_path, source):
    write_film(tmp_path / "films" / "a" / "1.mp4", [("red", 1.0), ("blue", 1.0)])
    write_film(tmp_path / "films" / "b" / "2.mp4", [("green", 1.0)])
    features = source.of_media(read_class_folders(tmp_path / "films").media, TOKENS)
    first = features.load([0])[0]["tokens"]
    assert (first.shape, first.dtype) == ((16, 4, 32), np.float16)
    assert np.abs(np.diff(first.astype(np.float32), axis=0)).max(axis=(1, 2)).argmax() == 7  # red turns to blue
    assert load_tokens(features, [0, 1], torch.device("cpu")).shape == (2, 16 * 4, 32)


def test_a_picture_has_one_frame_and_a_short_video_repeats_frames():
    frames = np.arange(3, dtype=np.float16).reshape(3, 1, 1)
    tokens = TOKENS.keep(frames, Decoded(np.zeros((3, 1, 1, 3), np.uint8), np.zeros(3), 0.1))["tokens"]
    assert tokens.ravel().tolist() == [0] * 4 + [1] * 8 + [2] * 4
    assert TOKENS.keep(frames[:1], Decoded(np.zeros((1, 1, 1, 3), np.uint8), np.zeros(1), 0.0))["tokens"].shape == (1, 1, 1)
    assert spread(1, 3).tolist() == [0, 0, 0]


# --- sets that do not match ---------------------------------------------------------------------------------------------


def test_sets_with_different_classes_are_refused(colours, source):
    train, test = colours
    other = LabelledMedia("other", test.media, (("red",), ("green",), ("pink",)), test.right)
    with pytest.raises(DatasetError, match=re.escape("train and other have different classes (3 and 3; not in both: blue, pink)")):
        evaluate_probe(train, other, source)


def test_a_training_medium_with_two_classes_is_named(colours, source):
    train, test = colours
    double = LabelledMedia("double", train.media, train.classes, ((0, 1), *train.right[1:]))
    with pytest.raises(DatasetError, match=re.escape("'blue/0.png' has 2 classes")):
        evaluate_probe(double, test, source)
