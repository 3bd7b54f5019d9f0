"""Caption evaluation end to end with the tiny CoCa, and self-retrieval with planted truth."""

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


class ColourCaptioner(FakeEncoder):
    """A fake captioner. It names the colour of a picture, but calls white "black"."""

    captioned = 0

    def caption_options(self, options):
        return options

    def caption(self, images, options):
        ColourCaptioner.captioned += len(images)
        names = {FakeEncoder().preprocess(self._as_picture(colour)).tobytes(): name for name, colour in COLOURS.items()}
        answers = [names[image.tobytes()] for image in images]
        return ["black" if name == "white" else name for name in answers]

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


def test_captions_are_scored_against_their_own_references(tmp_path, dataset, no_java):
    evaluate_captions(dataset, FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")))
    ((references, captions),) = no_java
    assert references == [[colour] for colour in COLOURS]
    assert captions == [*list(COLOURS)[:-1], "black"]


def test_self_retrieval_counts_captions_that_find_another_picture(tmp_path, dataset):
    report = evaluate_captions(dataset, FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")))
    row = report.tables[0].rows[0]
    assert row.values[SELF_RETRIEVAL].value == pytest.approx(100 * 5 / 6)
    assert report.metadata["different captions"] == 5


def test_published_figures_are_shown_and_missing_metrics_are_explained(tmp_path, dataset):
    report = evaluate_captions(dataset, FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")), CaptionEvaluation("coco"))
    _, theirs = report.tables[0].rows
    assert theirs.values["CIDEr"].value == 143.6
    assert "SPICE: not computed, needs it." in report.tables[0].note


def test_captions_are_cached_by_their_options(tmp_path, dataset):
    ColourCaptioner.captioned = 0
    for options in (CaptionOptions(), CaptionOptions(), CaptionOptions("greedy")):
        evaluate_captions(dataset, FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")), CaptionEvaluation(options=options))
    assert ColourCaptioner.captioned == 12


def test_a_picture_without_a_text_is_left_out(tmp_path, dataset, no_java):
    fewer = CaptionedMedia("fewer", dataset.media, dataset.texts[1:], dataset.owners[1:])
    report = evaluate_captions(fewer, FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")))
    assert report.metadata["pictures"] == 5
    assert len(no_java[0][0]) == 5


def test_a_video_is_refused_by_its_record(tmp_path, dataset):
    film = Medium("film.mp4", tmp_path / "film.mp4", "video", "list.json: videos[3]")
    with pytest.raises(DatasetError, match=r"list\.json: videos\[3\]: a video"):
        evaluate_captions(CaptionedMedia("v", (film,), ("x",), ((0,),)), FeatureSource(ColourCaptioner(), ResultCache(tmp_path / "c")))


@pytest.mark.filterwarnings("ignore:A text of")  # captions from random weights are longer than the context
def test_a_real_model_can_be_evaluated(tmp_path, dataset, tiny_encoder, no_java):
    report = evaluate_captions(dataset, FeatureSource(tiny_encoder, ResultCache(tmp_path / "c")))
    assert no_java[0][1] == tiny_encoder.caption([medium.path for medium in dataset.media])
    assert len(report.examples) == 6
