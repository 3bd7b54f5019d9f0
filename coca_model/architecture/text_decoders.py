"""The text decoder in two halves: unimodal layers see only text, multimodal layers also see the image (paper section 3.2).

Axes: B pictures, G sentences for each, R = B * G sentences, T text length, D width, E embedding, Q caption queries, V vocabulary.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coca_model.architecture.config import TextConfig
from coca_model.architecture.transformer import KV, Block

Past = list[KV]  # the KV cache: for each block, the keys and values of its self-attention so far


class UnimodalDecoder(nn.Module):
    """token ids (R, T) -> text embedding (R, E) and text tokens (R, T, D).

    A learned CLS token follows the sentence. With causal attention it sees the whole sentence, but no word sees it. So one pass
    gives both the contrastive and the captioning loss (paper section 3.2).
    """

    def __init__(self, config: TextConfig, *, embedding_width: int) -> None:
        super().__init__()
        self.open_clip = config.layout == "open_clip"
        self.context_length = config.context_length
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)
        self.position = nn.Parameter(torch.empty(config.context_length + self.open_clip, config.width).normal_(std=0.01))
        self.cls = nn.Parameter(torch.empty(config.width).normal_(std=0.02))
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_width) for _ in range(config.unimodal_layers))
        self.cls_norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, embedding_width, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, token_ids: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """token_ids int64 (R, T), valid bool (R, T), False on padding -> embedding (R, E), not normalised, tokens (R, T, D)."""
        length = token_ids.shape[1]
        if self.open_clip and length < self.context_length:  # its CLS also attends to the first padding token
            token_ids, valid = F.pad(token_ids, (0, 1)), F.pad(valid, (0, 1))
        x = self.token_embedding(token_ids) + self.position[: token_ids.shape[1]]  # (R, T, D)
        cls = self.cls + self.position[-1] if self.open_clip else self.cls
        x = torch.cat([x, cls.expand(len(x), 1, -1)], dim=1)  # (R, T+1, D)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        one = valid.new_ones(len(valid), 1)
        visible = torch.cat([one, valid] if self.open_clip else [valid, one], dim=1)  # (R, T+1); open_clip shifts the mask by one
        mask = causal & visible[:, None, None, :]  # (R, 1, T+1, T+1)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.project(self.cls_norm(x[:, -1])), x[:, :length]

    def extend(self, token_ids: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """token_ids int64 (R, T) that follow those of `past` -> text tokens (R, T, D), and the extended past.

        CLS is left out, because no word sees it. Padding must follow the sentence, where no word sees it either.
        """
        start = 0 if past is None else past[0].shape[3]
        x = self.token_embedding(token_ids) + self.position[start : start + token_ids.shape[1]]  # (R, T, D)
        return _extend(self.blocks, x, past, None)


class MultimodalDecoder(nn.Module):
    """text tokens (R, T, D), caption tokens (B, Q, D) -> logits (R, T, V) of the next token."""

    def __init__(self, config: TextConfig, token_embedding: nn.Embedding) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_width, cross=True, open_clip=config.layout == "open_clip")
            for _ in range(config.multimodal_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.vocabulary_size, bias=False)
        if config.tied_output:
            self.output.weight = token_embedding.weight

    def forward(self, text_tokens: Tensor, image_tokens: Tensor | None) -> Tensor:
        """Without `image_tokens` this is a language model: log p(text) instead of log p(text | image)."""
        return self.output(self.hidden(text_tokens, image_tokens))  # (R, T, V)

    def hidden(self, text_tokens: Tensor, image_tokens: Tensor | None) -> Tensor:
        """Like `forward`, before the projection to the vocabulary: (R, T, D)."""
        return self.extend(text_tokens, None if image_tokens is None else self.image_keys_values(image_tokens))[0]

    def image_keys_values(self, image_tokens: Tensor) -> list[KV]:
        """Caption tokens (B, Q, D) -> for each block, the keys and values of its cross-attention."""
        return [block.image_keys_values(image_tokens) for block in cast("list[Block]", self.blocks)]

    def extend(self, text_tokens: Tensor, image: list[KV] | None, past: Past | None = None) -> tuple[Tensor, Past]:
        """Text tokens (R, T, D) that follow those of `past` -> hidden states (R, T, D), and the extended past.

        `image` comes from `image_keys_values` of B pictures, R = B * G: each G consecutive sentences are about the same picture.
        """
        x, past = _extend(self.blocks, text_tokens, past, image)
        return self.norm(x), past


def _extend(blocks: nn.ModuleList, x: Tensor, past: Past | None, image: list[KV] | None) -> tuple[Tensor, Past]:
    """Run causal blocks on x (R, T, D). After a `past`, T must be 1; the token attends to all of the past."""
    assert past is None or x.shape[1] == 1, "tokens after a past come one at a time"
    extended: Past = []
    for i, block in enumerate(cast("list[Block]", blocks)):
        x, keys_values = block.extend(x, past[i] if past else None, image[i] if image else None, causal=not past)
        extended.append(keys_values)
    return x, extended
