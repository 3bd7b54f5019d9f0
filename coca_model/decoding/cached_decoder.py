"""One step of the two decoders after another, with everything they have read kept: the cost of a word does not grow with its place.

Kept are the keys and values of both decoders' self-attention, and those of the picture, which all words and all sentences about
it share. The ways to choose words, in `generate`, know only the protocol `Decoder`.

Axes: B pictures, G sentences for each, R = B * G rows, D width, Q caption queries, V vocabulary.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from coca_model.architecture.coca import CoCa
from coca_model.architecture.text_decoders import Past


class Decoder(Protocol):
    """What continues R sentences by one token at a time."""

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Append token_ids int64 (R,) -> float32 logits (R, V) of the token that follows, hidden states (R, D) of the one appended."""

    def select(self, rows: Tensor) -> None:
        """Go on with the sentences `rows` int64 (R',), repeated or left out; sentences about one picture stay together."""


class CachedDecoder:
    """The decoders of a CoCa for sentences about B pictures, or about none.

    The first step decides how many sentences each picture has.
    """

    def __init__(self, model: CoCa, caption_tokens: Tensor | None) -> None:
        self._model = model
        self._image = None if caption_tokens is None else model.multimodal.image_keys_values(caption_tokens)
        self._unimodal: Past | None = None
        self._multimodal: Past | None = None

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`; the first step's R is a multiple of the B pictures."""
        text_tokens, self._unimodal = self._model.unimodal.extend(token_ids[:, None], self._unimodal)
        hidden, self._multimodal = self._model.multimodal.extend(text_tokens, self._image, self._multimodal)
        hidden = hidden[:, -1]  # (R, D)
        return self._model.multimodal.output(hidden).float(), hidden

    def select(self, rows: Tensor) -> None:
        """See `Decoder.select`."""
        self._unimodal = self._unimodal and [kept.rows(rows) for kept in self._unimodal]
        self._multimodal = self._multimodal and [kept.rows(rows) for kept in self._multimodal]


class GuidedDecoder:
    """Classifier-free guidance (Kornblith et al. 2023, arXiv 2307.16686, section 3): p(word) (p(word | image) / p(word))^weight.

    A weight of 1 is no guidance; above it, captions say more of what is particular to the picture. One step costs two.
    """

    def __init__(self, seeing: Decoder, blind: Decoder, *, weight: float) -> None:
        self._seeing, self._blind, self._weight = seeing, blind, weight

    def step(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.step`; the hidden states are those with the picture."""
        logits, hidden = self._seeing.step(token_ids)
        blind = F.log_softmax(self._blind.step(token_ids)[0], dim=-1)
        return torch.lerp(blind, F.log_softmax(logits, dim=-1), self._weight), hidden

    def select(self, rows: Tensor) -> None:
        """See `Decoder.select`."""
        self._seeing.select(rows)
        self._blind.select(rows)
