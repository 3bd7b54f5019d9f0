"""The transformer parts of every tower: attention with its key-value cache, MLP, pre-norm block.

Axes: B batch, G sentences about the same picture, R = B * G rows, T queries, S keys, D width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Mask = Tensor | None  # bool, True where a query may attend
KV = Tensor  # (2, B, H, S, D/H): the projected keys and values of an attention, computed once


class Attention(nn.Module):
    """Multi-head attention from `width` queries to `context_width` keys and values (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.output = nn.Linear(width, width)

    def project(self, context: Tensor) -> KV:
        """Context (B, S, D') -> keys and values (2, B, H, S, D/H)."""
        return self.key_value(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, context: KV, *, mask: Mask = None, causal: bool = False) -> Tensor:
        """Queries x (R, T, D) attend to `context` of B rows -> (R, T, D).

        With R = B * G, each G consecutive rows of x share a row of `context`, without copying it. With R = 1, x queries every row.
        `mask` is (R, 1, T, S).
        """
        key, value = context
        query = self.query(x)  # (R, T, D)
        if len(x) == 1:
            query = query.expand(len(key), -1, -1)  # (B, T, D)
        shape = query.shape
        if len(query) != len(key):
            query = query.reshape(len(key), -1, shape[-1])  # (B, G*T, D)
        query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, G*T, D/H)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        return self.output(mixed.transpose(1, 2).reshape(shape))  # (R, T, D)


class Block(nn.Module):
    """A pre-norm transformer block. With `cross`, it has cross-attention to the image tokens between attention and MLP.

    With `open_clip`, a cross block has two more parts, as in open_clip's decoders: an MLP before the cross-attention, and a norm of
    the image tokens.
    """

    def __init__(self, width: int, heads: int, mlp_width: int, *, cross: bool = False, open_clip: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.inner_mlp = nn.Sequential(nn.LayerNorm(width), *_mlp(width, mlp_width)) if cross and open_clip else None
        self.image_norm = nn.LayerNorm(width) if cross and open_clip else None
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, heads) if cross else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(*_mlp(width, mlp_width))

    def image_keys_values(self, image_tokens: Tensor) -> KV:
        """Image tokens (B, Q, D) -> keys and values of the cross-attention, the same for every word of every sentence."""
        assert self.cross_attention is not None, "a block without cross-attention takes no image"
        return self.cross_attention.project(image_tokens if self.image_norm is None else self.image_norm(image_tokens))

    def forward(self, x: Tensor, image: KV | None = None, *, mask: Mask = None, image_mask: Mask = None, causal: bool = False) -> Tensor:
        """X (R, T, D) -> (R, T, D). Without an `image` the cross-attention is skipped, which gives a text-only language model.

        `mask` is (R, 1, T, T) and `image_mask` is (R, 1, T, Q); R may be 1.
        """
        return self.extend(x, None, image, mask=mask, image_mask=image_mask, causal=causal)[0]

    def extend(
        self, x: Tensor, past: KV | None, image: KV | None = None, *, mask: Mask = None, image_mask: Mask = None, causal: bool = False
    ) -> tuple[Tensor, KV]:
        """Like `forward`, for tokens that follow those of `past`. Returns x (R, T, D), and the extended past."""
        normed = self.attention_norm(x)
        context = self.attention.project(normed)
        context = context if past is None else torch.cat([past, context], dim=3)
        x = x + self.attention(normed, context, mask=mask, causal=causal)
        if self.inner_mlp is not None:
            x = x + self.inner_mlp(x)
        if self.cross_attention is not None and self.cross_norm is not None and image is not None:
            x = x + self.cross_attention(self.cross_norm(x), image, mask=image_mask)
        return x + self.mlp(self.mlp_norm(x)), context


def _mlp(width: int, mlp_width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(width, mlp_width), nn.GELU(), nn.Linear(mlp_width, width)
