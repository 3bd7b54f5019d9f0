"""SimLAP: any two labels share something, so a picture of one is near the text of the other in a subspace that the labels choose.

Wu et al. 2024, arXiv 2410.18200. The abstract and an author's code could be read here. The paper has classes of pictures; the gate of a
pair of classes comes from learned embeddings of both, and pictures of two classes are compared. What was decided here:
- The label of a row is its text, as a vector of the sentence teacher. Two rows share a label if they have the same picture, or if
  the cosine of their vectors is at least 0.9.
- Each label has a gate, and the gate of a pair is the product of both: an option in the author's code. So a gate is computed
  once for each row, and a dimension stays open if both labels open it. The gates have no batch norm, which would depend on
  micro-batches, and no penalty, whose form we do not know.
- Pictures are compared with texts, and texts with pictures, at the model's temperature.
- The partner of a row is the row before it. The order of a batch is random, so the pair is arbitrary.

Axes: B batch, E embedding, E' vectors of the sentence teacher.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.objectives.contrastive import same_picture

_SAME_LABEL = 0.9  # the cosine of two texts


class LabelGate(nn.Module):
    """The gate of a label: float (B, E') -> (B, E), 0..1, how much each dimension of the embeddings counts."""

    def __init__(self, label_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(label_width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid())

    def forward(self, labels: Tensor) -> Tensor:
        """The gates of sentence vectors (B, E')."""
        return self.layers(labels)


def share_a_label(meaning: Tensor, picture: Tensor) -> Tensor:
    """Bool (B, B): whether rows have the same picture, int64 (B,), or nearly the same text. `meaning` is (B, E') of L2 norm 1."""
    return (meaning @ meaning.T >= _SAME_LABEL) | same_picture(picture)


def arbitrary_pairs_loss(image: Tensor, text: Tensor, scale: Tensor, gate: Tensor, same: Tensor) -> Tensor:
    """The mean over both directions of -log p of the partner's label, within the subspace of both labels, in nats.

    Row i is compared with all rows after both are multiplied by gate[i] * gate[i - 1] and scaled to norm 1. Rows with the label of row
    i - 1 are positives, each against the negatives only. Rows with neither label are negatives.

    `image` and `text` are (B, E) of L2 norm 1, `gate` (B, E) from `LabelGate`, `same` bool (B, B) from `share_a_label`. Rows without a
    negative cost 0.
    """
    pair = gate * gate.roll(1, 0)  # (B, E)
    positive = same.roll(1, 0)  # (B, B), row i has the labels of row i - 1
    negative = ~(same | positive)
    ways = [_one_way(one, other, pair, scale, positive, negative) for one, other in ((image, text), (text, image))]
    return (ways[0] + ways[1]) / 2


def _one_way(query: Tensor, key: Tensor, gate: Tensor, scale: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    opened = gate.square()  # both sides have the gate
    lengths = [(opened * query.square()).sum(1, keepdim=True), opened @ key.square().T]  # squared: (B, 1), (B, B)
    logits = scale * ((opened * query) @ key.T) / (lengths[0] * lengths[1]).clamp(min=1e-16).sqrt()  # (B, B)
    others = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)  # (B, 1)
    costs = F.softplus(others - logits)  # -log of the positive's share of itself and the negatives
    return torch.where(positive & negative.any(1, keepdim=True), costs, 0).sum() / positive.sum()
