"""The transformer pieces that every tower is made of: attention, its key-value cache, MLP, pre-norm block.

Axes: B batch, G sentences that read the same picture, R = B * G rows, T queries, S keys, D width, H heads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class KeysValues:
    """What an attention reads, projected once and kept: `key` and `value` (B, H, S, D/H)."""

    key: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.key)

    def and_then(self, more: "KeysValues") -> "KeysValues":
        """These, followed by the keys and values of later tokens."""
        return KeysValues(torch.cat([self.key, more.key], dim=2), torch.cat([self.value, more.value], dim=2))

    def rows(self, index: Tensor) -> "KeysValues":
        """The rows that `index` int64 (B',) names, in its order."""
        return KeysValues(self.key[index], self.value[index])


class Attention(nn.Module):
    """Multi-head attention from `width` queries to `context_width` keys and values (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width or width, 2 * width)
        self.output = nn.Linear(width, width)

    def read(self, context: Tensor) -> KeysValues:
        """Context (B, S, D') -> its keys and values."""
        key, value = self.key_value(context).chunk(2, dim=-1)  # 2 x (B, S, D)
        return KeysValues(self._split(key), self._split(value))

    def forward(self, x: Tensor, seen: KeysValues, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Queries x (R, T, D) look at `seen` of B rows -> (R, T, D).

        With R = B * G, each G consecutive rows of x share a row of `seen`, which is not copied; with R = 1, x asks every row.
        `mask` bool (R, 1, T, S) is True where a query may look.
        """
        rows, length = len(x), x.shape[1]
        query = self.query(x)  # (R, T, D)
        if rows == 1:
            query = query.expand(len(seen), -1, -1)  # (B, T, D)
        elif rows != len(seen):
            query = query.reshape(len(seen), -1, query.shape[-1])  # (B, G*T, D)
        mixed = F.scaled_dot_product_attention(self._split(query), seen.key, seen.value, attn_mask=mask, is_causal=causal)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, G*T, D)
        return self.output(mixed.reshape(max(rows, len(seen)), length, mixed.shape[-1]))  # (R, T, D)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block; with `cross`, cross-attention to the image tokens stands between attention and MLP.

    `open_clip` adds what its published decoders have besides: an MLP before the cross-attention, and a norm of the image tokens.
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

    def image_keys_values(self, image_tokens: Tensor) -> KeysValues:
        """Image tokens (B, Q, D) -> the keys and values of the cross-attention, the same for every word of every sentence."""
        assert self.cross_attention is not None, "a block without cross-attention reads no image"
        return self.cross_attention.read(image_tokens if self.image_norm is None else self.image_norm(image_tokens))

    def forward(
        self,
        x: Tensor,
        image: KeysValues | None = None,
        *,
        mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """X (R, T, D) -> (R, T, D). Without an `image` the cross-attention is left out: the text-only language model.

        `mask` bool (R, 1, T, T) and `image_mask` bool (R, 1, T, Q), or 1 where all are alike, are True where a token may look.
        """
        return self.extend(x, None, image, mask=mask, image_mask=image_mask, causal=causal)[0]

    def extend(
        self,
        x: Tensor,
        past: KeysValues | None,
        image: KeysValues | None = None,
        *,
        mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        causal: bool = False,
    ) -> tuple[Tensor, KeysValues]:
        """As `forward`, for tokens that follow those of `past`. Returns x (R, T, D), and the past with them added."""
        normed = self.attention_norm(x)
        seen = self.attention.read(normed)
        seen = seen if past is None else past.and_then(seen)
        x = x + self.attention(normed, seen, mask=mask, causal=causal)
        if self.inner_mlp is not None:
            x = x + self.inner_mlp(x)
        if self.cross_attention is not None and self.cross_norm is not None and image is not None:
            x = x + self.cross_attention(self.cross_norm(x), image, mask=image_mask)
        return x + self.mlp(self.mlp_norm(x)), seen


def _mlp(width: int, mlp_width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(width, mlp_width), nn.GELU(), nn.Linear(mlp_width, width)
