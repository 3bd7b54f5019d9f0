"""The kinds of a held-out folder, and their figures."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks.quality.breadth import Kind, measure, overall, read_kinds, sentences_about


@pytest.fixture
def held_out(tmp_path):
    for name in ("weather/rain/1.jpg", "weather/sun/2.jpg", "maps/3.jpg", "charts/4.jpg", "charts/bar/5.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for folder, picture in (("maps", "3.jpg"), ("charts", "4.jpg")):
        with (tmp_path / folder / "queries.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("query", "path"), (f"about {folder}", picture)])
    return tmp_path


def test_a_folder_has_labels_captions_or_both(held_out):
    paths, kinds = read_kinds(held_out)
    found = {kind.name: (kind.labelled, {text: [paths[n].name for n in numbers] for text, numbers in kind.right.items()}) for kind in kinds}
    assert found == {
        "charts": (False, {"about charts": ["4.jpg"]}),
        "charts, labels": (True, {"bar": ["5.jpg"]}),
        "maps": (False, {"about maps": ["3.jpg"]}),
        "weather": (True, {"rain": ["1.jpg"], "sun": ["2.jpg"]}),
    }
    assert {kind.name for kind in read_kinds(held_out, ["charts"])[1]} == {"maps", "weather"}


def encode_texts(texts):
    return np.array([[1, 0, 0] if "rain" in text else [0, 1, 0] for text in texts], np.float32)


def test_the_figures_of_labels():
    images = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.8, 0.2, 0], [0, 1, 0]], np.float32)
    kind = Kind("weather", True, {"rain": frozenset({0, 3}), "sun": frozenset({1})})
    assert measure(kind, images, encode_texts) == pytest.approx({"pictures": 3, "label first": 100 / 3, "precision at 5": 25.0})


def test_a_label_that_is_a_sentence_is_left_as_it_is():
    assert sentences_about("oak") == ["oak", "a photo of an oak"]
    assert sentences_about("sea_horse") == ["sea horse", "a photo of a sea horse"]
    assert sentences_about("an aerial view of a forest") == ["an aerial view of a forest"]


def test_the_figures_of_captions_count_the_first_ten():
    images = np.eye(3, dtype=np.float32)[[0] * 11 + [1]]
    right = {"rain in spring": frozenset({10}), "sun": frozenset({11})}  # ten pictures are as similar as the eleventh
    assert measure(Kind("poems", False, right), images, encode_texts) == {"pictures": 2, "caption R@10": 50.0}


def test_a_kind_counts_by_its_pictures():
    assert overall([{"pictures": 1, "label first": 100.0}, {"pictures": 3, "label first": 0.0}]) == {"label first": 25.0}
