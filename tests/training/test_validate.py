from contextlib import nullcontext

import numpy as np
import pytest
import torch

from evaluation.ranking import measures, ranks_of_right
from training.materials import prepare
from training.read_examples import read_examples
from training.recipe import Phase, Recipe, Source
from training.validate import held_out_pictures

CPU = torch.device("cpu")


@pytest.fixture(params=[0, 2], ids=["fresh", "kept"])
def materials(request, colours, tiny_checkpoint, tmp_path):
    recipe = Recipe(start=str(tiny_checkpoint), frozen_units=2, phases=(Phase(steps=1),), other_sources=Source(views=request.param))
    return prepare(read_examples([colours]).examples, [], recipe, folder=tmp_path / "work", device=CPU, note=lambda *_: None)


def test_recall_is_what_the_evaluation_measures_of_the_encoder(materials, colours, tiny_encoder):
    validation, skipped = held_out_pictures(materials, CPU)
    found = validation(materials.model, materials.corpus, precision=nullcontext, device=CPU)
    names = [example.name.split("/")[1] for example in materials.examples if example.split == "val"]
    pictures = tiny_encoder.encode_images([colours / name for name in names])
    texts = tiny_encoder.encode_texts([shape.format(name[:-5]) for name in names for shape in ("a {} car", "the {} house")])
    to_picture = measures(ranks_of_right(texts, pictures, [[row // 2] for row in range(len(texts))]))
    to_text = measures(ranks_of_right(pictures, texts, [[2 * row, 2 * row + 1] for row in range(len(pictures))]))
    assert skipped == []
    for k in (1, 5, 10):
        slack = 100.0 / len(names) if materials.kept is not None else 0.06  # kept maps are bfloat16, which may turn a tie
        assert found[f"text to picture R@{k}"] == pytest.approx(to_picture[f"R@{k}"].value, abs=slack)
        assert found[f"picture to text R@{k}"] == pytest.approx(to_text[f"R@{k}"].value, abs=slack)


def test_fewer_than_two_pictures_are_no_validation(materials):
    few = [number for number, example in enumerate(materials.examples) if example.split == "val"][1:]
    for number in few:
        object.__setattr__(materials.examples[number], "split", "test")
    assert held_out_pictures(materials, CPU)[0] is None


def test_pictures_that_cannot_be_read_are_left_out_and_named(colours, tiny_checkpoint, tmp_path):
    (colours / "blue0.png").write_bytes(b"no picture")
    recipe = Recipe(start=str(tiny_checkpoint), phases=(Phase(steps=1),))
    materials = prepare(read_examples([colours]).examples, [], recipe, folder=tmp_path, device=CPU, note=lambda *_: None)
    validation, skipped = held_out_pictures(materials, CPU)
    assert [one.name for one in skipped] == ["colours/blue0.png"]
    assert sum(map(len, validation.pictures)) == 7
    assert np.array_equal(np.unique(validation.owner), np.arange(7))
