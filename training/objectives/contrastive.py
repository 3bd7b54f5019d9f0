"""Contrastive objectives: move a picture and its text together, and away from others.

Each is the mean of its two directions, picture to text and text to picture, so that a weight means the same for all of them.
They differ in what counts as a positive and a negative: other rows of the batch, which may come from all processes, or with
momentum contrast (COTS, Lu et al. 2022, CVPR, arXiv 2204.07441) earlier rows in queues (see `steps/student.py`), because a batch
that fits a small machine has few negatives. Of COTS only the abstract and summaries could be read here.

Axes: B batch, K rows in a queue, E embedding. In every loss `image`, `text`, `query` and `key` are float (B, E) with rows of L2
norm 1, row i of one belongs to row i of the other, and `scale` is a scalar, 1 / temperature. Losses are scalars in nats.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy over the batch: CoCa equation 2, but the mean of its two directions instead of their sum.

    `targets` is (B, B), for several texts of one picture: rows sum to 1 and no column is all zero. The default is the identity.
    The loss of a batch of one is 0.
    """
    logits = scale * image @ text.T  # (B, B)
    if targets is None:
        targets = torch.eye(len(image), device=logits.device)
    return _both_ways(logits, targets, targets.T)


def hard_negative_costs(image: Tensor, text: Tensor, false_text: Tensor, scale: Tensor) -> Tensor:
    """(B,), each -log of the probability that a picture goes with its text rather than with a false version of it.

    NegCLIP (Yuksekgonul et al. 2023, arXiv 2210.01936, section 4) adds false texts to the texts of the batch. Here a softmax over the
    two alone, because beside hundreds of other texts of a small batch one false text counts for little.
    """
    return F.softplus(scale * (image * (false_text - text)).sum(1))


def soft_targets(texts: Tensor, temperature: float = 0.05) -> Tensor:
    """(B, B) targets for `contrastive_loss`, rows summing to 1: texts with the same meaning share their pictures.

    `texts` (B, E) are vectors of a sentence encoder, each of L2 norm 1. Texts share if their cosine is within about `temperature` of 1.
    """
    return torch.softmax(texts @ texts.T / temperature, dim=1)


def same_picture(picture: Tensor) -> Tensor:
    """Bool (B, B): whether two rows have the same picture. `picture` is int64 (B,), numbered in any way."""
    return picture[:, None] == picture[None, :]


def same_picture_targets(picture: Tensor) -> Tensor:
    """float32 (B, B) targets for `contrastive_loss`: row i is evenly distributed over all rows with the picture of row i.

    `picture` is int64 (B,), the picture of each row, numbered in any way.
    """
    same = same_picture(picture).float()  # (B, B)
    return same / same.sum(1, keepdim=True)


def decoupled_contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, sigma: float | None = None) -> Tensor:
    """Decoupled contrastive learning: the positive is left out of the denominator (Yeh et al. 2022, arXiv 2110.06848).

    In a small batch the positive is much of the denominator of `contrastive_loss`, so a pair that is already close hardly
    pushes the others apart. The paper (equation 6) has two views of one picture, each with the rows of both views as
    negatives. Here, with two modalities, the negatives are the rows of the other modality only, as in `contrastive_loss`.

    With `sigma` (0.5 in published implementations) this is DCLW, which weights each positive by 2 - exp(cosine / sigma) / mean of
    exp(cosine / sigma) over the batch: more if a pair is still far apart. The weights have no gradient, as in lightly's
    implementation; we could not check this in the paper. The loss may be below 0. A batch of one has no negatives: -scale * cosine.
    """
    logits = scale * image @ text.T  # (B, B)
    positive = logits.diagonal()  # (B,)
    if sigma is not None:
        closeness = (image * text).sum(1).detach() / sigma  # (B,)
        positive = positive * (2 - len(closeness) * torch.softmax(closeness, dim=0))
    if len(logits) == 1:
        return -positive.mean()
    negative = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)
    return ((negative.logsumexp(1) + negative.logsumexp(0)) / 2 - positive).mean()


def continuously_weighted_contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, similarity: Tensor) -> Tensor:
    """CWCL: every row of the batch is a positive to the degree that it resembles the true one (Srinivasa et al. 2023, arXiv 2309.14580).

    The target of row j for row i is similarity[i, j] / sum of similarity[i]. (cosine + 1) / 2 hardly separates captions:
    unrelated ones still weigh about half as much as the true one, so use this beside `contrastive_loss`.

    `similarity` is (B, B), 0..1, the diagonal above 0, from a frozen encoder of one modality, see `similarity_of`.
    The loss of a batch of one is 0.
    """
    return _both_ways(scale * image @ text.T, similarity, similarity.T)


def similarity_of(vectors: Tensor) -> Tensor:
    """(B, B), 0..1, for `continuously_weighted_contrastive_loss`: (cosine + 1) / 2 of the rows of `vectors` (B, D). No gradient."""
    rows = F.normalize(vectors.detach(), dim=-1)
    return ((rows @ rows.T + 1) / 2).clamp(0, 1)


def _both_ways(logits: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """The mean cross-entropy of logits (B, B) and of their transpose, each with its targets, whose rows are scaled to sum to 1."""
    forward, backward = (target.to(logits.dtype) / target.to(logits.dtype).sum(1, keepdim=True) for target in (forward, backward))
    return (F.cross_entropy(logits, forward) + F.cross_entropy(logits.T, backward)) / 2


def retrieval_logits(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """The scaled similarity of each query to its own key (column 0) and to every row of the queue: (B, 1 + K).

    Keys and queue (K, E) are of the other modality, from its momentum tower; K may be 0. Only `query` and `scale` get a gradient.
    """
    positive = (query * key.detach()).sum(1, keepdim=True)  # (B, 1)
    negative = query @ queue.detach().to(query.dtype).T  # (B, K)
    return scale * torch.cat([positive, negative], dim=1)  # (B, 1+K)


def momentum_contrast_loss(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE of one direction with the queue's negatives (MoCo, He et al. 2020, equation 1; in COTS across modalities).

    COTS uses it twice: picture to text, and text to picture. Other rows of the batch are not negatives. 0 with an empty queue.
    """
    logits = retrieval_logits(query, key, queue, scale)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def kl_alignment_loss(image_to_text: Tensor, text_to_image: Tensor) -> Tensor:
    """COTS's task alignment: a picture's distribution over the queue of texts equals its text's distribution over their pictures.

    The paper calls it a KL divergence between the distributions of the two retrieval tasks. Its direction, and whether one
    distribution is held fixed, could not be verified. Here it is the mean of KL(p, q) and KL(q, p), with gradient to both.

    The arguments are `retrieval_logits` (B, 1 + K) of pictures against texts and of their texts against pictures. Column j
    belongs to the same pair in both. 0 with an empty queue.
    """
    p, q = image_to_text.log_softmax(1), text_to_image.log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2
