import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from coca_model.architecture.transformer import Attention, Block


def written_out_attention(attention: Attention, x: Tensor, context: Tensor, allowed: Tensor) -> Tensor:
    """Vaswani et al. 2017, equation 1, one query of one head at a time; allowed bool (B, T, S)."""
    width, size = x.shape[-1], x.shape[-1] // attention.heads
    queries = x @ attention.query.weight.T + attention.query.bias
    both = context @ attention.key_value.weight.T + attention.key_value.bias
    mixed = torch.zeros_like(queries)
    for b, t in torch.cartesian_prod(torch.arange(x.shape[0]), torch.arange(x.shape[1])).tolist():
        for head in range(attention.heads):
            part = slice(head * size, (head + 1) * size)
            keys, values = both[b, allowed[b, t], :width][:, part], both[b, allowed[b, t], width:][:, part]
            weights = torch.exp(keys @ queries[b, t, part] / math.sqrt(size))
            mixed[b, t, part] = (weights / weights.sum()) @ values
    return mixed @ attention.output.weight.T + attention.output.bias


def written_out_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def shake_norms(module: nn.Module) -> None:
    """Randomise the norms. They start as the identity, which would hide a missing norm."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


MASK = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
MASK |= torch.eye(5, dtype=torch.bool)
CAUSAL = torch.ones(2, 5, 5, dtype=torch.bool).tril()
ALL = torch.ones(2, 5, 5, dtype=torch.bool)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [({}, ALL), ({"mask": MASK[:, None]}, MASK), ({"causal": True}, CAUSAL)],
    ids=["all", "mask", "causal"],
)
def test_self_attention_equals_the_softmax_written_out(heads, arguments, allowed):
    attention = Attention(8, heads).double()
    x = random(2, 5, 8)
    assert_close(attention(x, attention.project(x), **arguments), written_out_attention(attention, x, x, allowed))


def test_cross_attention_reads_keys_and_values_from_a_context_of_another_width():
    attention = Attention(8, 2, context_width=6).double()
    x, context = random(2, 5, 8), random(2, 3, 6)
    expected = written_out_attention(attention, x, context, torch.ones(2, 5, 3, dtype=torch.bool))
    assert_close(attention(x, attention.project(context)), expected)


@pytest.mark.parametrize("pictures", [1, 2, 3])
@pytest.mark.parametrize("sentences", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 5])
def test_sentences_about_one_picture_share_its_keys_and_values(pictures, sentences, length):
    attention = Attention(8, 2, context_width=6).double()
    x, context = random(pictures * sentences, length, 8), random(pictures, 3, 6)
    copied = context.repeat_interleave(sentences, 0)
    expected = written_out_attention(attention, x, copied, torch.ones(len(x), length, 3, dtype=torch.bool))
    assert_close(attention(x, attention.project(context)), expected)


def test_one_row_of_queries_attends_to_every_context():
    attention = Attention(8, 2, context_width=6).double()
    x, context = random(1, 5, 8), random(3, 4, 6)
    expected = written_out_attention(attention, x.repeat(3, 1, 1), context, torch.ones(3, 5, 4, dtype=torch.bool))
    assert_close(attention(x, attention.project(context)), expected)


def test_keys_and_values_can_be_projected_in_parts():
    attention, x = Attention(8, 2).double(), random(2, 5, 8)
    whole, parts = attention.project(x), torch.cat([attention.project(x[:, :2]), attention.project(x[:, 2:])], dim=3)
    assert whole.shape == (2, 2, 2, 5, 4)
    assert_close(parts, whole)


def written_out_mlp(linear, other, x):
    inner = x @ linear.weight.T + linear.bias
    return inner * (1 + torch.erf(inner / math.sqrt(2))) / 2 @ other.weight.T + other.bias  # GELU


def written_out_block(block, x, image):
    """The residual steps of `Block` over causal x (B, T, D)."""
    normed = written_out_norm(block.attention_norm, x)
    x = x + written_out_attention(block.attention, normed, normed, CAUSAL)
    if block.inner_mlp is not None:
        x = x + written_out_mlp(block.inner_mlp[1], block.inner_mlp[3], written_out_norm(block.inner_mlp[0], x))
    if image is not None:
        image = image if block.image_norm is None else written_out_norm(block.image_norm, image)
        everything = torch.ones(len(x), x.shape[1], image.shape[1], dtype=torch.bool)
        x = x + written_out_attention(block.cross_attention, written_out_norm(block.cross_norm, x), image, everything)
    return x + written_out_mlp(block.mlp[0], block.mlp[2], written_out_norm(block.mlp_norm, x))


def shaken_block(**options):
    block = Block(8, 2, 12, **options).double()
    shake_norms(block)
    return block


@pytest.mark.parametrize("open_clip", [False, True])
@pytest.mark.parametrize("with_image", [False, True])
def test_block_equals_its_residual_steps_written_out(open_clip, with_image):
    block = shaken_block(cross=True, open_clip=open_clip)
    x, image = random(2, 5, 8), random(2, 3, 8) if with_image else None
    seen = None if image is None else block.image_keys_values(image)
    assert_close(block(x, seen, causal=True), written_out_block(block, x, image))


@pytest.mark.parametrize("open_clip", [False, True])
def test_only_blocks_with_cross_attention_have_the_extra_layers_of_open_clip(open_clip):
    crossed, plain = Block(8, 2, 12, cross=True, open_clip=open_clip), Block(8, 2, 12, open_clip=open_clip)
    for part in ("inner_mlp", "image_norm"):
        assert (getattr(crossed, part) is not None) is open_clip
        assert getattr(plain, part) is None


def test_block_without_image_tokens_is_the_block_without_cross_attention():
    crossed, plain = Block(8, 2, 12, cross=True), Block(8, 2, 12)
    plain.load_state_dict({name: tensor for name, tensor in crossed.state_dict().items() if "cross" not in name})
    x, image = torch.randn(2, 5, 8), crossed.image_keys_values(torch.randn(2, 3, 8))
    assert torch.equal(crossed(x, mask=MASK[:, None]), plain(x, mask=MASK[:, None]))
    assert not torch.allclose(crossed(x, image, mask=MASK[:, None]), plain(x, mask=MASK[:, None]))


def test_a_block_without_cross_attention_refuses_an_image():
    with pytest.raises(AssertionError, match="without cross-attention takes no image"):
        Block(8, 2, 12).image_keys_values(torch.zeros(1, 3, 8))


@pytest.mark.parametrize("open_clip", [False, True])
@pytest.mark.parametrize("with_image", [False, True])
@pytest.mark.parametrize("first", [1, 3])
def test_extending_a_block_token_by_token_equals_all_tokens_at_once(open_clip, with_image, first):
    block, x = shaken_block(cross=True, open_clip=open_clip), random(2, 5, 8)
    image = block.image_keys_values(random(2, 3, 8)) if with_image else None
    out, past = block.extend(x[:, :first], None, image, causal=True)
    outputs = [out]
    for token in x[:, first:].split(1, dim=1):
        out, past = block.extend(token, past, image)
        outputs.append(out)
    assert past.shape == (2, 2, 2, 5, 4)
    assert_close(torch.cat(outputs, dim=1), block(x, image, causal=True))
