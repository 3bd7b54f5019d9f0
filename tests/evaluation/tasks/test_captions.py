"""Captions end to end with the tiny real CoCa, and self-retrieval with planted truth."""

import pytest

from coca_model import CaptionOptions
from evaluation.datasets.dataset import CaptionedMedia, Medium
from evaluation.errors import DatasetError
from evaluation.features import FeatureSource, ResultCache
from evaluation.measures.caption_metrics import CaptionScores
from evaluation.measures.intervals import Measure
from evaluation.tasks import captions as module
from evaluation.tasks.captions import SELF_RETRIEVAL, CaptionEvaluation, evaluate_captions
from tests.fakes import COLOURS, FakeEncoder, write_picture


class Talker(FakeEncoder):
    """Says the colour that it sees; every white picture it calls black."""

    asked = 0

    def caption_options(self, options):
        return options

    def caption(self, images, options):
        Talker.asked += len(images)
        names = {FakeEncoder().preprocess(self._as_picture(colour)).tobytes(): name for name, colour in COLOURS.items()}
        said = [names[image.tobytes()] for image in images]
        return ["black" if name == "white" else name for name in said]

    @staticmethod
    def _as_picture(colour):
        from PIL import Image

        return Image.new("RGB", (8, 8), colour)


@pytest.fixture
def dataset(tmp_path):
    media = tuple(Medium(c, write_picture(tmp_path / f"{c}.png", c), "image", f"set: {c}") for c in COLOURS)
    return CaptionedMedia("colours", media, tuple(COLOURS), tuple((n,) for n in range(len(COLOURS))))


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    seen = []
    monkeypatch.setattr(
        module, "score_captions", lambda *pair: seen.append(pair) or CaptionScores({"CIDEr": Measure(1.0)}, {"SPICE": "needs it"})
    )
    return seen


def test_captions_and_references_belong_together(tmp_path, dataset, no_java):
    evaluate_captions(dataset, FeatureSource(Talker(), ResultCache(tmp_path / "c")))
    ((references, captions),) = no_java
    assert references == [[colour] for colour in COLOURS]
    assert captions == [*list(COLOURS)[:-1], "black"]


def test_a_caption_that_fits_another_picture_better_does_not_find_its_own(tmp_path, dataset):
    report = evaluate_captions(dataset, FeatureSource(Talker(), ResultCache(tmp_path / "c")))
    row = report.tables[0].rows[0]
    assert row.values[SELF_RETRIEVAL].value == pytest.approx(100 * 5 / 6)
    assert report.metadata["different captions"] == 5


def test_the_published_figures_stand_beside_and_what_lacks_is_said(tmp_path, dataset):
    report = evaluate_captions(dataset, FeatureSource(Talker(), ResultCache(tmp_path / "c")), CaptionEvaluation("coco"))
    _, theirs = report.tables[0].rows
    assert theirs.values["CIDEr"].value == 143.6
    assert "SPICE: not computed, needs it." in report.tables[0].note


def test_captions_are_kept_by_the_way_they_were_made(tmp_path, dataset):
    Talker.asked = 0
    for options in (CaptionOptions(), CaptionOptions(), CaptionOptions("greedy")):
        evaluate_captions(dataset, FeatureSource(Talker(), ResultCache(tmp_path / "c")), CaptionEvaluation(options=options))
    assert Talker.asked == 12


def test_a_picture_without_a_text_has_nothing_to_be_compared_with(tmp_path, dataset, no_java):
    fewer = CaptionedMedia("fewer", dataset.media, dataset.texts[1:], dataset.owners[1:])
    report = evaluate_captions(fewer, FeatureSource(Talker(), ResultCache(tmp_path / "c")))
    assert report.metadata["pictures"] == 5
    assert len(no_java[0][0]) == 5


def test_videos_are_refused_by_name(tmp_path, dataset):
    film = Medium("film.mp4", tmp_path / "film.mp4", "video", "list.json: videos[3]")
    with pytest.raises(DatasetError, match=r"list\.json: videos\[3\]: a video"):
        evaluate_captions(CaptionedMedia("v", (film,), ("x",), ((0,),)), FeatureSource(Talker(), ResultCache(tmp_path / "c")))


@pytest.mark.filterwarnings("ignore:A text of")  # what random weights say is longer in words than in tokens
def test_a_real_model_goes_all_the_way(tmp_path, dataset, tiny_encoder, no_java):
    report = evaluate_captions(dataset, FeatureSource(tiny_encoder, ResultCache(tmp_path / "c")))
    assert no_java[0][1] == tiny_encoder.caption([medium.path for medium in dataset.media])
    assert len(report.examples) == 6
