"""The reward of captions that find their own picture."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.tokenizer import SpecialTokens
from training.batches import Batch
from training.objectives import self_retrieval
from training.objectives.self_retrieval import DRAWN, MOST_TOKENS, drawn_captions, self_retrieval_costs
from training.prepare.corpus import Texts
from training.steps.student import Student

SPECIAL = SpecialTokens(pad=0, start=1, end=2)
TEXTS = Texts(torch.tensor([[1, 9, 2]] * 4), torch.ones(4, 3, dtype=torch.bool), torch.tensor([True, False, True, True]))
BATCH = Batch(texts=TEXTS, picture=torch.arange(4), seeds=torch.zeros(4, dtype=torch.int64))


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return CoCa(tiny_config)


@pytest.fixture
def seen(model):
    pictures = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.poolers(model.image_tower(pictures))


def test_the_same_seed_draws_the_same_captions(model, seen):
    ids, valid = drawn_captions(model, seen[1], SPECIAL, seed=3)
    again, _ = drawn_captions(model, seen[1], SPECIAL, seed=3)
    other, _ = drawn_captions(model, seen[1], SPECIAL, seed=4)
    assert torch.equal(ids, again)
    assert not torch.equal(ids, other)
    assert ids.shape[0] == 4 * DRAWN
    most = min(MOST_TOKENS, model.config.text.context_length - 1)
    assert ids.shape[1] <= most + 1
    assert (ids[:, 0] == SPECIAL.start).all()
    assert ((ids == SPECIAL.pad) == ~valid).all()
    ends = (ids == SPECIAL.end).sum(1)
    assert torch.equal(ends, (valid.sum(1) <= most).long()), "a caption that was cut off has no end"


def test_only_the_decoder_learns(model, seen):
    image, tokens = (one.clone().requires_grad_() for one in seen)
    self_retrieval_costs(model, BATCH, image, tokens, SPECIAL).sum().backward()
    assert image.grad is None
    assert tokens.grad is None
    learnt = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name for name in learnt if not name.startswith("multimodal.")} == {"unimodal.token_embedding.weight"}  # shared with the output


@pytest.mark.parametrize("others", [[0, 1, 2, 3], [0, 2, 3]])
def test_the_cost_is_the_advantage_times_the_loss_of_the_words(model, seen, monkeypatch, others):
    """Row 1 is a wrong answer of row 0, unless both are the same picture."""
    same = dataclasses.replace(BATCH, picture=torch.tensor([0, 1 if 1 in others else 0, 2, 3]))
    ids = torch.tensor([[1, 5, 2, 0], [1, 6, 7, 2], [1, 5, 5, 2], [1, 9, 2, 0], [1, 4, 2, 0], [1, 3, 2, 0]])
    monkeypatch.setattr(self_retrieval, "drawn_captions", lambda *_, **__: (ids, ids != 0))
    image, tokens = seen
    found = self_retrieval_costs(model, same, image, tokens, SPECIAL)
    rewards, losses = [], []
    for row, picture in zip(ids, (0, 0, 2, 2, 3, 3), strict=True):
        words = row[row != 0][None]
        vector, text_tokens = model.unimodal(words, words != 0)
        cosines = F.cosine_similarity(vector, image)
        among = others if picture == 0 else [0, 1, 2, 3]
        rewards.append((model.log_scale.exp() * cosines)[among].log_softmax(0)[among.index(picture)])
        logits = model.multimodal(text_tokens, tokens[picture : picture + 1])[0]
        losses.append(sum(-logits[at].log_softmax(0)[words[0, at + 1]] for at in range(words.shape[1] - 1)))
    expected = [(rewards[n] - rewards[n ^ 1]) * losses[n] for n in range(6)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_reward_rises(model, seen):
    """With four different pictures, captions learn to tell them apart."""

    @torch.no_grad()
    def reward():
        ids, valid = drawn_captions(model, seen[1].repeat_interleave(32, dim=0), SPECIAL, seed=7)
        text = F.normalize(model.unimodal(ids, valid)[0], dim=-1)
        scores = (model.log_scale.exp() * text @ F.normalize(seen[0], dim=-1).T).log_softmax(1)
        own = torch.arange(4).repeat_interleave(32 * DRAWN)
        return scores[torch.arange(len(own)), own].mean().item()

    before, optimizer = reward(), torch.optim.Adam(model.multimodal.parameters(), lr=3e-3)
    texts = dataclasses.replace(TEXTS, decoded=torch.ones(4, dtype=torch.bool))
    for step in range(60):
        batch = dataclasses.replace(BATCH, texts=texts, seeds=torch.full((4,), step))
        costs = self_retrieval_costs(model, batch, *seen, SPECIAL)
        optimizer.zero_grad()
        costs.mean().backward()
        optimizer.step()
    assert reward() > before + 0.01


def test_the_student_counts_captions(model):
    ids = torch.tensor([[1, 9, 8, 2], [1, 7, 2, 0], [1, 6, 5, 2]])
    texts = Texts(ids, ids != 0, torch.tensor([True, False, True]))
    pictures = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    student = Student(model, frozen_units=0, fresh=True, objectives=frozenset({"self_retrieval"}), special=SPECIAL)
    assert int(student(Batch(pictures, texts), decode=False)["counts"]["self_retrieval"]) == 2 * DRAWN
    sums = student(Batch(pictures, texts))["sums"]
    assert sums["self_retrieval"].requires_grad
    none = Texts(ids, ids != 0, torch.zeros(3, dtype=torch.bool))
    assert float(student(Batch(pictures, none))["sums"]["self_retrieval"]) == 0  # every rank has the same sums
