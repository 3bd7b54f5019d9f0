import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from coca_model.config import PoolerConfig
from coca_model.pooler import AttentionalPooler, ImagePoolers


def written_out_pooler(pooler, tokens):
    """Each learned query reads the normed tokens (paper section 3.2), one head at a time."""
    attention, (count, width) = pooler.attention, pooler.queries.shape
    normed = F.layer_norm(tokens, tokens.shape[-1:], pooler.context_norm.weight, pooler.context_norm.bias)
    queries = pooler.queries @ attention.query.weight.T + attention.query.bias
    both = normed @ attention.key_value.weight.T + attention.key_value.bias
    mixed = torch.zeros(len(tokens), count, width, dtype=tokens.dtype)
    for part in torch.arange(width).chunk(attention.heads):
        scores = torch.einsum("qd,bpd->bqp", queries[:, part], both[..., part]) / math.sqrt(len(part))
        mixed[..., part] = scores.softmax(-1) @ both[..., width + part]
    out = mixed @ attention.output.weight.T + attention.output.bias
    return F.layer_norm(out, (width,), pooler.norm.weight, pooler.norm.bias)


def poolers(kind, *, image_width=6):
    config = PoolerConfig(kind, caption_queries=3, heads=2)
    return ImagePoolers(config, image_width=image_width, text_width=8, embedding_width=5)


def test_pooler_equals_its_queries_written_out():
    pooler = AttentionalPooler(3, 8, 2, context_width=6).double()
    for norm in (pooler.context_norm, pooler.norm):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    tokens = torch.randn(2, 7, 6, dtype=torch.float64)
    assert_close(pooler(tokens), written_out_pooler(pooler, tokens))


def test_cascade_reads_the_caption_tokens():
    both, tokens = poolers("cascade").double(), torch.randn(2, 7, 6, dtype=torch.float64)
    caption_tokens = written_out_pooler(both.caption, tokens)
    contrast = written_out_pooler(both.contrast, caption_tokens)[:, 0]
    assert_close(both(tokens), (contrast @ both.project.weight.T, caption_tokens))


def test_parallel_reads_the_image_tokens():
    both, tokens = poolers("parallel").double(), torch.randn(2, 7, 6, dtype=torch.float64)
    contrast = written_out_pooler(both.contrast, tokens)[:, 0]
    assert_close(both(tokens), (contrast @ both.project.weight.T, written_out_pooler(both.caption, tokens)))


@pytest.mark.parametrize(("kind", "depends"), [("cascade", True), ("parallel", False)])
def test_embedding_depends_on_the_caption_queries_only_in_a_cascade(kind, depends):
    both, tokens = poolers(kind), torch.randn(2, 7, 6)
    before, _ = both(tokens)
    torch.nn.init.normal_(both.caption.queries, std=5.0)
    after, _ = both(tokens)
    assert torch.equal(before, after) is not depends


def test_pooled_tokens_do_not_depend_on_the_order_of_the_image_tokens():
    both, tokens = poolers("cascade").double(), torch.randn(2, 7, 6, dtype=torch.float64)
    assert_close(both(tokens.flip(1)), both(tokens))
