"""M3CoL: align mixtures of two pictures with the texts of both, and mixtures of two texts with both pictures.

Kumar et al. 2024, arXiv 2409.17777. The paper could not be read here, but the authors' summary and code could. The summary says that
inputs are mixed, except texts, whose embeddings are. The code for pictures and texts mixes the outputs of both encoders, and so do
we: it needs no second pass through the towers, and is the same for pixels and for cached features. What else was decided:
- Embeddings are mixed when they have the L2 norm 1 already, because only these are known for the whole batch.
- The partner of a row is the row before it. The order of a batch is random, so this is a random partner.
- The model's temperature replaces the fixed 0.1, and the mean of both losses their sum, so that a weight means as much as elsewhere.
- Texts of the same picture are all correct, as in `contrastive_loss`.
- After a third of the epochs the authors change to targets from the similarities within the other modality. A recipe can do
  the like with a second phase and `soft_contrastive`.

Axes: B batch, E embedding.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_CONCENTRATION = 0.15  # of the Beta distribution of the shares: most are near 0 or 1
_MIXED = 0.5  # share of the rows that are mixed


def draw_shares(count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """float32 (count, 2), 0..1: how much of each row's mixed picture, and mixed text, is its own. Half of the rows are not mixed."""
    shares = random.beta(_CONCENTRATION, _CONCENTRATION, (count, 2))
    return np.where(random.random((count, 2)) < _MIXED, shares, 1.0).astype(np.float32)


def mixed_contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """The mean of the losses of mixed pictures with texts, and of mixed texts with pictures, each in both directions, in nats.

    `image` and `text` are (B, E) of L2 norm 1, `targets` (B, B) as in `contrastive_loss`, `shares` (B, 2) from `draw_shares`. If
    nothing is mixed, this is `contrastive_loss`.
    """
    of_images = _mixed_loss(image, text, scale, targets, shares[:, :1])
    return (of_images + _mixed_loss(text, image, scale, targets, shares[:, 1:])) / 2


def _mixed_loss(mixed: Tensor, other: Tensor, scale: Tensor, targets: Tensor, share: Tensor) -> Tensor:
    """`share` is (B, 1). From a text to mixed pictures, the targets of a row sum to its shares in all mixtures, on average 1."""
    share, targets = share.to(mixed.dtype), targets.to(mixed.dtype)
    mixed = F.normalize(share * mixed + (1 - share) * mixed.roll(1, 0), dim=1)
    targets = share * targets + (1 - share) * targets.roll(1, 0)  # (B, B)
    logits = scale * mixed @ other.T
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets.T)) / 2
