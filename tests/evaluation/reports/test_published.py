"""Published figures, and the notes beside them."""

import pytest

from evaluation.reports.published import COCA, COTS, FIGURES, published


def figures(row):
    return tuple(measure.value for measure in row.values.values())


@pytest.mark.parametrize(
    ("protocol", "direction", "source", "expected"),
    [
        ("msrvtt", "text to video", COCA, (30.0, 52.4, 61.6)),
        ("msrvtt", "video to text", COCA, (49.9, 73.4, 81.4)),
        ("flickr30k", "picture to text", COCA, (92.5, 99.5, 99.9)),
        ("flickr30k", "text to picture", COCA, (80.4, 95.7, 97.7)),
        ("coco", "picture to text", COCA, (66.3, 86.2, 91.8)),
        ("coco", "text to picture", COCA, (51.2, 74.2, 82.0)),
        ("msrvtt", "text to video", COTS, (32.1, 60.8, 70.2, 3)),
        ("msrvtt-1ka", "text to video", COTS, (36.8, 63.8, 73.2, 2)),
    ],
)
def test_retrieval_figures_equal_the_papers(protocol, direction, source, expected):
    (row,) = [row for row in FIGURES[direction][protocol] if row.source == source]
    assert figures(row) == expected


def test_other_figures_equal_the_paper():
    assert {name: figures(row)[0] for name, (row,) in (FIGURES["zero-shot"] | FIGURES["frozen"]).items()} == {
        "imagenet": 86.3,
        "imagenet-v2": 80.7,
        "imagenet-a": 90.2,
        "imagenet-r": 96.5,
        "imagenet-sketch": 77.6,
        "objectnet": 82.7,
        "kinetics-400": 88.0,
        "kinetics-600": 88.5,
        "kinetics-700": 81.1,
        "moments-in-time": 47.4,
    }
    assert figures(FIGURES["captions"]["coco"][0]) == (40.9, 33.9, 143.6, 24.7)


def test_a_note_says_when_figures_cannot_be_compared():
    assert published("captions", "coco", 5000)[1] == "The published figures are for 5,000 pictures of Karpathy's test split."
    assert published("zero-shot", "imagenet", 2)[1].endswith("This set has 2, so they cannot be compared.")
    assert published("zero-shot", "own", 2) == ((), "")
