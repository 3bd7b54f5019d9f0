"""Attentional poolers: a few learned queries read the image tokens (paper section 3.2, "Attentional Poolers").

Axes: B batch, P patches, Q queries, D width, E embedding.
"""

import torch
from torch import Tensor, nn

from coca_model.config import PoolerConfig
from coca_model.transformer import Attention


class AttentionalPooler(nn.Module):
    """tokens (B, P, D_in) -> (B, Q, D): one multi-head attention with `queries` learned queries."""

    def __init__(self, queries: int, width: int, heads: int, *, context_width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.context_norm = nn.LayerNorm(context_width)
        self.attention = Attention(width, heads, context_width=context_width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        queries = self.queries.expand(len(tokens), -1, -1)  # (B, Q, D)
        return self.norm(self.attention(queries, self.context_norm(tokens)))  # (B, Q, D)


class ImagePoolers(nn.Module):
    """Both poolers: caption tokens for the multimodal decoder, and the one vector for the contrastive loss."""

    def __init__(self, config: PoolerConfig, *, image_width: int, text_width: int, embedding_width: int) -> None:
        super().__init__()
        self.kind = config.kind
        contrast_context = text_width if config.kind == "cascade" else image_width
        self.caption = AttentionalPooler(config.caption_queries, text_width, config.heads, context_width=image_width)
        self.contrast = AttentionalPooler(1, text_width, config.heads, context_width=contrast_context)
        self.project = nn.Linear(text_width, embedding_width, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, P, D_image) -> embedding (B, E), not normalised, and caption tokens (B, Q, D_text)."""
        caption_tokens = self.caption(tokens)  # (B, Q, D)
        contrast = self.contrast(caption_tokens if self.kind == "cascade" else tokens)  # (B, 1, D)
        return self.project(contrast[:, 0]), caption_tokens
