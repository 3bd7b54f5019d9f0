"""Retrieval end to end on pictures and videos of plain colours, where recall is known exactly."""

import json

import pytest

from evaluation.datasets.dataset import CaptionedMedia, Medium
from evaluation.errors import UnreadableMediaError
from evaluation.features import FeatureSource, ResultCache
from evaluation.tasks.retrieval import evaluate_retrieval
from tests.fakes import COLOURS, FakeEncoder, write_film, write_picture


@pytest.fixture
def source(tmp_path):
    return FeatureSource(FakeEncoder(), ResultCache(tmp_path / "cache.sqlite"))


def pictures(folder, colours):
    return tuple(Medium(f"{n} {c}", write_picture(folder / f"{n}.png", c), "image", f"set: picture {n}") for n, c in enumerate(colours))


def figures(report, title):
    (table,) = [table for table in report.tables if table.title == title]
    return {name: measure.value for name, measure in table.rows[0].values.items()}


def test_planted_truth_is_found_exactly(tmp_path, source):
    colours = tuple(COLOURS)  # six, so the last batch of four is smaller
    dataset = CaptionedMedia("planted", pictures(tmp_path, colours), colours, tuple((n,) for n in range(6)))
    report = evaluate_retrieval(dataset, source)
    for title in ("text to picture", "picture to text"):
        assert figures(report, title) == {"R@1": 100, "R@5": 100, "R@10": 100, "median rank": 1, "MRR": 100, "mAP": 100}


def test_planted_mistakes_and_ties_give_the_value_counted_by_hand(tmp_path, source):
    # Two pictures are red, so each of their texts ties with the other picture. The text of the last picture is wrong.
    dataset = CaptionedMedia(
        "mistakes", pictures(tmp_path, ["red", "red", "green", "blue"]), ("red", "red", "green", "green"), ((0,), (1,), (2,), (3,))
    )
    to_picture = figures(evaluate_retrieval(dataset, source), "text to picture")
    assert to_picture["R@1"] == 25  # only the text of the green picture
    assert to_picture["R@5"] == 100
    to_text = figures(evaluate_retrieval(dataset, source), "picture to text")
    assert to_text["R@1"] == 0  # equal texts tie, also those of the green and the blue picture


def test_a_picture_is_one_query_and_any_of_its_texts_is_right(tmp_path, source):
    dataset = CaptionedMedia("many", pictures(tmp_path, ["red", "blue"]), ("red", "green", "blue"), ((0,), (0,), (1,)))
    assert figures(evaluate_retrieval(dataset, source), "picture to text")["R@1"] == 100


def test_distractors_are_candidates_but_not_queries(tmp_path, source):
    dataset = CaptionedMedia("own", pictures(tmp_path, ["red", "blue", "green"]), ("red",), ((0,),))
    report = evaluate_retrieval(dataset, source)
    assert report.metadata["pictures"] == 3
    assert figures(report, "picture to text")["R@1"] == 100


def test_videos_are_found_by_the_mean_of_their_frames(tmp_path, source):
    films = {"red": [("red", 2.0)], "blue": [("blue", 2.0)], "green": [("green", 1.6), ("white", 0.4)]}
    media = tuple(Medium(name, write_film(tmp_path / f"{name}.mp4", shots), "video", name) for name, shots in films.items())
    report = evaluate_retrieval(CaptionedMedia("films", media, tuple(films), ((0,), (1,), (2,))), source, protocol="msrvtt")
    assert figures(report, "text to video")["R@1"] == 100
    table = report.tables[0]
    assert [row.name for row in table.rows] == ["fake", "CoCa, zero-shot", "COTS"]
    assert table.rows[2].values["median rank"].value == 3
    assert "2,990 videos" in table.note


def test_a_broken_picture_is_an_error_that_names_its_record(tmp_path, source):
    (tmp_path / "broken.png").write_bytes(b"x")
    media = (*pictures(tmp_path, ["red"]), Medium("broken.png", tmp_path / "broken.png", "image", "captions.json: images[7]"))
    dataset = CaptionedMedia("broken", media, ("red", "blue"), ((0,), (1,)))
    with pytest.raises(UnreadableMediaError, match=r"captions\.json: images\[7\]: 'broken\.png' cannot be read: not a picture"):
        evaluate_retrieval(dataset, source)


def test_a_broken_picture_can_be_left_out_and_is_counted(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"x")
    media = (Medium("broken.png", tmp_path / "broken.png", "image", "set: picture 9"), *pictures(tmp_path, ["red", "blue"]))
    dataset = CaptionedMedia("broken", media, ("green", "red", "blue"), ((0,), (1,), (2,)))
    source = FeatureSource(FakeEncoder(), ResultCache(tmp_path / "c.sqlite"), allow_missing=True)
    report = evaluate_retrieval(dataset, source)
    reason = "not a picture that can be read. It begins with b'x'. Use JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC."
    assert report.missing == (f"set: picture 9: 'broken.png' cannot be read: {reason}",)
    assert (report.metadata["pictures"], report.metadata["left out"]) == (2, 1)
    assert figures(report, "text to picture")["R@1"] == 100


def test_the_report_is_deterministic_and_valid_json(tmp_path, source):
    colours = tuple(COLOURS)
    dataset = CaptionedMedia("again", pictures(tmp_path, colours), colours, tuple((n,) for n in range(6)))
    first, second = (evaluate_retrieval(dataset, source).to_json() for _ in range(2))
    assert first == second
    assert json.loads(first)["tables"][0]["rows"][0]["values"]["R@1"] == {"value": 100.0, "low": 100.0, "high": 100.0}


def test_the_data_digest_changes_with_a_text_and_with_a_picture(tmp_path, source):
    media = pictures(tmp_path, ["red", "blue", "green"])
    sets = [CaptionedMedia("s", media[:2], texts, ((0,), (1,))) for texts in (("red", "blue"), ("red", "white"))]
    sets.append(CaptionedMedia("s", (media[0], media[2]), ("red", "blue"), ((0,), (1,))))
    assert len({evaluate_retrieval(dataset, source).metadata["data sha256"] for dataset in sets}) == 3


def test_every_query_has_a_record(tmp_path, source):
    dataset = CaptionedMedia("mistakes", pictures(tmp_path, ["red", "blue"]), ("red", "red"), ((0,), (1,)))
    texts, media = evaluate_retrieval(dataset, source).records[:2], evaluate_retrieval(dataset, source).records[2:]
    assert [(record["medium"], record["text"], record["rank"]) for record in texts] == [("0 red", "red", 1), ("1 blue", "red", 2)]
    assert [(record["medium"], record["text"]) for record in media] == [("0 red", ""), ("1 blue", "")]


def test_the_interval_treats_the_texts_of_one_picture_as_a_cluster(tmp_path, source):
    colours = tuple(COLOURS)
    texts = tuple(colour if n % 2 else "nothing like it" for n, colour in enumerate(colours) for _ in range(5))
    dataset = CaptionedMedia("clusters", pictures(tmp_path, colours), texts, tuple((n // 5,) for n in range(30)))
    measure = evaluate_retrieval(dataset, source).tables[0].rows[0].values["R@1"]
    assert measure.high - measure.low > 60  # six independent clusters, not thirty samples


def test_an_example_is_right_only_if_its_first_hit_is(tmp_path, source):
    dataset = CaptionedMedia("examples", pictures(tmp_path, ["red", "blue", "blue"]), ("red", "red", "blue"), ((0,), (1,), (2,)))
    examples = {example.title: (example.right, example.found[0][1]) for example in evaluate_retrieval(dataset, source).examples}
    assert examples == {"red (rank 1)": (True, "1.00 ✓"), "red (rank 3)": (False, "1.00"), "blue (rank 2)": (False, "1.00")}
