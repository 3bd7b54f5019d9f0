import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.coca import CoCa
from coca_model.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig
from coca_model.generate import _forbid_repeats, beam_search, log_likelihood

PAD, START, END = 0, 1, 2
TOKENIZER = SimpleNamespace(pad_id=PAD, start_id=START, end_id=END, decode=lambda ids: " ".join(str(i) for i in ids if i != PAD))
TEXTS = ([1, 3, 2], [1, 4, 5, 3, 5, 2], [1, 2], [1, 5, 4, 2])


@pytest.fixture(scope="module")
def model():
    """Three words, so that every sentence can be tried; weights large enough for opinions that change with the image."""
    torch.manual_seed(1)
    text = TextConfig(8, 1, 1, heads=2, mlp_width=8, context_length=8, vocabulary_size=6)
    config = CoCaConfig(ImageConfig(16, 8, width=8, layers=1, heads=2, mlp_width=8), PoolerConfig(caption_queries=2, heads=2), text, 4)
    model = CoCa(config).requires_grad_(False).eval()
    cross_attention = model.multimodal.blocks[0].cross_attention
    for layer in (model.unimodal.token_embedding, cross_attention.output, model.multimodal.output):
        torch.nn.init.normal_(layer.weight)
    return model


@pytest.fixture
def images():
    return 3 * torch.randn(8, 2, 8)


def next_log_probabilities(model, ids, image):
    row = torch.tensor([ids])
    _, text_tokens = model.encode_text(row, torch.ones_like(row, dtype=torch.bool))
    log_p = model.caption_logits(text_tokens, image[None])[0, -1].log_softmax(-1)
    log_p[[PAD, START, ids[-1]]] = -torch.inf
    return log_p


def greedy(model, image, max_tokens):
    ids = [START]
    while len(ids) <= max_tokens and ids[-1] != END:
        ids.append(int(next_log_probabilities(model, ids, image).argmax()))
    return " ".join(map(str, ids))


def best_of_all_sentences(model, image, max_tokens):
    """The worth of every sentence of up to `max_tokens`, by Wu et al. 2016 with exponent 0.7."""
    open_ones, closed = [([START], 0.0)], []
    for _ in range(max_tokens):
        longer = []
        for ids, worth in open_ones:
            log_p = next_log_probabilities(model, ids, image)
            longer += [([*ids, token], worth + log_p[token].item()) for token in (END, 3, 4, 5) if token != ids[-1]]
        closed += [pair for pair in longer if pair[0][-1] == END]
        open_ones = [pair for pair in longer if pair[0][-1] != END]
    ids, _ = max(closed + open_ones, key=lambda pair: pair[1] / len(pair[0]) ** 0.7)
    return " ".join(map(str, ids))


@pytest.mark.parametrize("max_tokens", [1, 3, 6])
def test_one_beam_is_a_greedy_loop(model, images, max_tokens):
    expected = [greedy(model, image, max_tokens) for image in images]
    assert beam_search(model, images, TOKENIZER, beams=1, max_tokens=max_tokens, no_repeat=0) == expected


@pytest.mark.parametrize("max_tokens", [1, 2, 3])
def test_as_many_beams_as_sentences_find_the_best_sentence(model, images, max_tokens):
    expected = [best_of_all_sentences(model, image, max_tokens) for image in images]
    assert beam_search(model, images, TOKENIZER, beams=40, max_tokens=max_tokens, no_repeat=0) == expected


def test_captions_differ_between_images_and_do_not_depend_on_their_batch(model, images):
    together = beam_search(model, images, TOKENIZER, beams=3)
    assert len(set(together)) > 3
    assert together == [beam_search(model, image[None], TOKENIZER, beams=3)[0] for image in images]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_caption_never_repeats_a_word_at_once_nor_exceeds_the_context(model, images, beams):
    for caption in beam_search(model, images, TOKENIZER, beams=beams, max_tokens=100):
        ids = caption.split()
        assert len(ids) <= 8
        assert all(one != other for one, other in itertools.pairwise(ids))


def test_no_images_give_no_captions(model, images):
    assert beam_search(model, images[:0], TOKENIZER) == []


def padded(texts):
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    return ids, ids != PAD


def minus_cross_entropy(model, text, image):
    """What the training forward charges for a text on its own."""
    ids, valid = padded([text])
    _, text_tokens = model.encode_text(ids, valid)
    logits = model.caption_logits(text_tokens, None if image is None else image[None])
    return -F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum").item()


def test_log_likelihood_is_minus_the_summed_cross_entropy_of_each_text_for_each_image(model, images):
    expected = torch.tensor([[minus_cross_entropy(model, text, image) for text in TEXTS] for image in images])
    assert_close(log_likelihood(model, images, *padded(TEXTS)), expected, rtol=0, atol=1e-4)


def test_log_likelihood_without_an_image_is_that_of_the_language_alone(model, images):
    expected = torch.tensor([minus_cross_entropy(model, text, None) for text in TEXTS])
    alone = log_likelihood(model, None, *padded(TEXTS))
    assert_close(alone, expected, rtol=0, atol=1e-4)
    assert (log_likelihood(model, images, *padded(TEXTS)) - alone).abs().amin() > 1e-3


@pytest.mark.parametrize(("num_images", "num_texts"), [(0, 4), (8, 0), (0, 0)])
def test_log_likelihood_of_nothing_is_empty(model, images, num_images, num_texts):
    ids, valid = padded(TEXTS)
    assert log_likelihood(model, images[:num_images], ids[:num_texts], valid[:num_texts]).shape == (num_images, num_texts)
    assert log_likelihood(model, None, ids[:num_texts], valid[:num_texts]).shape == (num_texts,)


def test_no_run_of_tokens_comes_twice():
    ids = torch.tensor([[1, 5, 6, 7, 5, 6], [1, 5, 6, 7, 8, 6]])
    step = torch.zeros(2, 10)
    _forbid_repeats(step, ids, torch.tensor([False, False]), 3)
    assert [row.isinf().nonzero().flatten().tolist() for row in step] == [[7], []]
