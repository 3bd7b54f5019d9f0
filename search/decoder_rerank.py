"""Reranks a shortlist with the multimodal decoder: how much likelier the text is with the picture than without.

log p(text | image) - log p(text) and the cosine divided by the temperature of the contrastive loss both estimate, in nats, how much
more often the two go together than by chance (van den Oord et al. 2018, arXiv 1807.03748, section 2.3), up to a constant for each text.
So they are averaged with one weight.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from search.collection.thumbnails import thumbnail_of
from search.hits import Hit

WEIGHT = 0.4  # of the decoder; measured, see docs/LOG.md


def rerank(hits: Sequence[Hit], text: str, encoder: Encoder, collection: Path, *, weight: float = WEIGHT) -> list[Hit]:
    """The same hits, best first by cosine and decoder. Only their thumbnails in the folder `collection` are read.

    Raises:
        PictureError: a thumbnail is missing or broken.
    """
    if not hits:
        return []
    pictures = [thumbnail_of(collection, vars(hit)) for hit in hits]
    evidence = encoder.score(pictures, [text])[:, 0] - encoder.score(None, [text])[0]
    cosines = np.array([hit.similarity for hit in hits])
    order = np.argsort(-fused(cosines, evidence, encoder.logit_scale, weight=weight), kind="stable")
    return [hits[index] for index in order]


def fused(cosines: NDArray[np.float64], evidence: NDArray[np.float32], logit_scale: float, *, weight: float) -> NDArray[np.float64]:
    """Cosines (N,) and log p(text | image) - log p(text) (N,) as one score (N,) in nats. Only differences mean something."""
    return (1 - weight) * logit_scale * cosines + weight * evidence
