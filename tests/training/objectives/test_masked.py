import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.transformer import Block
from training.objectives import masked
from training.objectives.masked import (
    MaskedHead,
    TextGuidedDecoder,
    VisualCodebook,
    attentive_mask,
    mask_largest,
    mask_tokens,
    masked_prediction_loss,
    text_guided_reconstruction_loss,
)

START, END, MASK = 1, 2, 3
IDS = torch.tensor([[1, 14, 15, 16, 17, 2, 0, 0], [1, 14, 2, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0, 0]])
WORDS = IDS > 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def hide(share, seed=0):
    return mask_tokens(IDS, IDS != 0, torch.rand(IDS.shape, generator=seeded(seed)), share=share, mask_id=MASK, special_ids=[START, END])


@pytest.mark.parametrize(("share", "counts"), [(0, [0, 0, 0]), (0.15, [1, 1, 0]), (0.5, [2, 1, 0]), (0.6, [3, 1, 0]), (1, [4, 1, 0])])
def test_the_number_of_hidden_words_is_a_share_rounded_up(share, counts):
    ids, is_masked = hide(share)
    assert is_masked.sum(1).tolist() == counts
    assert torch.equal(ids, IDS.masked_fill(is_masked, MASK))
    assert not (is_masked & ~WORDS).any()


def test_every_word_can_be_hidden_and_the_seed_determines_which():
    draws = torch.stack([hide(0.25, seed)[1] for seed in range(40)])
    assert torch.equal(draws.any(0), WORDS)
    assert torch.equal(draws[7], hide(0.25, 7)[1])


def test_a_share_that_gives_a_whole_number_is_not_rounded_up():
    mask = mask_largest(torch.rand(2, 100, generator=seeded()), torch.ones(2, 100, dtype=torch.bool), share=0.07)
    assert mask.sum(1).tolist() == [7, 7]


@pytest.fixture
def head():
    return nn.Linear(4, 6, dtype=torch.float64)


def written_out_loss(head, state, target):
    """-log p of one hidden token, in plain Python."""
    rows = zip(head.weight.tolist(), head.bias.tolist(), strict=True)
    logits = [sum(w * x for w, x in zip(weights, state.tolist(), strict=True)) + bias for weights, bias in rows]
    return math.log(sum(math.exp(value) for value in logits)) - logits[target]


def test_masked_prediction_loss_is_the_mean_over_hidden_tokens(head):
    hidden, ids = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([[0, 5, 2], [3, 1, 4]])
    is_masked = torch.tensor([[True, False, True], [False, True, False]])
    expected = sum(written_out_loss(head, hidden[b, n], int(ids[b, n])) for b, n in [(0, 0), (0, 2), (1, 1)]) / 3
    assert masked_prediction_loss(hidden, head, ids, is_masked).item() == pytest.approx(expected, rel=1e-12)
    assert gradcheck(lambda states: masked_prediction_loss(states, head, ids, is_masked), (hidden.requires_grad_(),))


def test_without_hidden_tokens_the_loss_is_zero_and_gradients_exist(head):
    hidden = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = masked_prediction_loss(hidden, head, torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    for tensor in (hidden, head.weight, head.bias):
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_the_other_modality_is_added_to_each_state_before_classification():
    head = MaskedHead(4, 2, 6).double()
    hidden, other = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    ids, is_masked = torch.randint(6, (2, 3)), torch.tensor([[True, False, True], [False, True, False]])
    losses = []
    for b, n in is_masked.nonzero().tolist():
        added = [sum(head.project.weight[d, e].item() * other[b, e].item() for e in range(2)) for d in range(4)]
        state = torch.tensor([hidden[b, n, d].item() + added[d] for d in range(4)], dtype=torch.float64)
        losses.append(written_out_loss(head.classify, state, int(ids[b, n])))
    assert head(hidden, other, ids, is_masked).item() == pytest.approx(sum(losses) / 3, rel=1e-10)


CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def clusters():
    """Features (4, 6, 2) around three centres, and the centre of each."""
    truth = torch.arange(24).reshape(4, 6) % 3
    return CENTRES[truth] + 0.5 * torch.randn(4, 6, 2, generator=seeded(1)), truth


def fitted():
    """A codebook of three codes, with a seed for which k-means finds the three centres."""
    features, truth = clusters()
    books = (VisualCodebook.fit(features, 3, seed) for seed in range(99))
    return next(book for book in books if all(len(set(book.ids(features)[truth == centre].tolist())) == 1 for centre in range(3)))


def test_patches_of_a_cluster_share_a_code_and_its_centroid_is_their_mean():
    (features, truth), book = clusters(), fitted()
    ids = book.ids(features)
    assert ids.shape == (4, 6)
    assert ids.dtype == torch.int64
    for centre in range(3):
        (code,) = set(ids[truth == centre].tolist())
        rows = features[truth == centre].tolist()
        mean = [sum(row[c] for row in rows) / len(rows) for c in range(2)]
        assert book.centroids[code].tolist() == pytest.approx(mean, abs=1e-5)


def test_the_code_is_the_nearest_centroid_for_any_block_size(monkeypatch):
    monkeypatch.setattr(masked, "ROWS_AT_A_TIME", 4)
    book, features = VisualCodebook(torch.randn(5, 3)), torch.randn(2, 7, 3)
    ids = book.ids(features)
    for b in range(2):
        for p in range(7):
            distances = [math.dist(features[b, p].tolist(), centroid) for centroid in book.centroids.tolist()]
            assert ids[b, p] == distances.index(min(distances))


def test_a_centroid_without_rows_stays_near_and_a_codebook_can_be_saved():
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    book = VisualCodebook.fit(rows, 2, 0)
    assert_close(book.centroids, torch.tensor([[1.0, 2.0], [1.0, 2.0]]), rtol=0.01, atol=0)
    again = VisualCodebook(torch.empty(2, 2))
    again.load_state_dict(book.state_dict())
    assert torch.equal(again.centroids, book.centroids)


def nearest_patches(image_tokens, text, count):
    """The patches with the largest cosine to the text, one patch at a time."""
    scores = [F.cosine_similarity(patch, text, dim=0).item() for patch in image_tokens]
    return sorted(sorted(range(len(scores)), key=lambda patch: -scores[patch])[:count])


@pytest.mark.parametrize(("share", "count"), [(0.5, 4), (0.3, 3)])
def test_attentive_masking_hides_the_patches_most_similar_to_the_text(share, count):
    image_tokens, text = torch.randn(3, 7, 4), torch.randn(3, 4)
    mask = attentive_mask(image_tokens, text, share=share)
    for b in range(3):
        assert mask[b].nonzero()[:, 0].tolist() == nearest_patches(image_tokens[b], text[b], count)


@pytest.mark.parametrize("share", [0, 1])
def test_a_share_of_0_or_1_hides_no_patch_or_every_patch(share):
    mask = attentive_mask(torch.randn(2, 7, 4), torch.randn(2, 4), share=share)
    assert (mask == bool(share)).all()


def test_reconstruction_loss_is_the_squared_error_on_normalised_hidden_patches():
    predicted, wanted = torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    masked = torch.tensor([[True, False, True], [False, False, True]])
    total = 0.0
    for b, p in [(0, 0), (0, 2), (1, 2)]:
        goal = wanted[b, p].tolist()
        mean = sum(goal) / 4
        deviation = math.sqrt(sum((value - mean) ** 2 for value in goal) / 4 + 1e-6)
        goal = [(value - mean) / deviation for value in goal]
        total += sum((value - right) ** 2 for value, right in zip(predicted[b, p].tolist(), goal, strict=True))
    actual = text_guided_reconstruction_loss(predicted, wanted, masked)
    assert actual.item() == pytest.approx(total / 12, rel=1e-10)


def test_reconstruction_loss_without_hidden_patches_is_zero():
    predicted = torch.randn(1, 3, 4, requires_grad=True)
    loss = text_guided_reconstruction_loss(predicted, torch.randn(1, 3, 4), torch.zeros(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


@pytest.fixture
def decoder():
    return TextGuidedDecoder(6, 8, text_width=5, target_width=3, heads=2).double()


@pytest.fixture
def inputs():
    """Image tokens, mask of hidden ones, text tokens, mask of valid ones."""
    masked = torch.tensor([[True, False, True, False, False, True], [False, True, False, True, True, False]])
    valid = torch.arange(4) < torch.tensor([4, 2])[:, None]
    return torch.randn(2, 6, 8, dtype=torch.float64), masked, torch.randn(2, 4, 5, dtype=torch.float64), valid


def test_the_decoder_predicts_every_patch_and_every_parameter_has_a_gradient(decoder, inputs):
    predicted = decoder(*inputs)
    assert predicted.shape == (2, 6, 3)
    text_guided_reconstruction_loss(predicted, torch.randn(2, 6, 3), inputs[1]).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in decoder.parameters())


def test_the_decoder_ignores_hidden_patches_and_padding(decoder, inputs):
    image_tokens, masked, text, valid = inputs
    other = image_tokens.masked_fill(masked[..., None], 100.0), masked, text.masked_fill(~valid[..., None], 100.0), valid
    assert torch.equal(decoder(*other), decoder(*inputs))


@pytest.mark.parametrize("part", [0, 2])
def test_the_decoder_uses_visible_patches_and_the_text(decoder, inputs, part):
    changed = list(inputs)
    changed[part] = changed[part].flip(0)
    assert (decoder(*changed) - decoder(*inputs))[inputs[1]].abs().min() > 0


def test_hidden_patches_are_distinguished_by_their_position(decoder, inputs):
    predicted = decoder(*inputs)
    assert (predicted[0, 0] - predicted[0, 2]).abs().max() > 0.001


def test_without_padding_the_decoder_equals_its_blocks_in_sequence(decoder, inputs):
    image_tokens, masked, text, valid = inputs
    x = image_tokens.clone()
    x[masked] = decoder.mask_token
    x = x + decoder.position
    for block in decoder.blocks:
        assert isinstance(block, Block)
        x = block(x, block.image_keys_values(decoder.read_text(text)))
    assert_close(decoder(image_tokens, masked, text, torch.ones_like(valid)), decoder.predict(decoder.norm(x)))
