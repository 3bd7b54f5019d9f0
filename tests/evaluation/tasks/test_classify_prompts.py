"""Prompt templates for classes, and the class vectors computed from them."""

import re

import numpy as np
import pytest

from evaluation.errors import DatasetError
from evaluation.tasks.classify import PICTURES, VIDEOS, class_vectors, fill, read_templates

VECTORS = {"a cat.": (1, 0, 0), "the cat!": (0, 1, 0), "a house cat.": (1, 0, 0), "the house cat!": (0, 0.6, 0.8), "a dog.": (0, 0, 1)}


def embed(texts):
    return np.array([VECTORS[text] for text in texts], np.float32)


@pytest.mark.parametrize("templates", [PICTURES, VIDEOS])
def test_default_templates_are_unique_and_have_one_placeholder(templates):
    assert all(template.count("{}") == 1 for template in templates)
    assert len(set(templates)) == len(templates)


def test_underscores_in_a_name_become_spaces_and_braces_stay():
    assert fill("a photo of a {}.", "great_white {0}") == "a photo of a great white {0}."


def test_a_class_vector_is_the_normalised_mean_over_templates_and_names():
    (vector,) = class_vectors([("cat", "house_cat")], ("a {}.", "the {}!"), embed)
    mean = np.array([2, 1.6, 0.8]) / 4
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-7)
    assert vector.dtype == np.float32


def test_classes_with_different_numbers_of_names_keep_their_order():
    vectors = class_vectors([("dog",), ("cat", "house cat"), ("dog",)], ("a {}.",), embed)
    np.testing.assert_array_equal(vectors, [(0, 0, 1), (1, 0, 0), (0, 0, 1)])


def test_templates_are_read_from_the_lines_of_a_file(tmp_path):
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
def test_an_unusable_file_of_templates_is_named(tmp_path, text, message):
    path = tmp_path / "templates.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        read_templates(path)
    assert str(path) in str(caught.value)
