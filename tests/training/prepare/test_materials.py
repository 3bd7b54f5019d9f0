import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from coca_model.architecture.config import ImageConfig, embedded_config
from coca_model.architecture.convolutional_stem import ConvolutionalStem
from coca_model.architecture.image_tower import ImageTower
from coca_model.checkpoints.find import find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint
from training.batches import picture_order
from training.cache import features as feature_cache
from training.errors import TrainingError
from training.prepare import corpus, materials
from training.prepare.materials import model_from_scratch, prepare, shape_from_scratch
from training.recipe import Phase, Recipe, Source
from training.teachers.classifier import Classifier, class_probabilities

CPU = torch.device("cpu")
LITE = ImageConfig(64, 32, "efficientnet_lite1", width=12, layers=1, heads=2, mlp_width=16)


@pytest.fixture
def examples(make_examples):
    """Examples of two sources, with one held-out picture, one without a text, and one that cannot be read."""
    examples = [*make_examples(4), *make_examples(4, source="others")]
    examples[1] = dataclasses.replace(examples[1], split="val")
    examples[2] = dataclasses.replace(examples[2], texts=(), kind="unlabelled")
    examples[5] = dataclasses.replace(examples[5], read=lambda: b"Dear Sir or Madam")
    return examples


@pytest.fixture
def prepared(examples, tiny_checkpoint, tmp_path):
    def prepared(**settings):
        recipe = Recipe(start=str(tiny_checkpoint), **settings)
        return prepare(examples, ["a dog"], recipe, folder=tmp_path / "work", pictures="these", device=CPU, note=lambda *_: None), recipe

    return prepared


def drawn(found, recipe, steps=40):
    order = picture_order(found, recipe)
    return {picture for step in range(steps) for picture in order.batch(step, 4).tolist()}


def test_only_readable_training_pictures_with_texts_are_drawn(prepared):
    found, recipe = prepared(frozen_units=1)
    assert drawn(found, recipe) == {0, 3, 4, 6, 7}
    assert [skip.name for skip in found.skipped] == ["others/1.jpg"]


@pytest.mark.parametrize("settings", [{"frozen_units": 0}, {"frozen_units": 1, "other_sources": Source(views=0)}])
def test_without_frozen_units_or_views_no_features_are_cached(prepared, settings):
    found, recipe = prepared(**settings)
    assert found.features is None
    assert drawn(found, recipe) == {0, 3, 4, 5, 6, 7}


def test_the_source_sets_the_number_of_views_and_a_held_out_picture_has_one(prepared):
    found, _ = prepared(frozen_units=1, sources={"others": Source(views=2)}, other_sources=Source(views=3))
    assert np.diff(found.features.first).tolist() == [3, 1, 3, 3, 2, 2, 2, 2]


@pytest.mark.parametrize(("share", "expected"), [(None, 3 / 5), (2.0, 1 / 2)])
def test_a_source_is_drawn_by_its_share_or_by_its_size(prepared, share, expected):
    """Two pictures of the first source can be drawn, and three of the second."""
    others = {"sources": {"others": Source(share=share)}, "other_sources": Source(share=share)}
    found, recipe = prepared(frozen_units=1, **others)
    order = picture_order(found, recipe)
    pictures = [picture for step in range(25) for picture in order.batch(step, 4).tolist()]
    assert np.mean(np.array(pictures) >= 4) == pytest.approx(expected, abs=0.02)


def test_a_share_for_only_some_sources_is_refused(prepared):
    found, recipe = prepared(frozen_units=1, sources={"others": Source(share=0.5)})
    with pytest.raises(TrainingError, match=r"Some sources have a share, but 'pictures' has none"):
        picture_order(found, recipe)


@pytest.mark.parametrize(("wanted", "units"), [(None, 0), (0, 0), (2, 2), (-1, 2), (-3, 0), (3, 3)])
def test_frozen_units_are_counted_from_the_front_or_from_the_end(prepared, wanted, units):
    assert prepared(frozen_units=wanted)[0].frozen_units == units


@pytest.mark.parametrize("wanted", [4, -4])
def test_too_many_frozen_units_are_refused(prepared, wanted):
    with pytest.raises(TrainingError, match=re.escape(f"frozen_units is out of range ({wanted}). The image tower has 3 units.")):
        prepared(frozen_units=wanted)


def test_a_model_from_a_checkpoint_has_its_weights_and_is_trainable(prepared, tiny_checkpoint, tmp_path):
    found, _ = prepared()
    model, _, _ = read_checkpoint(find_checkpoint(str(tiny_checkpoint)))
    assert_close(found.model.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert found.model.training
    assert all(parameter.requires_grad for parameter in found.model.parameters())
    found.tokenizer.save(tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == (tiny_checkpoint / "tokenizer.json").read_bytes()


def test_a_class_teacher_without_cached_views_or_sentence_teacher_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(corpus, "imagenet_classes", lambda: ("cat",))
    monkeypatch.setattr(materials, "read_classifier", lambda *_: Classifier({}, nn.Linear(1280, 3), ("a", "b", "c")))
    with pytest.raises(TrainingError, match=r"needs cached views .* behind no more than the stem, and a sentence_teacher"):
        prepared(class_teacher="some_package")


# --- from scratch, and the class teacher ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["scratch", "scratch:base"])
@pytest.mark.parametrize("objective", ["language", "captioning"])
def test_a_model_from_scratch_is_text_only_if_it_trains_on_language(start, objective):
    recipe = Recipe(start=start, vocabulary_size=77, class_teacher="one", phases=(Phase(objectives={objective: 1.0}),))
    text = shape_from_scratch(recipe).text
    assert (text.text_only, text.vocabulary_size) == (objective == "language", 77)


def test_word_embeddings_start_from_the_sentence_teacher_at_the_usual_scale(tiny_tokenizer):
    width = embedded_config(3).text.width
    known = {"dog": torch.linspace(-2, 2, width), "cat": torch.linspace(1, -1, width)}

    def word_vectors(pieces):
        return torch.stack([known.get(piece, torch.zeros(width)) for piece in pieces])

    words = SimpleNamespace(word_vectors=word_vectors)
    torch.manual_seed(0)
    new = model_from_scratch(embedded_config(3), tiny_tokenizer, None, None).unimodal.token_embedding.weight
    torch.manual_seed(0)
    started = model_from_scratch(embedded_config(3), tiny_tokenizer, None, words).unimodal.token_embedding.weight
    for token in range(len(new)):
        expected = known.get(tiny_tokenizer.decode([token]))
        assert_close(started[token], new[token] if expected is None else expected * new.std())
    assert (started != new).any(1).sum() >= 2


@pytest.fixture
def classifier():
    torch.manual_seed(1)
    stem = ConvolutionalStem()
    for layer in stem.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return Classifier(stem.requires_grad_(False).state_dict(), nn.Linear(1280, 5).requires_grad_(False), tuple("abcde"))


@pytest.fixture
def probabilities(make_examples, classifier, tmp_path, monkeypatch):
    """Return a function from the number of frozen units to the class probabilities of five pictures with two views each."""
    monkeypatch.setattr(feature_cache, "batch_size", lambda *_: 3)
    tower = ImageTower(LITE).requires_grad_(False).eval()
    tower.stem.load_state_dict(dict(classifier.stem))

    def probabilities(units):
        cache, _ = feature_cache.cache_features(make_examples(5), [2] * 5, tower, units, pictures="these", folder=tmp_path, seed=0)
        return class_probabilities(classifier, tower, cache, units, tmp_path, lambda *_: None), cache

    return probabilities


def test_the_class_teacher_classifies_the_plain_view_of_each_picture(probabilities, classifier):
    found, cache = probabilities(23)
    expected = torch.softmax(classifier.linear(cache.read(np.arange(0, 10, 2)).float().mean(1)), dim=-1)
    assert found.dtype == torch.float16
    assert_close(found.float(), expected, rtol=0, atol=1e-3)
    assert (found[0] - found[1]).abs().max() > 0.01


@pytest.mark.parametrize("units", [1, 12, 21, 22])
def test_the_class_teacher_agrees_for_every_number_of_frozen_units(probabilities, units):
    assert_close(probabilities(units)[0], probabilities(23)[0], rtol=0, atol=0.02)  # cached features are rounded to bfloat16


def test_probabilities_of_the_class_teacher_are_computed_once(probabilities, monkeypatch):
    expected, _ = probabilities(22)
    monkeypatch.setattr(materials, "ConvolutionalStem", None)
    assert torch.equal(probabilities(22)[0], expected)
