"""Incremental decoding with a KV cache: the cost of a token does not grow with the length of the sentence.

The cache holds the keys and values of both decoders' self-attention, and those of the picture, which all its sentences share.
The search methods in `generate` use only `step` and `select`.

Axes: B pictures, G sentences for each, R = B * G rows, D width, Q caption queries, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.text_decoders import Past


class CachedDecoder:
    """Continues R sentences about B pictures, one token at a time. Without caption tokens (B, Q, D) it ignores pictures.

    The first step sets the number of sentences for each picture.
    """

    def __init__(self, model: CoCa, caption_tokens: Tensor | None) -> None:
        self._model = model
        self._image = None if caption_tokens is None else model.multimodal.image_keys_values(caption_tokens)
        self._unimodal: Past | None = None
        self._multimodal: Past | None = None

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Append token_ids int64 (R,) -> float32 logits (R, V) of the next token, hidden states (R, D) of the appended one.

        In the first step R must be a multiple of B.
        """
        text_tokens, self._unimodal = self._model.unimodal.extend(token_ids[:, None], self._unimodal)
        hidden, self._multimodal = self._model.multimodal.extend(text_tokens, self._image, self._multimodal)
        hidden = hidden[:, -1]  # (R, D)
        return self._model.multimodal.output(hidden).float(), hidden

    def select(self, rows: Tensor) -> None:
        """Continue with the sentences `rows` int64 (R',). A row may be repeated or left out; keep those of a picture together."""
        self._unimodal = self._unimodal and [block[:, rows] for block in self._unimodal]
        self._multimodal = self._multimodal and [block[:, rows] for block in self._multimodal]


class GuidedDecoder:
    """Classifier-free guidance (Kornblith et al. 2023, arXiv 2307.16686, section 3): p(word) (p(word | image) / p(word))^weight.

    A weight of 1 means no guidance. A larger weight gives captions that are more specific to the picture. Each step runs both
    decoders.
    """

    def __init__(self, conditional: CachedDecoder, unconditional: CachedDecoder, *, weight: float) -> None:
        self._conditional, self._unconditional, self._weight = conditional, unconditional, weight

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """As `CachedDecoder.step`. The hidden states are those of the conditional decoder."""
        logits, hidden = self._conditional.step(token_ids)
        unconditional = F.log_softmax(self._unconditional.step(token_ids)[0], dim=-1)
        return torch.lerp(unconditional, F.log_softmax(logits, dim=-1), self._weight), hidden

    def select(self, rows: Tensor) -> None:
        """As `CachedDecoder.select`."""
        self._conditional.select(rows)
        self._unconditional.select(rows)


Decoder = CachedDecoder | GuidedDecoder
