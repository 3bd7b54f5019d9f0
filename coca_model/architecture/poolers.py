"""Attentional poolers: a few learned queries attend to the image tokens (paper section 3.2, "Attentional Poolers").

Axes: B batch, P patches, Q queries, D width, E embedding.
"""

import torch
from torch import Tensor, nn

from coca_model.architecture.config import PoolerConfig
from coca_model.architecture.transformer import Attention


class AttentionalPooler(nn.Module):
    """tokens (B, P, D_in) -> (B, Q, D): one multi-head attention with `queries` learned queries."""

    def __init__(self, queries: int, width: int, heads: int, *, context_width: int, query_norm: bool = False) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width).normal_(std=0.02))
        self.query_norm: nn.Module = nn.LayerNorm(width) if query_norm else nn.Identity()
        self.context_norm = nn.LayerNorm(context_width)
        self.attention = Attention(width, heads, context_width=context_width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, queries: slice = slice(None)) -> Tensor:
        """Tokens (B, P, D_in) -> (B, Q, D). A slice of `queries` gives the same values, because queries do not attend to each other."""
        query = self.query_norm(self.queries[queries])[None]  # (1, Q, D)
        return self.norm(self.attention(query, self.attention.project(self.context_norm(tokens))))  # (B, Q, D)


class ImagePoolers(nn.Module):
    """Both poolers: caption tokens for the multimodal decoder, and one vector for the contrastive loss.

    open_clip has a single pooler: its first query gives the vector, the others give the caption tokens.
    """

    def __init__(self, config: PoolerConfig, *, image_width: int, text_width: int, embedding_width: int) -> None:
        super().__init__()
        self.kind = config.kind
        one = config.kind == "open_clip"
        contrast_context = text_width if config.kind == "cascade" else image_width
        self.caption = AttentionalPooler(config.caption_queries, text_width, config.heads, context_width=image_width, query_norm=one)
        self.contrast = None if one else AttentionalPooler(1, text_width, config.heads, context_width=contrast_context)
        self.project = nn.Linear(text_width, embedding_width, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, P, D_image) -> embedding (B, E), not normalised, and caption tokens (B, Q, D_text)."""
        caption_tokens = self.caption(tokens)  # (B, Q, D)
        if self.contrast is None:
            return self.project(caption_tokens[:, 0]), caption_tokens[:, 1:]
        return self.project(self.contrast(caption_tokens if self.kind == "cascade" else tokens)[:, 0]), caption_tokens

    def embed(self, tokens: Tensor, queries: slice = slice(None)) -> Tensor:
        """Only the embedding (B, E) of `forward`. In a cascade, `queries` selects the caption queries that it attends to."""
        if self.contrast is None:
            return self.project(self.caption(tokens, slice(0, 1))[:, 0])
        return self.project(self.contrast(self.caption(tokens, queries) if self.kind == "cascade" else tokens)[:, 0])

    def embed_each(self, tokens: Tensor) -> Tensor:
        """Tokens (B, P, D_image) -> (B, P, E): the embedding, not normalised, of each token alone.

        With a single token, every query gives the same output, so one query is enough.
        """
        alone = tokens.flatten(0, 1)[:, None]  # (B*P, 1, D)
        return self.embed(alone, slice(0, 1)).unflatten(0, tokens.shape[:2])  # (B, P, E)
