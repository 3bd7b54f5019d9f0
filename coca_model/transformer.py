"""The transformer pieces that every tower is made of: attention, MLP, pre-norm block.

Axes: B batch, T queries, S keys, D width, H heads.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention from `width` queries to `context_width` keys and values (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """X (B, T, D), context (B, S, D') or x itself; mask bool (B, 1, T, S), True where a query may look."""
        context = x if context is None else context
        query = self._split(self.query(x))  # (B, H, T, D/H)
        key, value = self.key_value(context).chunk(2, dim=-1)  # 2 x (B, S, D)
        mixed = F.scaled_dot_product_attention(query, self._split(key), self._split(value), attn_mask=mask, is_causal=causal)
        return self.output(mixed.transpose(1, 2).flatten(2))  # (B, T, D)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block; with `cross`, cross-attention to the image tokens stands between attention and MLP."""

    def __init__(self, width: int, heads: int, mlp_width: int, *, cross: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, heads) if cross else None
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_width), nn.GELU(), nn.Linear(mlp_width, width))

    def forward(self, x: Tensor, image_tokens: Tensor | None = None, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """X (B, T, D) -> (B, T, D). Without `image_tokens` the cross-attention is left out: the text-only language model."""
        x = x + self.attention(self.attention_norm(x), mask=mask, causal=causal)
        if self.cross_attention is not None and self.cross_norm is not None and image_tokens is not None:
            x = x + self.cross_attention(self.cross_norm(x), image_tokens)
        return x + self.mlp(self.mlp_norm(x))
