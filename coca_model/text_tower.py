"""The decoder, cut in two: unimodal layers that see only text, multimodal layers that also see the image (paper 3.2).

Axes: B batch, T text length, D width, E embedding, Q caption queries, V vocabulary.
"""

import torch
from torch import Tensor, nn

from coca_model.config import TextConfig
from coca_model.transformer import Block


class UnimodalDecoder(nn.Module):
    """token ids (B, T) -> text embedding (B, E) and text tokens (B, T, D).

    A learned CLS token is appended behind the sentence; causal attention lets it see all of the sentence and lets no
    word see it, so one pass serves the contrastive and the captioning loss (paper section 3.2).
    """

    def __init__(self, config: TextConfig, *, embedding_width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.position = nn.Parameter(torch.randn(config.context_length, config.width) * 0.01)
        self.cls = nn.Parameter(torch.randn(config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_width) for _ in range(config.unimodal_layers))
        self.cls_norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, embedding_width, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, token_ids: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """token_ids int64 (B, T), valid bool (B, T) that is False on padding -> embedding (B, E), not normalised, tokens (B, T, D)."""
        batch, length = token_ids.shape
        x = self.token_embedding(token_ids) + self.position[:length]  # (B, T, D)
        x = torch.cat([x, self.cls.expand(batch, 1, -1)], dim=1)  # (B, T+1, D)
        causal = torch.ones(length + 1, length + 1, dtype=torch.bool, device=x.device).tril()
        seen = torch.cat([valid, valid.new_ones(batch, 1)], dim=1)  # (B, T+1)
        mask = causal & seen[:, None, None, :]  # (B, 1, T+1, T+1)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.project(self.cls_norm(x[:, -1])), x[:, :-1]


class MultimodalDecoder(nn.Module):
    """text tokens (B, T, D), caption tokens (B, Q, D) -> logits (B, T, V) of the next token."""

    def __init__(self, config: TextConfig, token_embedding: nn.Embedding) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_width, cross=True) for _ in range(config.multimodal_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.vocabulary_size, bias=False)
        if config.tied_output:
            self.output.weight = token_embedding.weight

    def forward(self, text_tokens: Tensor, image_tokens: Tensor | None) -> Tensor:
        """Without `image_tokens` this is a language model: log p(text) instead of log p(text | image)."""
        return self.output(self.hidden(text_tokens, image_tokens))  # (B, T, V)

    def hidden(self, text_tokens: Tensor, image_tokens: Tensor | None) -> Tensor:
        """As `forward`, before the projection to the vocabulary: (B, T, D)."""
        x = text_tokens
        for block in self.blocks:
            x = block(x, image_tokens, causal=True)
        return self.norm(x)
