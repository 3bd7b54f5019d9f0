import dataclasses
import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig, ImageConfig, PoolerConfig, TextConfig
from coca_model.decoding.generate import CachedDecoder, GuidedDecoder, generate
from coca_model.decoding.options import CaptionOptions
from coca_model.tokenizer import SpecialTokens

SPECIAL = SpecialTokens(0, 1, 2)
PICTURES, QUERIES, CONTEXT = 5, 3, 10
EIGHT = CaptionOptions(max_tokens=8)
WAYS = [
    *(dataclasses.replace(EIGHT, method="greedy", no_repeat=runs, min_tokens=least) for runs, least in ((0, 0), (2, 4))),
    *(dataclasses.replace(EIGHT, beams=beams, length_penalty=penalty) for beams in (1, 2, 4, 6) for penalty in (0.0, 0.7, 2.0)),
    *(dataclasses.replace(EIGHT, beams=beams, no_repeat=1, min_tokens=6) for beams in (2, 4)),
    *(
        dataclasses.replace(EIGHT, method="sample", top_k=top_k, top_p=top_p, temperature=temperature, seed=seed)
        for top_k, top_p, temperature in ((0, 1.0, 1.0), (3, 1.0, 2.0), (0, 0.7, 1.0), (5, 0.9, 0.5))
        for seed in (0, 7)
    ),
    *(
        dataclasses.replace(EIGHT, method="contrastive", top_k=top_k, degeneration_penalty=penalty)
        for top_k in (0, 2, 4, 50)
        for penalty in (0.0, 0.6, 1.0)
    ),
]
ONE_OF_EACH = [
    EIGHT,
    dataclasses.replace(EIGHT, beams=1),
    dataclasses.replace(EIGHT, method="greedy", no_repeat=0),
    dataclasses.replace(EIGHT, method="sample", top_k=6, top_p=0.9),
    dataclasses.replace(EIGHT, method="contrastive"),
]


def in_words(options):
    changed = dataclasses.asdict(options).items() - dataclasses.asdict(EIGHT).items()
    return " ".join(f"{name}={value}" for name, value in sorted(changed)) or "beam"


class CacheFreeDecoder:
    """The reference decoder without a cache: each step runs the training forward over the whole sentence."""

    def __init__(self, model, caption_tokens):
        self.model, self.caption_tokens, self.ids = model, caption_tokens, None

    def step(self, token_ids):
        self.ids = token_ids[:, None] if self.ids is None else torch.cat([self.ids, token_ids[:, None]], dim=1)
        text_tokens = self.model.unimodal(self.ids, torch.ones_like(self.ids, dtype=torch.bool))[1]
        image = self.caption_tokens
        if image is not None:
            image = image.repeat_interleave(len(self.ids) // len(image), dim=0)
        hidden = self.model.multimodal.hidden(text_tokens, image)[:, -1]
        return self.model.multimodal.output(hidden).float(), hidden

    def select(self, rows):
        self.ids = None if self.ids is None else self.ids[rows]


def build_model(layout, *, tied):
    """A model with nine words. Its weights are large enough that the picture and the earlier words change the next word."""
    text = TextConfig(8, 2, 2, 2, 16, CONTEXT, 12, tied_output=tied, layout=layout)
    config = CoCaConfig(
        ImageConfig(16, 8, width=8, layers=1, heads=2, mlp_width=8), PoolerConfig(caption_queries=QUERIES, heads=2), text, 4
    )
    model = CoCa(config).double().requires_grad_(False).eval()
    for part in (*model.unimodal.modules(), *model.multimodal.modules()):
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.7)
    nn.init.normal_(model.unimodal.position)
    for block in model.multimodal.blocks:
        nn.init.normal_(block.cross_attention.output.weight, std=3)
    return model


@pytest.fixture(scope="module", params=itertools.product(["paper", "open_clip"], [True, False]), ids=str)
def model(request):
    torch.manual_seed(3)
    layout, tied = request.param
    return build_model(layout, tied=tied)


@pytest.fixture
def images():
    return 3 * torch.randn(PICTURES, QUERIES, 8, dtype=torch.float64)


def null_image():
    return torch.linspace(-3, 3, QUERIES * 8, dtype=torch.float64).view(1, QUERIES, 8)


@pytest.mark.parametrize("options", WAYS, ids=in_words)
def test_the_cached_decoder_generates_what_the_decoder_without_cache_generates(model, images, options):
    cached = generate(CachedDecoder(model, images), PICTURES, SPECIAL, options)
    assert cached == generate(CacheFreeDecoder(model, images), PICTURES, SPECIAL, options)


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=in_words)
def test_different_pictures_get_different_sentences(model, images, options):
    assert len(set(map(tuple, generate(CachedDecoder(model, images), PICTURES, SPECIAL, options)))) >= 3


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=in_words)
def test_cached_and_cache_free_agree_without_a_picture(model, options):
    cached = generate(CachedDecoder(model, None), PICTURES, SPECIAL, options)
    assert cached == generate(CacheFreeDecoder(model, None), PICTURES, SPECIAL, options)


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=in_words)
@pytest.mark.parametrize("weight", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("null", [None, null_image()], ids=["no picture", "null picture"])
def test_cached_and_cache_free_agree_with_guidance(model, images, options, weight, null):
    cached, free = (
        generate(GuidedDecoder(decoder(model, images), decoder(model, null), weight=weight), PICTURES, SPECIAL, options)
        for decoder in (CachedDecoder, CacheFreeDecoder)
    )
    assert cached == free


@pytest.mark.parametrize("options", [options for options in WAYS if options.method != "sample"], ids=in_words)
def test_the_caption_of_a_picture_does_not_depend_on_its_batch(model, images, options):
    alone = [generate(CachedDecoder(model, image[None]), 1, SPECIAL, options)[0] for image in images]
    assert generate(CachedDecoder(model, images), PICTURES, SPECIAL, options) == alone


@pytest.mark.parametrize("options", [options for options in ONE_OF_EACH if options.method != "sample"], ids=in_words)
def test_a_guided_caption_does_not_depend_on_the_batch_that_shares_the_null_picture(model, images, options):
    def captions(tokens):
        guided = GuidedDecoder(CachedDecoder(model, tokens), CachedDecoder(model, null_image()), weight=2.0)
        return generate(guided, len(tokens), SPECIAL, options)

    assert captions(images) == [captions(image[None])[0] for image in images]


@pytest.mark.parametrize("with_image", [False, True])
def test_steps_and_selections_give_the_logits_and_states_of_the_cache_free_decoder(model, images, with_image):
    given = images[:2] if with_image else None
    cached, free = CachedDecoder(model, given), CacheFreeDecoder(model, given)
    for words, rows in (([1, 1], [0, 0, 0, 1, 1, 1]), ([3, 4, 5, 3, 6, 7], [2, 0, 5, 5]), ([8, 3, 4, 4], [0, 1, 2, 3]), ([5] * 4, [])):
        (logits, hidden), expected = cached.step(torch.tensor(words)), free.step(torch.tensor(words))
        assert (logits.dtype, logits.shape, hidden.shape) == (torch.float32, (len(words), 12), (len(words), 8))
        assert_close((logits, hidden), expected)
        for decoder in (cached, free):
            decoder.select(torch.tensor(rows, dtype=torch.int64))


def test_a_selection_before_the_first_step_changes_nothing(model, images):
    early, plain = CachedDecoder(model, images), CachedDecoder(model, images)
    early.select(torch.arange(PICTURES).repeat_interleave(3))
    start = torch.full((PICTURES,), SPECIAL.start)
    assert_close(early.step(start), plain.step(start), rtol=0, atol=0)


def lengths_read(layers):
    """A list that receives the length T of each later input (B, T, D) of these layers."""
    lengths = []
    for layer in layers:
        layer.register_forward_hook(lambda _, inputs, __: lengths.append(inputs[0].shape[1]))
    return lengths


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=in_words)
@pytest.mark.parametrize("layout", ["paper", "open_clip"])
def test_each_step_processes_one_token_a_sentence_and_the_picture_only_once(layout, options, images):
    model = build_model(layout, tied=True)
    blocks = [*model.unimodal.blocks, *model.multimodal.blocks]
    words = lengths_read(block.attention.key_value for block in blocks)
    pictures = lengths_read(block.cross_attention.key_value for block in model.multimodal.blocks)
    sentences = generate(CachedDecoder(model, images), PICTURES, SPECIAL, dataclasses.replace(options, min_tokens=8))
    steps = 8 + (options.method == "contrastive")  # contrastive search looks one word further
    assert [len(sentence) for sentence in sentences] == [8] * PICTURES
    assert words == [1] * len(blocks) * steps
    assert pictures == [QUERIES] * len(model.multimodal.blocks)


@pytest.mark.parametrize("weight", [0.5, 1.0, 1.5, 3.0])
@pytest.mark.parametrize("null", [None, null_image()], ids=["no picture", "null picture"])
def test_guidance_scales_the_gain_in_log_probability_from_the_picture(model, images, weight, null):
    guided = GuidedDecoder(CachedDecoder(model, images), CachedDecoder(model, null), weight=weight)
    seeing, blind = CacheFreeDecoder(model, images), CacheFreeDecoder(model, null)
    for word in (1, 4, 7):
        words = torch.full((PICTURES,), word)
        (with_picture, hidden), without = seeing.step(words), blind.step(words)[0]
        log_p, log_prior = with_picture.log_softmax(-1), without.log_softmax(-1)
        logits, states = guided.step(words)
        assert_close(logits.log_softmax(-1), (log_prior + weight * (log_p - log_prior)).log_softmax(-1), rtol=0, atol=1e-5)
        assert_close(states, hidden)


@pytest.mark.parametrize("options", ONE_OF_EACH, ids=in_words)
def test_a_guidance_weight_of_one_changes_nothing(model, images, options):
    guided = GuidedDecoder(CachedDecoder(model, images), CachedDecoder(model, None), weight=1.0)
    assert generate(guided, PICTURES, SPECIAL, options) == generate(CachedDecoder(model, images), PICTURES, SPECIAL, options)


def test_more_guidance_chooses_words_that_the_picture_makes_likelier(model, images):
    """The mean of log p(word | image) - log p(word) over the chosen first words rises with the weight."""
    start = torch.full((PICTURES,), SPECIAL.start)
    gain = CachedDecoder(model, images).step(start)[0].log_softmax(-1) - CachedDecoder(model, None).step(start)[0].log_softmax(-1)
    gains = []
    for weight in (0.1, 1.0, 10.0):
        guided = GuidedDecoder(CachedDecoder(model, images), CachedDecoder(model, None), weight=weight)
        gains.append(gain.gather(1, guided.step(start)[0].argmax(1, keepdim=True)).mean().item())
    assert gains == sorted(gains)
    assert gains[0] < gains[-1]
