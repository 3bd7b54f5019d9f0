"""Moment retrieval in videos of plain colours, where the right span is known."""

import numpy as np
import pytest

from evaluation.datasets.dataset import Medium, MomentQuery, MomentSet
from evaluation.errors import UnreadableMediaError
from evaluation.features import FeatureSource, ResultCache
from evaluation.tasks.moments import didemo_measures, evaluate_moments, raised_segments, temporal_iou
from tests.fakes import FakeEncoder, write_film


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ((0, 10), (0, 10), 1.0),
        ((0, 5), (5, 10), 0.0),
        ((0, 10), (5, 15), 1 / 3),
        ((2, 4), (0, 10), 0.2),
        ((3, 3), (3, 3), 0.0),
        ((0, 1), (8, 9), 0.0),
    ],
)
def test_temporal_iou_is_intersection_over_union(found, truth, expected):
    assert temporal_iou(found, truth) == pytest.approx(expected)


def test_temporal_iou_agrees_with_counting_on_a_grid():
    random = np.random.default_rng(0)
    for _ in range(100):
        a, b = (tuple(sorted(random.choice(60, 2, replace=False).tolist())) for _ in range(2))
        seconds_a, seconds_b = set(range(*a)), set(range(*b))
        assert temporal_iou(a, b) == pytest.approx(len(seconds_a & seconds_b) / len(seconds_a | seconds_b))


@pytest.mark.parametrize(("first", "stop"), [(0, 3), (4, 9), (17, 20)])
def test_a_raised_segment_is_found_exactly(first, stop):
    cosines = np.full(20, 0.1)
    cosines[first:stop] = 0.4
    assert raised_segments(cosines, np.arange(21.0)) == [(first, stop)]


def test_the_first_segment_has_the_greatest_likelihood_of_all():
    cosines = np.random.default_rng(1).normal(size=12)

    def squared_error(first, stop):
        inside = np.zeros(12, bool)
        inside[first:stop] = True
        parts = [cosines[inside], cosines[~inside]]
        up = len(parts[1]) == 0 or parts[0].mean() >= parts[1].mean()
        return sum(((part - part.mean()) ** 2).sum() for part in parts if len(part)) if up else np.inf

    best = min(((a, b) for a in range(12) for b in range(a + 1, 13)), key=lambda span: squared_error(*span))
    assert raised_segments(cosines, np.arange(13.0)) == [best]


def test_the_best_segments_equal_a_ranking_of_all():
    cosines = np.random.default_rng(2).normal(size=6)
    centred = cosines - cosines.mean()

    def score(first, stop):
        a = stop - first
        return 0.0 if a == 6 else centred[first:stop].sum() / np.sqrt(a * (6 - a) / 6)

    everything = sorted(((a, b) for a in range(6) for b in range(a + 1, 7)), key=lambda span: -score(*span))
    assert raised_segments(cosines, np.arange(7.0), most=21) == everything
    assert raised_segments(cosines, np.arange(7.0), most=4) == everything[:4]


@pytest.fixture
def film(tmp_path):
    path = write_film(tmp_path / "film.mp4", [("red", 6.0), ("green", 5.0), ("blue", 9.0)])
    return Medium("film", path, "video", "manifest: line 1")


def evaluate(film, tmp_path, queries, **kwargs):
    dataset = MomentSet("films", (film,), tuple(queries), kwargs.pop("grid", None))
    return evaluate_moments(dataset, FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c")), **kwargs)


def figures(report, row, table=0):
    return {name: measure.value for name, measure in report.tables[table].rows[row].values.items()}


@pytest.mark.parametrize("method", [0, 1])
def test_planted_moments_are_found(film, tmp_path, method):
    spans = {"red": (0.0, 6.0), "green": (6.0, 11.0), "blue": (11.0, 20.0)}
    report = evaluate(film, tmp_path, [MomentQuery(0, text, (span,)) for text, span in spans.items()], seconds_between=0.5)
    found = figures(report, method)
    assert (found["R@1, IoU 0.5"], found["R@1, IoU 0.7"]) == (100, 100)
    assert found["mean IoU"] > 95


def test_planted_mistakes_give_the_value_counted_by_hand(film, tmp_path):
    queries = [MomentQuery(0, "red", ((0.0, 6.0),)), MomentQuery(0, "blue", ((0.0, 6.0),)), MomentQuery(0, "green", ((6.0, 16.0),))]
    found = figures(evaluate(film, tmp_path, queries, seconds_between=0.5), 0)
    assert found["R@1, IoU 0.3"] == pytest.approx(100 * 2 / 3)
    assert found["R@1, IoU 0.7"] == pytest.approx(100 / 3)  # green lasts 5 of the 10 seconds


def test_the_best_of_several_true_spans_counts(film, tmp_path):
    report = evaluate(film, tmp_path, [MomentQuery(0, "red", ((15.0, 20.0), (0.0, 6.0)))], seconds_between=0.5)
    assert figures(report, 0)["R@1, IoU 0.7"] == 100


def test_didemo_predictions_lie_on_a_grid_of_five_seconds(tmp_path):
    path = write_film(tmp_path / "film.mp4", [("red", 10.0), ("green", 5.0), ("blue", 10.0)])
    queries = [MomentQuery(0, "red", ((0.0, 10.0),) * 4), MomentQuery(0, "green", ((10.0, 15.0),) * 3 + ((0.0, 5.0),))]
    report = evaluate(Medium("f", path, "video", "f"), tmp_path, queries, grid=5.0)
    for row in (0, 1):
        assert figures(report, row, table=1) == pytest.approx({"Rank@1": 100, "Rank@5": 100, "mIoU": 100})


def test_didemo_averages_the_three_annotators_that_agree_best():
    query = MomentQuery(0, "x", ((0, 5), (0, 5), (5, 10), (20, 25)))
    spans = [(0, 5), (0, 10), (5, 10)]
    found = {name: measure.value for name, measure in didemo_measures([spans], [query], np.zeros(1, np.int64)).items()}
    assert found == pytest.approx({"Rank@1": 0, "Rank@5": 100, "mIoU": 100 * 2 / 3})  # ranks 1, 1, 3: mean 1.67


def test_an_unreadable_video_leaves_out_only_its_queries(film, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"x")
    broken = Medium("broken", tmp_path / "broken.mp4", "video", "manifest: line 2")
    dataset = MomentSet("two", (broken, film), (MomentQuery(0, "red", ((0.0, 1.0),)), MomentQuery(1, "red", ((0.0, 6.0),))))
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"), allow_missing=True)
    report = evaluate_moments(dataset, source)
    assert (report.metadata["sentences"], report.metadata["left out"]) == (1, 1)
    assert "manifest: line 2" in report.missing[0]


def test_an_example_shows_the_found_and_the_true_span(film, tmp_path):
    report = evaluate(film, tmp_path, [MomentQuery(0, "red", ((0.0, 6.0), (0.0, 6.0)))], seconds_between=0.5)
    (example,) = report.examples
    assert example.right
    assert [(medium.seconds, words) for medium, words in example.found] == [
        (pytest.approx(3.0, abs=0.3), example.found[0][1]),
        (3.0, "true 0.0–6.0 s"),
    ]
    (record,) = report.records
    assert (record["medium"], record["text"]) == ("film", "red")
    assert record["iou"] > 0.9


def test_a_span_beyond_the_end_of_its_video_is_noted(film, tmp_path):
    report = evaluate(film, tmp_path, [MomentQuery(0, "red", ((400.0, 410.0),)), MomentQuery(0, "red", ((0.0, 25.0),))])
    assert "1 of the sentences have a span that begins after the end" in report.tables[0].note


def test_a_span_that_was_not_proposed_is_never_found():
    query = MomentQuery(0, "x", ((0.0, 5.0),) * 4)
    found = didemo_measures([[(0.0, 30.0)]], [query], np.zeros(1, np.int64))
    assert (found["Rank@1"].value, found["Rank@5"].value) == (0, 0)


def test_didemo_proposes_segments_of_six_chunks_for_any_length_of_video(tmp_path):
    path = write_film(tmp_path / "long.mp4", [("red", 33.0), ("green", 5.0)], fps=4)
    report = evaluate(Medium("f", path, "video", "f"), tmp_path, [MomentQuery(0, "green", ((30.0, 35.0),) * 4)], grid=5.0)
    assert figures(report, 1, table=1) == {"Rank@1": 0, "Rank@5": 0, "mIoU": 0}
    assert all(record["stop"] <= 30 for record in report.records)


def test_the_interval_treats_the_sentences_of_one_video_as_a_cluster(tmp_path):
    media = tuple(
        Medium(f"{n}", write_film(tmp_path / f"{n}.mp4", [("red", 1.0 + n / 10), ("green", 1.0)], fps=8), "video", f"{n}") for n in range(6)
    )
    queries = tuple(MomentQuery(n, "red", ((0.0, 1.0),) if n % 2 else ((50.0, 60.0),)) for n in range(6) for _ in range(10))
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"))
    measure = evaluate_moments(MomentSet("six", media, queries), source, seconds_between=0.25).tables[0].rows[0].values["R@1, IoU 0.3"]
    assert measure.value == 50
    assert measure.high - measure.low > 60  # six independent clusters, not sixty samples


def test_a_data_set_without_a_readable_video_is_refused(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"x")
    dataset = MomentSet(
        "broken set", (Medium("b", tmp_path / "broken.mp4", "video", "manifest: line 2"),), (MomentQuery(0, "red", ((0.0, 1.0),)),)
    )
    with pytest.raises(UnreadableMediaError, match=r"broken set: none of its videos can be read\. manifest: line 2: 'b'"):
        evaluate_moments(dataset, FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c"), allow_missing=True))
