"""Reranks a shortlist with the multimodal decoder, by how much a picture raises the likelihood of the text.

Two scores estimate the pointwise mutual information of text and picture, in nats, up to a constant for each text: log p(text | image)
- log p(text), and the cosine divided by the temperature of the contrastive loss (van den Oord et al. 2018, arXiv 1807.03748, section
2.3). So their weighted mean is the new score.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coca_model import Encoder
from search.collection.bucket.place import fetch_thumbnails
from search.collection.thumbnails import thumbnail_of
from search.hits import Hit

WEIGHT = 0.4  # of the decoder; measured, see docs/LOG.md


def rerank(hits: Sequence[Hit], text: str, encoder: Encoder, collection: Path, *, weight: float = WEIGHT) -> list[Hit]:
    """The same hits, sorted by cosine and decoder. Reads only their thumbnails in the folder `collection`.

    Raises:
        PictureError: a thumbnail is missing or broken.
    """
    if not hits:
        return []
    pictures = [thumbnail_of(collection, vars(hit)) for hit in hits]
    fetch_thumbnails(collection, pictures)
    evidence = encoder.score(pictures, [text])[:, 0] - encoder.score(None, [text])[0]
    cosines = np.array([hit.similarity for hit in hits])
    order = np.argsort(-fused(cosines, evidence, encoder.logit_scale, weight=weight), kind="stable")
    return [hits[index] for index in order]


def fused(cosines: NDArray[np.float64], evidence: NDArray[np.float32], logit_scale: float, *, weight: float) -> NDArray[np.float64]:
    """Cosines (N,) and log p(text | image) - log p(text) (N,) as one score (N,) in nats. Only differences between scores are meaningful."""
    return (1 - weight) * logit_scale * cosines + weight * evidence
