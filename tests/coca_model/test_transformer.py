import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from coca_model.transformer import Attention, Block


def written_out_attention(attention: Attention, x: Tensor, context: Tensor, may_look: Tensor) -> Tensor:
    """Vaswani et al. 2017, equation 1, one query of one head at a time; may_look bool (B, T, S)."""
    width, size = x.shape[-1], x.shape[-1] // attention.heads
    queries = x @ attention.query.weight.T + attention.query.bias
    both = context @ attention.key_value.weight.T + attention.key_value.bias
    mixed = torch.zeros_like(queries)
    for b, t in torch.cartesian_prod(torch.arange(x.shape[0]), torch.arange(x.shape[1])).tolist():
        for head in range(attention.heads):
            part = slice(head * size, (head + 1) * size)
            keys, values = both[b, may_look[b, t], :width][:, part], both[b, may_look[b, t], width:][:, part]
            weights = torch.exp(keys @ queries[b, t, part] / math.sqrt(size))
            mixed[b, t, part] = (weights / weights.sum()) @ values
    return mixed @ attention.output.weight.T + attention.output.bias


def written_out_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def shake_norms(module: nn.Module) -> None:
    """Norms start as the identity, which would hide one that is left out."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)


MASK = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
MASK |= torch.eye(5, dtype=torch.bool)
CAUSAL = torch.ones(2, 5, 5, dtype=torch.bool).tril()
ALL = torch.ones(2, 5, 5, dtype=torch.bool)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize(
    ("arguments", "may_look"),
    [({}, ALL), ({"mask": MASK[:, None]}, MASK), ({"causal": True}, CAUSAL)],
    ids=["all", "mask", "causal"],
)
def test_self_attention_equals_the_softmax_written_out(heads, arguments, may_look):
    attention = Attention(8, heads).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    assert_close(attention(x, **arguments), written_out_attention(attention, x, x, may_look))


def test_cross_attention_reads_keys_and_values_from_a_context_of_another_width():
    attention = Attention(8, 2, context_width=6).double()
    x, context = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
    expected = written_out_attention(attention, x, context, torch.ones(2, 5, 3, dtype=torch.bool))
    assert_close(attention(x, context), expected)


@pytest.mark.parametrize("with_image", [False, True])
def test_block_equals_its_three_residual_steps_written_out(with_image):
    block = Block(8, 2, 12, cross=True).double()
    shake_norms(block)
    start, image = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 3, 8, dtype=torch.float64)
    normed = written_out_norm(block.attention_norm, start)
    x = start + written_out_attention(block.attention, normed, normed, CAUSAL)
    if with_image:
        normed = written_out_norm(block.cross_norm, x)
        x = x + written_out_attention(block.cross_attention, normed, image, torch.ones(2, 5, 3, dtype=torch.bool))
    inner = written_out_norm(block.mlp_norm, x) @ block.mlp[0].weight.T + block.mlp[0].bias
    inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2  # GELU
    expected = x + inner @ block.mlp[2].weight.T + block.mlp[2].bias
    assert_close(block(start, image if with_image else None, causal=True), expected)


def test_block_without_image_tokens_is_the_block_without_cross_attention():
    crossed, plain = Block(8, 2, 12, cross=True), Block(8, 2, 12)
    plain.load_state_dict({name: tensor for name, tensor in crossed.state_dict().items() if "cross" not in name})
    x = torch.randn(2, 5, 8)
    assert torch.equal(crossed(x, mask=MASK[:, None]), plain(x, mask=MASK[:, None]))
    assert not torch.allclose(crossed(x, torch.randn(2, 3, 8), mask=MASK[:, None]), plain(x, mask=MASK[:, None]))
