import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.architecture.config import PoolerConfig
from coca_model.architecture.poolers import AttentionalPooler, ImagePoolers


def written_out_pooler(pooler, tokens):
    """Attentional pooling (paper section 3.2): each learned query attends to the normed tokens, one head at a time."""
    attention, (count, width) = pooler.attention, pooler.queries.shape
    normed = F.layer_norm(tokens, tokens.shape[-1:], pooler.context_norm.weight, pooler.context_norm.bias)
    learned, norm = pooler.queries, pooler.query_norm
    if isinstance(norm, nn.LayerNorm):
        learned = F.layer_norm(learned, (width,), norm.weight, norm.bias)
    queries = learned @ attention.query.weight.T + attention.query.bias
    both = normed @ attention.key_value.weight.T + attention.key_value.bias
    mixed = torch.zeros(len(tokens), count, width, dtype=tokens.dtype)
    for part in torch.arange(width).chunk(attention.heads):
        scores = torch.einsum("qd,bpd->bqp", queries[:, part], both[..., part]) / math.sqrt(len(part))
        mixed[..., part] = scores.softmax(-1) @ both[..., width + part]
    out = mixed @ attention.output.weight.T + attention.output.bias
    return F.layer_norm(out, (width,), pooler.norm.weight, pooler.norm.bias)


def shake_norms(module):
    """Randomise the norms. They start as the identity, which would hide a missing norm."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return module


def poolers(kind):
    config = PoolerConfig(kind, caption_queries=3, heads=2)
    return shake_norms(ImagePoolers(config, image_width=6, text_width=8, embedding_width=5)).double()


def image_tokens():
    return torch.randn(2, 7, 6, dtype=torch.float64)


@pytest.mark.parametrize("query_norm", [False, True])
def test_pooler_equals_its_queries_written_out(query_norm):
    pooler = shake_norms(AttentionalPooler(3, 8, 2, context_width=6, query_norm=query_norm)).double()
    tokens = image_tokens()
    assert_close(pooler(tokens), written_out_pooler(pooler, tokens))


@pytest.mark.parametrize("part", [slice(0, 1), slice(1, None), slice(2, 4), slice(0, 0)], ids=str)
def test_a_slice_of_the_queries_gives_the_same_tokens_as_all_queries(part):
    pooler = shake_norms(AttentionalPooler(5, 8, 2, context_width=6, query_norm=True)).double()
    tokens = image_tokens()
    assert_close(pooler(tokens, part), pooler(tokens)[:, part])


def test_cascade_reads_the_caption_tokens():
    both, tokens = poolers("cascade"), image_tokens()
    caption_tokens = written_out_pooler(both.caption, tokens)
    contrast = written_out_pooler(both.contrast, caption_tokens)[:, 0]
    assert_close(both(tokens), (contrast @ both.project.weight.T, caption_tokens))


def test_parallel_reads_the_image_tokens():
    both, tokens = poolers("parallel"), image_tokens()
    contrast = written_out_pooler(both.contrast, tokens)[:, 0]
    assert_close(both(tokens), (contrast @ both.project.weight.T, written_out_pooler(both.caption, tokens)))


def test_open_clip_embeds_the_first_query_and_captions_from_the_others():
    one, tokens = poolers("open_clip"), image_tokens()
    found = written_out_pooler(one.caption, tokens)
    assert isinstance(one.caption.query_norm, nn.LayerNorm)
    assert_close(one(tokens), (found[:, 0] @ one.project.weight.T, found[:, 1:]))


@pytest.mark.parametrize("kind", ["cascade", "parallel", "open_clip"])
def test_embed_gives_the_embedding_of_the_full_forward(kind):
    both, tokens = poolers(kind), image_tokens()
    assert_close(both.embed(tokens), both(tokens)[0])


@pytest.mark.parametrize(("kind", "queries"), [("cascade", 3), ("parallel", 0), ("open_clip", 1)])
def test_embed_runs_only_the_caption_queries_it_needs(kind, queries):
    both, counts = poolers(kind), []
    both.caption.attention.query.register_forward_hook(lambda _, inputs, __: counts.append(inputs[0].shape[1]))
    both.embed(image_tokens())
    assert sum(counts) == queries


@pytest.mark.parametrize(("kind", "depends"), [("cascade", True), ("parallel", False), ("open_clip", False)])
def test_embedding_depends_on_the_other_caption_queries_only_in_a_cascade(kind, depends):
    both, tokens = poolers(kind), image_tokens()
    before, _ = both(tokens)
    nn.init.normal_(both.caption.queries[1:], std=5.0)
    after, _ = both(tokens)
    assert torch.equal(before, after) is not depends


@pytest.mark.parametrize("kind", ["cascade", "parallel", "open_clip"])
def test_pooled_tokens_do_not_depend_on_the_order_of_the_image_tokens(kind):
    both, tokens = poolers(kind), image_tokens()
    assert_close(both(tokens.flip(1)), both(tokens))


@pytest.mark.parametrize("kind", ["cascade", "parallel", "open_clip"])
def test_embed_each_embeds_a_token_like_a_picture_of_one_token(kind):
    poolers, tokens = ImagePoolers(PoolerConfig(kind, 3, 2), image_width=12, text_width=8, embedding_width=6), torch.randn(2, 5, 12)
    expected = torch.stack([torch.stack([poolers.embed(token[None, None])[0] for token in picture]) for picture in tokens])
    assert_close(poolers.embed_each(tokens), expected)
