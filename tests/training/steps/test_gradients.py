"""The gradients of a step: equal for any micro-batch, and equal to reference losses."""

import copy
import dataclasses
import math
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from training.batches import Batch
from training.prepare.corpus import Texts
from training.ranks import ALONE
from training.steps import student as student_module
from training.steps.gradients import StepGradients
from training.steps.student import Student

WEIGHTS = {"contrastive": 1.0, "captioning": 2.0, "sentence_distillation": 0.7, "language": 0.3, "hard_negatives": 0.4}


@pytest.fixture(scope="module")
def model(tiny_config):
    torch.manual_seed(0)
    return CoCa(tiny_config).double()


def texts(count, seed, vocabulary, *, decoded):
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 9, (count,), generator=random)
    valid = torch.arange(8) < lengths[:, None]
    ids = torch.randint(3, vocabulary, (count, 8), generator=random) * valid
    meaning = F.normalize(torch.randn(count, 16, generator=random), dim=-1)
    return Texts(ids, valid, torch.tensor([number % decoded == 0 for number in range(count)]), meaning)


@pytest.fixture(scope="module")
def batch(tiny_config):
    random = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (7, 32, 32, 3), dtype=torch.uint8, generator=random)
    vocabulary = tiny_config.text.vocabulary_size
    false = texts(7, 4, vocabulary, decoded=1)
    some = torch.tensor([True, False, False, True, True, False, True])[:, None]
    false = dataclasses.replace(false, token_ids=false.token_ids * some, valid=false.valid & some)
    return Batch(
        pictures,
        texts(7, 2, vocabulary, decoded=2),
        torch.tensor([0, 1, 2, 3, 4, 1, 6]),
        patches=torch.tensor([0, 3, 5, 6, 9]),
        sentences=texts(5, 3, vocabulary, decoded=1),
        false_texts=false,
    )


def gradients_of(model, batch, *, micro_batch=0, weights=WEIGHTS):
    model = copy.deepcopy(model)
    student = Student(model, frozen_units=0, fresh=True, objectives=frozenset(weights))
    losses = StepGradients(student, weights, ranks=ALONE, precision=nullcontext)(batch, micro_batch)
    return losses, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def captioning(model, texts, caption_tokens):
    """Paper equation 3 over the decoded rows, one word at a time."""
    total, words = 0.0, 0
    for row in texts.decoded.nonzero()[:, 0]:
        length = int(texts.valid[row].sum())
        ids = texts.token_ids[row : row + 1, :length]
        _, tokens = model.unimodal(ids, torch.ones_like(ids, dtype=torch.bool))
        logits = model.multimodal(tokens, None if caption_tokens is None else caption_tokens[row : row + 1])[0]
        for position in range(length - 1):
            total = total - logits[position].log_softmax(-1)[ids[0, position + 1]]
            words += 1
    return total / words


def written_out(model, batch):
    """Reference: the objectives of the papers over the whole batch, and their weighted sum."""
    tower = model.image_tower
    tokens = tower.finish(tower.begin(batch.pictures, 1), 1, batch.patches)
    image, caption_tokens = model.poolers(tokens)
    image = F.normalize(image, dim=-1)
    text, sentence = (F.normalize(model.unimodal(one.token_ids, one.valid)[0], dim=-1) for one in (batch.texts, batch.sentences))
    logits = model.log_scale.exp() * image @ text.T
    same = (batch.picture[:, None] == batch.picture).double()
    right = same / same.sum(1, keepdim=True)
    contrast = -((right * logits.log_softmax(1)).sum(1).mean() + (right.T * logits.T.log_softmax(1)).sum(1).mean()) / 2
    student, teacher = torch.cat([text, sentence]), torch.cat([batch.texts.meaning, batch.sentences.meaning]).double()
    similar = student @ teacher.T
    distil = (1 - similar.diagonal()).mean() - 0.1 * (20 * similar).log_softmax(1).diagonal().mean()
    probabilities = []
    for row in batch.false_texts.valid.any(1).nonzero()[:, 0].tolist():
        false, _ = model.unimodal(batch.false_texts.token_ids[[row]], batch.false_texts.valid[[row]])
        both = torch.stack([text[row] @ image[row], F.normalize(false[0], dim=-1) @ image[row]])
        probabilities.append((model.log_scale.detach().exp() * both).softmax(0)[0])
    parts = {
        "hard_negatives": -torch.stack(probabilities).log().mean(),
        "contrastive": contrast,
        "captioning": captioning(model, batch.texts, caption_tokens),
        "sentence_distillation": distil,
        "language": captioning(model, batch.sentences, None),
    }
    return parts, sum(WEIGHTS[name] * value for name, value in parts.items())


def test_losses_and_gradients_equal_the_reference(model, batch):
    mine = copy.deepcopy(model)
    parts, total = written_out(mine, batch)
    total.backward()
    losses, gradients = gradients_of(model, batch)
    assert losses == pytest.approx({name: value.item() for name, value in parts.items()}, rel=1e-5)
    for name, parameter in mine.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_close(gradients.get(name, torch.zeros_like(parameter)), expected, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 6, 7, 100])
def test_any_micro_batch_gives_the_gradient_of_the_whole_batch(model, batch, micro_batch):
    whole_losses, whole = gradients_of(model, batch)
    losses, gradients = gradients_of(model, batch, micro_batch=micro_batch)
    assert losses == pytest.approx(whole_losses, rel=1e-6)
    assert gradients.keys() == whole.keys()
    for name, expected in whole.items():
        assert_close(gradients[name], expected, rtol=1e-5, atol=1e-7, msg=name)


def test_each_caption_is_decoded_once_with_any_number_of_micro_batches(model, batch, monkeypatch):
    rows, next_token_losses = [], student_module.next_token_losses
    monkeypatch.setattr(student_module, "next_token_losses", lambda *given: (rows.append(len(given[0])), next_token_losses(*given))[1])
    gradients_of(model, batch, micro_batch=2)
    assert sum(rows) == int(batch.texts.decoded.sum() + batch.sentences.decoded.sum())


@pytest.mark.parametrize("weights", [{"contrastive": 1.0}, {"captioning": 1.0}, {"language": 1.0}])
def test_a_single_objective_gives_no_gradient_to_unused_parts(model, batch, weights):
    _, gradients = gradients_of(model, batch, weights=weights)
    unused = {"contrastive": "multimodal.blocks", "captioning": "poolers.project", "language": "image_tower"}
    (name,) = weights
    assert gradients
    assert not any(bool(gradient.any()) for key, gradient in gradients.items() if key.startswith(unused[name]))


def test_an_objective_without_terms_is_left_out_of_the_losses(model, batch):
    nothing = dataclasses.replace(batch.sentences, decoded=torch.zeros(5, dtype=torch.bool))
    losses, gradients = gradients_of(model, dataclasses.replace(batch, sentences=nothing))
    assert losses.keys() == WEIGHTS.keys() - {"language"}
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


def test_a_batch_without_false_texts_teaches_nothing_about_them(model, batch):
    none = dataclasses.replace(batch.false_texts, valid=torch.zeros_like(batch.false_texts.valid))
    losses, gradients = gradients_of(model, dataclasses.replace(batch, false_texts=none), weights={"hard_negatives": 1.0})
    assert (losses, gradients) == ({}, {})


def test_the_contrastive_loss_uses_the_negatives_of_all_micro_batches(model, batch):
    losses, _ = gradients_of(model, batch, micro_batch=1, weights={"contrastive": 1.0})
    assert losses["contrastive"] > 0.5 * math.log(6)  # without negatives, the loss of a row would be 0


def test_a_frozen_tower_gets_no_gradient_and_others_do_not_change(model, batch):
    frozen = copy.deepcopy(model)
    frozen.image_tower.requires_grad_(False)
    _, whole = gradients_of(model, batch)
    _, gradients = gradients_of(frozen, batch, micro_batch=2)
    assert not any(name.startswith("image_tower") for name in gradients)
    for name, gradient in gradients.items():
        assert_close(gradient, whole[name], rtol=1e-5, atol=1e-7)
