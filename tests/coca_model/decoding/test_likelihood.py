import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig
from coca_model.decoding import likelihood
from coca_model.decoding.likelihood import log_likelihood, next_token_losses

PAD, START, END = 0, 1, 2
TEXTS = ([1, 3, 2], [1, 4, 5, 3, 5, 2], [1, 2], [1, 5, 4, 2], [1, 3, 2], [1, 3, 4, 5, 3, 4, 5, 2])
PICTURES = 5


@pytest.fixture(scope="module", params=itertools.product(["paper", "open_clip"], [True, False]), ids=str)
def model(request):
    """A model with three words. Its weights are large enough that the image changes the likelihoods."""
    torch.manual_seed(1)
    layout, tied = request.param
    text = TextConfig(8, 2, 2, 2, 8, 8, 6, tied_output=tied, layout=layout)
    config = CoCaConfig(ImageConfig(16, 8, width=8, layers=1, heads=2, mlp_width=8), PoolerConfig(caption_queries=2, heads=2), text, 4)
    model = CoCa(config).requires_grad_(False).eval()
    for layer in (model.unimodal.token_embedding, model.multimodal.blocks[0].cross_attention.output, model.multimodal.output):
        nn.init.normal_(layer.weight)
    return model


@pytest.fixture
def images():
    return 3 * torch.randn(PICTURES, 2, 8)


def padded(texts):
    ids = nn.utils.rnn.pad_sequence([torch.tensor(text, dtype=torch.int64) for text in texts] or [torch.zeros(0)], batch_first=True)
    return ids.long(), ids != PAD


def minus_cross_entropy(model, text, image):
    """Minus the training loss of one text, computed alone."""
    ids, valid = padded([text])
    _, text_tokens = model.unimodal(ids, valid)
    logits = model.multimodal(text_tokens, None if image is None else image[None])
    return -F.cross_entropy(logits[0, :-1], ids[0, 1:], ignore_index=PAD, reduction="sum").item()


def written_out(model, texts, images):
    return torch.tensor([[minus_cross_entropy(model, text, image) for text in texts] for image in images])


def test_log_likelihood_is_minus_the_summed_cross_entropy(model, images):
    scores = log_likelihood(model, images, *padded(TEXTS))
    assert scores.dtype == torch.float32
    assert_close(scores, written_out(model, TEXTS, images), rtol=0, atol=1e-4)
    assert (scores[1:] - scores[:-1]).abs().mean() > 1  # the picture changes the scores


def test_without_an_image_log_likelihood_is_that_of_the_text_alone(model, images):
    expected = torch.tensor([minus_cross_entropy(model, text, None) for text in TEXTS])
    alone = log_likelihood(model, None, *padded(TEXTS))
    assert_close(alone, expected, rtol=0, atol=1e-4)
    assert (log_likelihood(model, images, *padded(TEXTS)) - alone).abs().amax() > 1


@pytest.mark.parametrize("texts_together", [1, 2, 4, 100])
@pytest.mark.parametrize("most_logits", [1, 6 * 8 * 4 * 2, 10**9], ids=["one picture", "some pictures", "all pictures"])
def test_log_likelihood_does_not_depend_on_its_batches(model, images, monkeypatch, texts_together, most_logits):
    monkeypatch.setattr(likelihood, "_MAX_TEXTS", texts_together)
    monkeypatch.setattr(likelihood, "_MAX_LOGITS", most_logits)
    assert_close(log_likelihood(model, images, *padded(TEXTS)), written_out(model, TEXTS, images), rtol=0, atol=1e-4)
    alone = torch.tensor([minus_cross_entropy(model, text, None) for text in TEXTS])
    assert_close(log_likelihood(model, None, *padded(TEXTS)), alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("most_logits", [6 * 26, 6 * 26 * 3, 10**9])
def test_no_more_logits_than_allowed_are_computed_together(model, images, monkeypatch, most_logits):
    """The six texts have 26 tokens in total, including START. The vocabulary has 6 tokens."""
    sizes = []
    monkeypatch.setattr(likelihood, "_MAX_LOGITS", most_logits)
    hook = model.multimodal.output.register_forward_hook(lambda _, __, logits: sizes.append(logits.numel()))
    log_likelihood(model, images, *padded(TEXTS))
    hook.remove()
    assert max(sizes) <= most_logits
    assert sum(sizes) == PICTURES * (26 - len(TEXTS)) * 6
    assert len(sizes) == -(-PICTURES // (most_logits // (6 * 26)))


def test_each_text_and_each_picture_is_processed_once(model, images, monkeypatch):
    texts, pictures = [], []
    monkeypatch.setattr(likelihood, "_MAX_LOGITS", 1)
    monkeypatch.setattr(likelihood, "_MAX_TEXTS", 4)
    hooks = [
        layer.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(len(inputs[0])))
        for layer, seen in (
            (model.unimodal.blocks[0].attention.key_value, texts),
            (model.multimodal.blocks[0].cross_attention.key_value, pictures),
        )
    ]
    log_likelihood(model, images, *padded(TEXTS))
    for hook in hooks:
        hook.remove()
    assert (sum(texts), sum(pictures)) == (len(TEXTS), PICTURES)


@pytest.mark.parametrize("extra", [1, 2])
def test_padding_does_not_change_log_likelihoods(model, images, extra):
    ids, valid = padded(TEXTS[:4])
    ids, valid = F.pad(ids, (0, extra)), F.pad(valid, (0, extra))
    assert_close(log_likelihood(model, images, ids, valid), written_out(model, TEXTS[:4], images), rtol=0, atol=1e-4)


@pytest.mark.parametrize("model", [("open_clip", False)], indirect=True, ids=str)
def test_a_padding_token_inside_a_text_counts_as_in_training(model, images):
    """CLIP uses id 0 for padding and for a "!" inside a word: "a != b" is <start> a ! =</w> b <end>."""
    texts = [[1, 3, 0, 4, 5, 2], [1, 0, 4, 2]]
    assert_close(log_likelihood(model, images, *padded(texts)), written_out(model, texts, images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("num_images", "num_texts"), [(0, 4), (PICTURES, 0), (0, 0), (1, 1)])
def test_log_likelihood_has_a_row_an_image_and_a_column_a_text(model, images, num_images, num_texts):
    ids, valid = padded(TEXTS)
    scores = log_likelihood(model, images[:num_images], ids[:num_texts], valid[:num_texts])
    assert (scores.shape, scores.dtype) == ((num_images, num_texts), torch.float32)
    alone = log_likelihood(model, None, ids[:num_texts], valid[:num_texts])
    assert (alone.shape, alone.dtype) == ((num_texts,), torch.float32)


def test_the_probabilities_of_all_sentences_of_a_length_sum_to_one(model, images):
    """The sum runs over all sequences of three tokens after START, including special tokens."""
    texts = torch.cartesian_prod(torch.tensor([START]), *[torch.arange(6)] * 3)
    scores = log_likelihood(model, images, texts, torch.ones_like(texts, dtype=torch.bool))
    assert_close(scores.exp().sum(1), torch.ones(PICTURES), rtol=0, atol=1e-5)


# --- the loss of each next word -------------------------------------------------------------------------------------------

IDS = torch.tensor([[1, 4, 2, 0, 0], [1, 3, 5, 4, 2], [1, 2, 0, 0, 0]])


@pytest.fixture
def output():
    return nn.Linear(7, 6, bias=False, dtype=torch.float64)


def written_out_losses(hidden, output, ids):
    """-log p of each next word, computed one at a time; 0 at padding."""
    losses = torch.zeros(ids.shape[0], ids.shape[1] - 1)
    for b, t in torch.cartesian_prod(torch.arange(len(ids)), torch.arange(ids.shape[1] - 1)).tolist():
        if ids[b, t + 1] != PAD:
            logits = output.weight.detach() @ hidden[b, t]
            losses[b, t] = math.log(logits.exp().sum()) - logits[ids[b, t + 1]].item()
    return losses


def test_next_token_losses_are_negative_log_probabilities_and_zero_at_padding(output):
    hidden = torch.randn(3, 5, 7, dtype=torch.float64)
    expected = written_out_losses(hidden, output, IDS)
    assert (expected > 0).sum() == 7
    assert_close(next_token_losses(hidden, output, IDS, IDS != PAD), expected)


def test_next_token_losses_do_not_depend_on_values_at_padding(output):
    hidden, valid = torch.randn(3, 5, 7, dtype=torch.float64), IDS != PAD
    expected = next_token_losses(hidden, output, IDS, valid)
    other = torch.where(F.pad(valid[:, 1:], (0, 1))[..., None], hidden, 100.0)
    assert torch.equal(next_token_losses(other, output, IDS.where(valid, 5), valid), expected)
    longer = torch.cat([hidden, torch.randn(3, 3, 7)], dim=1)
    assert_close(next_token_losses(longer, output, F.pad(IDS, (0, 3), value=5), F.pad(valid, (0, 3))), F.pad(expected, (0, 3)))


def test_logits_are_computed_only_before_a_word(output):
    seen = []
    output.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    next_token_losses(torch.randn(3, 5, 7, dtype=torch.float64), output, IDS, IDS != PAD)
    assert seen == [(7, 7)]


def test_texts_without_words_have_zero_loss_and_zero_gradient(output):
    hidden = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[1, 0, 0], [1, 0, 0]])
    losses = next_token_losses(hidden, output, ids, ids != PAD)
    losses.sum().backward()
    assert torch.equal(losses.detach(), torch.zeros(2, 2))
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))


def test_losses_of_half_precision_inputs_are_float32(output):
    hidden = torch.randn(3, 5, 7, dtype=torch.bfloat16)
    losses = next_token_losses(hidden, output.bfloat16(), IDS, IDS != PAD)
    assert losses.dtype == torch.float32
    assert_close(losses, written_out_losses(hidden.double(), output.double(), IDS), rtol=0.02, atol=0.02)
