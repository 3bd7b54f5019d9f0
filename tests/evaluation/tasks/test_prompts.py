"""Sentences about classes, and the one vector that they become."""

import re

import numpy as np
import pytest

from evaluation.errors import DatasetError
from evaluation.tasks.zero_shot import PICTURES, SINGLE, VIDEOS, class_vectors, fill, read_templates

VECTORS = {"a cat.": (1, 0, 0), "the cat!": (0, 1, 0), "a house cat.": (1, 0, 0), "the house cat!": (0, 0.6, 0.8), "a dog.": (0, 0, 1)}


def embed(texts):
    return np.array([VECTORS[text] for text in texts], np.float32)


@pytest.mark.parametrize("templates", [SINGLE, PICTURES, VIDEOS])
def test_each_of_our_templates_is_another_sentence_with_one_place_for_the_name(templates):
    assert all(template.count("{}") == 1 for template in templates)
    assert len(set(templates)) == len(templates)


def test_underscores_become_spaces_and_braces_of_a_name_stay():
    assert fill("a photo of a {}.", "great_white {0}") == "a photo of a great white {0}."


def test_a_class_is_the_direction_of_the_mean_over_templates_and_names():
    (vector,) = class_vectors([("cat", "house_cat")], ("a {}.", "the {}!"), embed)
    mean = np.array([2, 1.6, 0.8]) / 4
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-7)
    assert vector.dtype == np.float32


def test_classes_with_unlike_numbers_of_names_keep_their_order():
    vectors = class_vectors([("dog",), ("cat", "house cat"), ("dog",)], ("a {}.",), embed)
    np.testing.assert_array_equal(vectors, [(0, 0, 1), (1, 0, 0), (0, 0, 1)])


def test_a_users_templates_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("\ufeffa {}.\n\n  this is {} {x}  \n")
    assert read_templates(path) == ("a {}.", "this is {} {x}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {}.\na cat\n", "line 2: 'a cat' has {} 0 times. Write it once"),
        ("{} and {}\n", "line 1: '{} and {}' has {} 2 times"),
        ("a {}\nthe {}\na {}\n", "line 3: the template 'a {}' appears twice"),
        ("\n", "holds no template"),
    ],
)
def test_a_file_of_templates_that_cannot_be_used_is_named(tmp_path, text, message):
    path = tmp_path / "templates.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        read_templates(path)
    assert str(path) in str(caught.value)
