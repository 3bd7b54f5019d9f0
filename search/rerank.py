"""The order of a shortlist by the multimodal decoder too: how much likelier the words are with the picture than without.

log p(text | image) - log p(text) and the cosine over the temperature of the contrastive loss both estimate, in nats, how much
more often the two go together than by chance (van den Oord et al. 2018, arXiv 1807.03748, section 2.3), up to a constant for each text.
So they are averaged as they are, with one weight.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from search.hits import Hit
from search.thumbnails import thumbnail_path

WEIGHT = 0.4  # of the decoder; measured, see docs/LOG.md


def rerank(hits: Sequence[Hit], text: str, encoder: Encoder, collection: Path, *, weight: float = WEIGHT) -> list[Hit]:
    """The same hits, best first by both; `collection` holds their thumbnails, which are all that is read.

    Raises:
        PictureError: a thumbnail is missing or broken.
    """
    if not hits:
        return []
    pictures = [thumbnail_path(collection, hit.media_id, hit.frame_seconds) for hit in hits]
    evidence = encoder.score(pictures, [text])[:, 0] - encoder.score(None, [text])[0]
    cosines = np.array([hit.similarity for hit in hits])
    order = np.argsort(-fused(cosines, evidence, encoder.logit_scale, weight=weight), kind="stable")
    return [hits[place] for place in order]


def fused(cosines: NDArray[np.float64], evidence: NDArray[np.float32], logit_scale: float, *, weight: float) -> NDArray[np.float64]:
    """Cosines (N,) and log p(text | image) - log p(text) (N,) as one score (N,) in nats; only differences mean something."""
    return (1 - weight) * logit_scale * cosines + weight * evidence
