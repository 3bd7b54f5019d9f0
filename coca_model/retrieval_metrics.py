"""Recall@k between texts and pictures by exact ranking; a tie counts against us."""

import numpy as np
from numpy.typing import NDArray


def recall_at(similarity: NDArray[np.float32], owner: NDArray[np.int64], ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Recall in percent, text to picture and picture to text.

    Args:
        similarity: (texts, pictures).
        owner: int64 (texts,), the picture that each text describes; every picture has at least one text.
    """
    own = similarity[np.arange(len(owner)), owner]
    others = ~(similarity < own[:, None])  # so that NaN, of a model that diverged, counts against us too
    text_rank = others.sum(1) - 1  # the text's own picture is not ahead of itself
    of_picture = owner[:, None] == np.arange(similarity.shape[1])
    best = np.where(of_picture, similarity, -np.inf).max(0)
    picture_rank = (~(similarity < best) & ~of_picture).sum(0)
    result = {f"text_to_picture_r{k}": round(100 * float((text_rank < k).mean()), 1) for k in ks}
    return result | {f"picture_to_text_r{k}": round(100 * float((picture_rank < k).mean()), 1) for k in ks}
