import dataclasses
import itertools
import math
import re
from collections import Counter
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig
from coca_model.decoding.generate import CachedDecoder, generate
from coca_model.decoding.options import CaptionOptions
from coca_model.tokenizer import SpecialTokens

SPECIAL = SpecialTokens(pad=0, start=1, end=2)
PAD, START, END = SPECIAL
WORDS = (3, 4, 5)
METHODS = ("greedy", "beam", "sample", "contrastive")


@pytest.fixture(scope="module")
def model():
    """A model with three words, so that every sentence can be tried. Its weights are large enough that the image changes the words."""
    torch.manual_seed(1)
    text = TextConfig(8, 1, 1, heads=2, mlp_width=8, context_length=9, vocabulary_size=6)
    config = CoCaConfig(ImageConfig(16, 8, width=8, layers=1, heads=2, mlp_width=8), PoolerConfig(caption_queries=2, heads=2), text, 4)
    model = CoCa(config).double().requires_grad_(False).eval()
    cross_attention = model.multimodal.blocks[0].cross_attention
    for layer in (model.unimodal.token_embedding, cross_attention.output, model.multimodal.output):
        torch.nn.init.normal_(layer.weight)
    return model


@pytest.fixture
def images():
    return 3 * torch.randn(8, 2, 8, dtype=torch.float64)


SAME_FOR_ALL = [1e-6, 1e-6, 0.2, *[0.1] * 8]  # eight words and END


class FixedDecoder:
    """Gives the same distribution at every step, and records the number of sentences of each step."""

    def __init__(self, p):
        self.logits, self.rows = torch.tensor(p).log(), []

    def step(self, token_ids):
        self.rows.append(len(token_ids))
        return self.logits.repeat(len(token_ids), 1), torch.randn(len(token_ids), 4)

    def select(self, rows):
        """Do nothing: all sentences have the same state."""


class ScriptedDecoder:
    """Gives p(next word) for each beginning in a script, without START. After any other beginning, only END follows."""

    def __init__(self, script):
        self.script, self.sentences, self.steps = script, None, 0

    def step(self, token_ids):
        self.steps += 1
        self.sentences = [(*ids, token) for ids, token in zip(self.sentences or [()] * len(token_ids), token_ids.tolist(), strict=True)]
        rows = [self.script.get(ids[1:], {END: 1.0}) for ids in self.sentences]
        return torch.tensor([[row.get(token, 1e-9) for token in range(6)] for row in rows]).log(), torch.zeros(len(rows), 4)

    def select(self, rows):
        self.sentences = [self.sentences[row] for row in rows]


def may_follow(ids, options):
    """The tokens that may come after `ids`, by the rules of `CaptionOptions`."""
    run = options.no_repeat
    runs = [tuple(ids[i : i + run]) for i in range(len(ids) - run + 1)]
    tokens = WORDS if len(ids) - 1 < options.min_tokens else (END, *WORDS)
    return [token for token in tokens if not run or (token != ids[-1] and tuple([*ids, token][-run:]) not in runs)]


def reader(model, image, options):
    """A function from the beginning of a sentence to log p of each allowed next token, without a cache.

    Beam search uses the model's p. The other methods renormalise p over the allowed tokens.
    """

    @cache
    def log_p(*ids):
        row = torch.tensor([ids])
        text_tokens = model.unimodal(row, torch.ones_like(row, dtype=torch.bool))[1]
        tokens = may_follow(ids, options)
        logits = model.multimodal(text_tokens, image[None])[0, -1]
        among = logits if options.method == "beam" else logits[tokens]
        return dict(zip(tokens, (logits[tokens] - among.logsumexp(0)).tolist(), strict=True))

    return log_p


def without_marks(ids):
    return [token for token in ids if token not in SPECIAL]


def captions(model, images, options):
    return generate(CachedDecoder(model, images), len(images), SPECIAL, options)


def greedy(log_p, options):
    ids = [START]
    while len(ids) <= options.max_tokens and ids[-1] != END:
        next_words = log_p(*ids)
        ids.append(max(next_words, key=next_words.get))
    return without_marks(ids)


@pytest.mark.parametrize(("no_repeat", "min_tokens"), [(0, 0), (1, 0), (2, 0), (3, 0), (3, 5)])
@pytest.mark.parametrize("max_tokens", [1, 3, 8])
def test_greedy_takes_the_likeliest_word_until_the_end(model, images, max_tokens, no_repeat, min_tokens):
    options = CaptionOptions("greedy", max_tokens=max_tokens, min_tokens=min(min_tokens, max_tokens), no_repeat=no_repeat)
    assert captions(model, images, options) == [greedy(reader(model, image, options), options) for image in images]


def best_of_all_sentences(log_p, options):
    """The sentence of at most `max_tokens` with the best log p / tokens ** penalty. END counts as a token, START does not."""
    open_ones, closed = [([START], 0.0)], []
    for _ in range(options.max_tokens):
        longer = [([*ids, token], score + more) for ids, score in open_ones for token, more in log_p(*ids).items()]
        closed += [pair for pair in longer if pair[0][-1] == END]
        open_ones = [pair for pair in longer if pair[0][-1] != END]
    ids, _ = max(closed + open_ones, key=lambda pair: pair[1] / (len(pair[0]) - 1) ** options.length_penalty)
    return without_marks(ids)


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize(("max_tokens", "no_repeat", "min_tokens"), [(1, 3, 0), (3, 3, 0), (3, 0, 0), (4, 2, 2)])
def test_with_a_beam_for_every_sentence_the_best_sentence_is_found(model, images, max_tokens, no_repeat, min_tokens, length_penalty):
    options = CaptionOptions(beams=81, max_tokens=max_tokens, no_repeat=no_repeat, min_tokens=min_tokens, length_penalty=length_penalty)
    assert captions(model, images, options) == [best_of_all_sentences(reader(model, image, options), options) for image in images]


def written_out_beam_search(log_p, options):
    """Beam search with lists: the best `beams` open sentences, and the best `beams` finished ones among the best continuations."""
    beams, open_ones, closed = options.beams, [(0.0, [START])], []
    for length in range(1, options.max_tokens + 1):
        longer = sorted(((score + more, [*ids, token]) for score, ids in open_ones for token, more in log_p(*ids).items()), reverse=True)
        closed += [(score / length**options.length_penalty, ids) for score, ids in longer[:beams] if ids[-1] == END]
        closed = sorted(closed, reverse=True)[:beams]
        open_ones = [(score, ids) for score, ids in longer if ids[-1] != END][:beams]
        if not open_ones or (len(closed) == beams and closed[-1][0] >= open_ones[0][0] / length**options.length_penalty):
            return without_marks(closed[0][1])
    return without_marks(max(closed + [(score / length**options.length_penalty, ids) for score, ids in open_ones])[1])


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize(("no_repeat", "min_tokens"), [(3, 0), (0, 0), (2, 3)])
def test_beam_search_equals_its_reference_with_lists(model, images, beams, length_penalty, no_repeat, min_tokens):
    options = CaptionOptions(beams=beams, max_tokens=8, length_penalty=length_penalty, no_repeat=no_repeat, min_tokens=min_tokens)
    assert captions(model, images, options) == [written_out_beam_search(reader(model, image, options), options) for image in images]


def test_beam_search_finds_a_sentence_that_starts_with_the_less_likely_word():
    script = {(): {3: 0.6, 4: 0.4}, (3,): {5: 0.5, 4: 0.3, END: 0.2}, (4,): {5: 1.0}, (4, 5): {END: 1.0}}
    greedy_words, beam_words = (
        generate(ScriptedDecoder(script), 1, SPECIAL, CaptionOptions(beams=beams, length_penalty=0.0))[0] for beams in (1, 2)
    )
    assert (greedy_words, beam_words) == ([3, 5], [4, 5])


# The empty sentence, p = 0.6, finishes first with score -0.51 / 1. Word 3 has score -0.92 / 1; finished after 5, -0.94 / 3 ** penalty.
END_OR_MORE = {(): {END: 0.6, 3: 0.4}, (3,): {5: 0.99, END: 0.01}, (3, 5): {END: 0.99, 4: 0.01}}


@pytest.mark.parametrize(
    ("beams", "length_penalty", "words", "steps"),
    [
        (1, 1.0, [], 1),  # one finished sentence, better than the open one
        (2, 0.0, [], 3),  # the second sentence finishes with the third token
        (2, 1.0, [3, 5], 3),  # and its length makes it better
    ],
)
def test_beam_search_stops_when_enough_finished_sentences_beat_the_open_ones(beams, length_penalty, words, steps):
    decoder = ScriptedDecoder(END_OR_MORE)
    assert generate(decoder, 1, SPECIAL, CaptionOptions(beams=beams, length_penalty=length_penalty)) == [words]
    assert decoder.steps == steps


def test_an_unfinished_sentence_of_maximum_length_can_be_the_best():
    script = {(): {3: 0.9, END: 0.1}, (3,): {4: 0.9, END: 0.1}}
    assert generate(ScriptedDecoder(script), 1, SPECIAL, CaptionOptions(beams=2, max_tokens=2)) == [[3, 4]]


def test_a_finished_sentence_is_not_changed_by_longer_ones_in_its_batch(model, images):
    options = CaptionOptions(max_tokens=8, beams=3)
    alone = [captions(model, image[None], options)[0] for image in images]
    assert len(set(map(len, alone))) > 2
    assert captions(model, images, options) == alone


UNEVEN = [0.05, 0.05, 0.1, 0.3, 0.15, 0.25, 0.1]  # includes PAD and START, which are never generated


def written_out_choice(options):
    """The probability of each token that may be drawn after START: UNEVEN with temperature, then top-k, then top-p, renormalised."""
    falling = sorted((UNEVEN[token] ** (1 / options.temperature), token) for token in range(END, 7))[::-1]
    falling = falling[: options.top_k or None]
    total, before, kept = sum(p for p, _ in falling), 0.0, {}
    for p, token in falling:
        if before < options.top_p:
            kept[token] = p / total
        before += p / total
    return {token: p / sum(kept.values()) for token, p in kept.items()}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (1, 1.0), (3, 1.0), (99, 1.0), (0, 0.3), (0, 0.75), (0, 0.001), (3, 0.6)])
def test_words_are_drawn_as_often_as_their_renormalised_probability(temperature, top_k, top_p):
    options, draws = CaptionOptions("sample", 1, temperature=temperature, top_k=top_k, top_p=top_p), 20_000
    counts = Counter(sentence[0] if sentence else END for sentence in generate(FixedDecoder(UNEVEN), draws, SPECIAL, options))
    expected = written_out_choice(options)
    assert counts.keys() == expected.keys()
    for token, p in expected.items():
        assert abs(counts[token] / draws - p) <= 5 * math.sqrt(p * (1 - p) / draws)  # five standard deviations


@pytest.mark.parametrize(("top_k", "top_p", "likeliest"), [(2, 1.0, {3, 5}), (0, 0.5, {3, 5}), (0, 0.7, {3, 5, 4}), (1, 0.1, {3})])
def test_only_the_likeliest_words_are_drawn(top_k, top_p, likeliest):
    options = CaptionOptions("sample", 12, no_repeat=0, top_k=top_k, top_p=top_p)
    sentences = generate(FixedDecoder(UNEVEN), 50, SPECIAL, options)
    assert {token for sentence in sentences for token in sentence} == likeliest


def test_the_same_seed_gives_the_same_captions_and_another_seed_others(model, images):
    one, again, other = (captions(model, images, CaptionOptions("sample", 8, seed=seed)) for seed in (5, 5, 6))
    assert one == again
    assert one != other


def test_sampling_neither_uses_nor_changes_the_global_random_state(model, images):
    options = CaptionOptions("sample", 8)
    before = captions(model, images, options)
    state = torch.random.get_rng_state()
    torch.manual_seed(99)
    assert captions(model, images, options) == before
    torch.random.set_rng_state(state)
    captions(model, images, options)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_sentences_of_one_batch_are_drawn_independently():
    sentences = generate(FixedDecoder(UNEVEN), 50, SPECIAL, CaptionOptions("sample", 12))
    assert len(set(map(tuple, sentences))) > 25


def written_out_contrastive_search(model, image, options):
    """Su et al. 2022, equation 5. The whole sentence is encoded for every candidate."""
    log_p, ids, weight = reader(model, image, options), [START], options.degeneration_penalty
    while len(ids) <= options.max_tokens and ids[-1] != END:
        score = {}
        next_words = log_p(*ids)
        for token in sorted(next_words, key=next_words.get, reverse=True)[: options.top_k or 5]:
            row = torch.tensor([[*ids, token]])
            text_tokens = model.unimodal(row, torch.ones_like(row, dtype=torch.bool))[1]
            *before, own = model.multimodal.hidden(text_tokens, image[None])[0]
            similarity = max(F.cosine_similarity(own, state, dim=0).item() for state in before)
            score[token] = (1 - weight) * math.exp(next_words[token]) - weight * similarity
        ids.append(max(score, key=score.get))
    return without_marks(ids)


@pytest.mark.parametrize("top_k", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("degeneration_penalty", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize(("no_repeat", "min_tokens"), [(0, 0), (3, 4)])
def test_contrastive_search_equals_its_equation_written_out(model, images, top_k, degeneration_penalty, no_repeat, min_tokens):
    options = CaptionOptions(
        "contrastive", 8, top_k=top_k, degeneration_penalty=degeneration_penalty, no_repeat=no_repeat, min_tokens=min_tokens
    )
    assert captions(model, images, options) == [written_out_contrastive_search(model, image, options) for image in images]


@pytest.mark.parametrize(("top_k", "candidates"), [(0, 5), (3, 3), (99, 11)])
def test_contrastive_search_tries_the_top_k_words_as_candidates(top_k, candidates):
    decoder = FixedDecoder(SAME_FOR_ALL)
    generate(decoder, 2, SPECIAL, CaptionOptions("contrastive", 3, min_tokens=3, top_k=top_k))
    assert decoder.rows == [2, *[2 * candidates] * 3]


@pytest.mark.parametrize("options", [{"top_k": 1}, {"degeneration_penalty": 0.0}], ids=str)
def test_contrastive_search_without_a_choice_or_a_penalty_is_greedy(model, images, options):
    assert captions(model, images, CaptionOptions("contrastive", 8, **options)) == captions(model, images, CaptionOptions("greedy", 8))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("no_repeat", [1, 2, 3, 4])
def test_no_n_gram_and_no_adjacent_word_is_repeated(method, no_repeat):
    options = CaptionOptions(method, 12, min_tokens=8 if no_repeat == 1 else 12, no_repeat=no_repeat)
    for sentence in generate(FixedDecoder(SAME_FOR_ALL), 20, SPECIAL, options):
        runs = [tuple(sentence[i : i + no_repeat]) for i in range(len(sentence) - no_repeat + 1)]
        assert len(set(runs)) == len(runs) > 0
        assert all(one != other for one, other in itertools.pairwise(sentence))


@pytest.mark.parametrize("method", METHODS)
def test_words_are_repeated_when_no_repeat_is_zero(method):
    p = [1e-6, 1e-6, 1e-6, 0.99, 0.01, 1e-6]
    options = CaptionOptions(method, 6, no_repeat=0, top_k=1)
    assert generate(FixedDecoder(p), 2, SPECIAL, options) == [[3] * 6] * 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("min_tokens", [0, 1, 5])
def test_a_caption_that_would_end_at_once_has_min_tokens_words(method, min_tokens):
    p = [1e-9, 1e-9, 1.0, *[1e-9] * 8]
    sentences = generate(FixedDecoder(p), 3, SPECIAL, CaptionOptions(method, min_tokens=min_tokens, degeneration_penalty=0.0))
    assert [len(sentence) for sentence in sentences] == [min_tokens] * 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("max_tokens", [1, 2, 7])
def test_a_caption_that_would_never_end_has_max_tokens_words(method, max_tokens):
    p = [1e-9, 1e-9, 1e-9, *[0.125] * 8]
    sentences = generate(FixedDecoder(p), 3, SPECIAL, CaptionOptions(method, max_tokens, degeneration_penalty=0.0))
    assert [len(sentence) for sentence in sentences] == [max_tokens] * 3


@pytest.mark.parametrize("method", METHODS)
def test_padding_and_start_are_never_generated(method):
    p = [0.45, 0.45, 0.02, *[0.01] * 8]
    sentences = generate(FixedDecoder(p), 20, SPECIAL, CaptionOptions(method, 12, min_tokens=3, degeneration_penalty=0.0))
    assert all(3 <= len(sentence) <= 12 and set(sentence) <= set(range(3, 11)) for sentence in sentences)


def test_special_tokens_may_have_any_id():
    """START and END are the last ids of CLIP's tokenizer, so generated words must not depend on their ids."""
    p = [0.0, 0.3, 0.3, 0.2, 1e-9, 0.2]
    sentences = generate(FixedDecoder(p), 30, SpecialTokens(0, 4, 5), CaptionOptions("sample", 6))
    assert {token for sentence in sentences for token in sentence} == {1, 2, 3}


@pytest.mark.parametrize("method", METHODS)
def test_no_pictures_give_no_captions(model, images, method):
    assert captions(model, images[:0], CaptionOptions(method, 8)) == []


@pytest.mark.parametrize("method", METHODS)
def test_captions_are_generated_from_a_model_that_requires_gradients(model, images, method):
    model.multimodal.output.weight.requires_grad_(True)
    assert len(captions(model, images, CaptionOptions(method, 8))) == 8
    model.multimodal.output.weight.requires_grad_(False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method does not fit ('best'). Allowed: beam, greedy, sample, contrastive."),
        ({"max_tokens": 0}, "max_tokens does not fit (0). Allowed: 1 or more."),
        ({"min_tokens": -1}, "min_tokens does not fit (-1). Allowed: 0 to max_tokens (24)."),
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens does not fit (6). Allowed: 0 to max_tokens (5)."),
        ({"no_repeat": -1}, "no_repeat does not fit (-1). Allowed: 0 or more."),
        ({"beams": 0}, "beams does not fit (0). Allowed: 1 or more."),
        ({"length_penalty": -0.1}, "length_penalty does not fit (-0.1). Allowed: 0 or more."),
        ({"length_penalty": math.nan}, "length_penalty does not fit (nan). Allowed: 0 or more."),
        ({"temperature": 0.0}, "temperature does not fit (0.0). Allowed: above 0."),
        ({"top_k": -1}, "top_k does not fit (-1). Allowed: 0 (all) or more."),
        ({"top_p": 0.0}, "top_p does not fit (0.0). Allowed: above 0, at most 1."),
        ({"top_p": 1.5}, "top_p does not fit (1.5). Allowed: above 0, at most 1."),
        ({"degeneration_penalty": -0.5}, "degeneration_penalty does not fit (-0.5). Allowed: 0 to 1."),
        ({"degeneration_penalty": 1.1}, "degeneration_penalty does not fit (1.1). Allowed: 0 to 1."),
        ({"guidance": 0.0}, "guidance does not fit (0.0). Allowed: above 0 (1 is none)."),
        ({"guidance": -2.0}, "guidance does not fit (-2.0). Allowed: above 0 (1 is none)."),
    ],
    ids=str,
)
def test_an_invalid_option_is_refused_with_its_value_and_the_allowed_values(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CaptionOptions(**options)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(CaptionOptions(), **options)


def test_boundary_values_are_accepted():
    low = CaptionOptions("sample", 1, 0, 0, 1, 0.0, 1e-6, 0, 1e-6, 0.0, 1e-6, 0)
    high = CaptionOptions("contrastive", 9, 9, 99, 99, 9.0, 99.0, 10**6, 1.0, 1.0, 99.0, 2**40)
    assert (low.top_k, high.top_p) == (0, 1.0)
