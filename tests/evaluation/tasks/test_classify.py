"""Zero-shot classification with planted truth: the fake encoder encodes colours, and the classes are colours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from evaluation.datasets.dataset import LabelledMedia, Medium
from evaluation.datasets.labelled_media import read_class_folders
from evaluation.errors import DatasetError, UnreadableMediaError
from evaluation.features import FeatureSource, ResultCache
from evaluation.measures.intervals import Measure
from evaluation.measures.ranking import rank_classes
from evaluation.reports.published import COCA
from evaluation.tasks.classify import PICTURES, VIDEOS, default_templates, evaluate_zero_shot
from tests.fakes import FakeEncoder, write_film, write_picture

BARE = ("{}",)


class ColourEncoder(FakeEncoder):
    dtype, device, batch_size = torch.float32, torch.device("cpu"), 4


class SilentEncoder(ColourEncoder):
    def encode_pixels(self, pixels):
        raise AssertionError("the encoder must not encode pictures")

    def encode_texts(self, texts):
        raise AssertionError("the encoder must not encode texts")


@pytest.fixture
def cache(tmp_path):
    cache = ResultCache(tmp_path / "cache.sqlite")
    yield cache
    cache.close()


@pytest.fixture
def source(cache):
    return FeatureSource(ColourEncoder(), cache)


def coloured(root, **colours):
    """Write class folders of pictures with the given colours. All files differ in size."""
    number = 64
    for folder, inside in colours.items():
        for colour in inside:
            number += 1
            write_picture(root / folder / f"{number}.png", colour, (number, 64))
    return replace(read_class_folders(root), title="colours")


def accuracy(report):
    return {name: measure.value for name, measure in report.tables[0].rows[0].values.items()}


def table(report, title):
    return next({row.name: row.values for row in table.rows} for table in report.tables if table.title == title)


# --- accuracy -----------------------------------------------------------------------------------------------------------


def test_every_colour_is_classified_with_a_smaller_last_batch(tmp_path, source):
    dataset = coloured(
        tmp_path / "set", red=["red"] * 3, blue=["blue"] * 2, green=["green"], black=["black"], white=["white"], yellow=["yellow"]
    )
    assert len(dataset.media) % source.encoder.batch_size == 1
    report = evaluate_zero_shot(dataset, source, templates=BARE)
    everything = Measure(100.0, 100.0, 100.0)
    assert report.tables[0].rows[0].values == {"top-1": everything, "top-5": everything, "mean per class": Measure(100.0)}
    assert report.examples == ()
    assert [found.title for found in report.tables] == ["accuracy"]


def test_planted_wrong_labels_give_the_expected_accuracy_and_confusions(tmp_path, source):
    report = evaluate_zero_shot(coloured(tmp_path / "set", red=["red", "red", "blue", "red"], blue=["blue"] * 3), source, templates=BARE)
    assert accuracy(report) == pytest.approx({"top-1": 100 * 6 / 7, "mean per class": 87.5})
    assert table(report, "worst classes") == {"red (4)": {"top-1": Measure(75.0)}}
    assert [(record["class"], record["answer"], record["rank"]) for record in report.records if record["rank"] > 1] == [("red", "blue", 2)]
    assert table(report, "confusions") == {"red taken for blue (1 of 4)": {"of its media": Measure(25.0)}}
    (example,) = report.examples
    assert (example.title, example.right, example.found[0][1]) == ("red (rank 2)", False, "blue, red")


def test_classes_with_the_same_name_tie_and_the_tie_counts_as_an_error(tmp_path, source):
    dataset = coloured(tmp_path / "set", red=["red"] * 2, blue=["blue"] * 3)
    doubled = LabelledMedia(dataset.title, dataset.media, (*dataset.classes, ("red",)), dataset.right)
    report = evaluate_zero_shot(doubled, source, templates=BARE)
    assert accuracy(report)["top-1"] == pytest.approx(60.0)
    assert report.metadata["classes with the same names"].startswith("red:")


def test_any_of_several_right_classes_counts_and_they_form_one_group(tmp_path, source):
    dataset = coloured(tmp_path / "set", black=["black"], red=["red"] * 2, blue=["blue"])
    black, blue, red = range(3)
    either = LabelledMedia("overlaps", dataset.media, dataset.classes, ((blue, red), (blue, red), (black, red), (black, red)))
    report = evaluate_zero_shot(either, source, templates=BARE)
    assert [medium.path.parent.name for medium in either.media] == ["black", "blue", "red", "red"]
    assert accuracy(report) == pytest.approx({"top-1": 75.0, "mean per class": 75.0})  # the black picture is neither blue nor red
    assert table(report, "worst classes") == {"blue or red (2)": {"top-1": Measure(50.0)}}


def test_videos_are_classified_by_the_mean_of_their_frames(tmp_path, source):
    for colour in ("red", "blue"):
        write_film(tmp_path / "films" / colour / "film.mp4", [(colour, 2.0)])
    dataset = read_class_folders(tmp_path / "films")
    assert accuracy(evaluate_zero_shot(dataset, source, templates=BARE))["top-1"] == 100.0


# --- ranks --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_agrees_with_scikit_learn(k):
    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(501, 12)).astype(np.float32), random.integers(0, 12, 501)
    answers = rank_classes(scores, [(label,) for label in labels])
    assert answers.top(k).mean() == pytest.approx(top_k_accuracy_score(labels, scores, k=k, labels=range(12)), abs=0)
    np.testing.assert_array_equal(answers.best, (-scores).argsort(axis=1)[:, :5])


@pytest.mark.parametrize(
    ("scores", "right", "rank"),
    [
        ((3, 2, 1), (0,), 0),
        ((3, 2, 1), (2,), 2),
        ((3, 3, 1), (0,), 1),
        ((1, 1, 1), (1,), 2),
        ((3, 3, 1), (0, 1), 0),
        ((3, 2, 1), (1, 2), 1),
        ((np.nan, 2, 1), (1,), 1),
        ((np.nan, 2, 1), (0,), 2),
    ],
)
def test_ties_and_nan_count_as_errors(scores, right, rank):
    assert rank_classes(np.array([scores], np.float32), [right]).ranks.tolist() == [rank]


# --- contents of a report -----------------------------------------------------------------------------------------------


def test_the_report_has_the_published_figure_and_its_metadata(tmp_path, source):
    dataset = coloured(tmp_path / "set", red=["red"], blue=["blue"])
    report = evaluate_zero_shot(dataset, source, templates=("{}", "a {} thing."), protocol="imagenet-v2")
    ours, published = report.tables[0].rows
    assert (ours.name, ours.source) == ("fake", "")
    assert (published.source, published.values) == (COCA, {"top-1": Measure(80.7)})
    wanted = {"model": "fake@1", "data set": "colours", "media": 2, "classes": 2, "templates": "{} | a {} thing.", "left out": 0}
    assert report.metadata.items() >= wanted.items()


def test_a_second_run_takes_everything_from_the_cache(tmp_path, source, cache):
    dataset = coloured(tmp_path / "set", red=["red"] * 2, blue=["blue"] * 3)
    first = evaluate_zero_shot(dataset, source, templates=BARE)
    assert evaluate_zero_shot(dataset, FeatureSource(SilentEncoder(), cache), templates=BARE).to_json() == first.to_json()


def test_a_broken_picture_is_an_error_or_left_out_on_request(tmp_path, source, cache):
    coloured(tmp_path / "set", red=["red", "blue"], blue=["blue"] * 2)
    (tmp_path / "set" / "blue" / "00.png").write_bytes(b"no picture")
    dataset = read_class_folders(tmp_path / "set")
    with pytest.raises(UnreadableMediaError, match=r"'blue/00\.png' cannot be read"):
        evaluate_zero_shot(dataset, source, templates=BARE)
    report = evaluate_zero_shot(dataset, FeatureSource(ColourEncoder(), cache, allow_missing=True), templates=BARE)
    assert (accuracy(report)["top-1"], report.metadata["media"], report.metadata["left out"]) == (75.0, 4, 1)
    reason = "not a picture that can be read. It begins with b'no picture'. Use JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC."
    assert report.missing == (f"{tmp_path}/set/blue: 'blue/00.png' cannot be read: {reason}",)


def test_a_data_set_with_one_class_or_an_invalid_label_is_refused():
    medium = Medium("a", Path("a.png"), "image", "a")
    with pytest.raises(DatasetError, match="holds 1 media and 1 classes"):
        LabelledMedia("one", (medium,), (("a",),), ((0,),))
    with pytest.raises(ValueError, match="has no class of the set"):
        LabelledMedia("two", (medium,), (("a",), ("b",)), ((2,),))


@pytest.mark.parametrize(("kinds", "templates"), [(("image", "image", "video"), PICTURES), (("image", "video", "video"), VIDEOS)])
def test_default_templates_follow_the_kind_of_most_media(kinds, templates):
    media = tuple(Medium(str(number), Path("x"), kind, "x") for number, kind in enumerate(kinds))
    assert default_templates(LabelledMedia("mixed", media, (("a",), ("b",)), ((0,),) * 3)) == templates
