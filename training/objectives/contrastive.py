"""Contrastive objectives: a picture and its text close together, and farther from the other rows of the batch.

Each is the mean of its two directions, picture to text and text to picture, so that a weight means the same for all of them.
They differ in what counts as right and what as wrong, the two things that a small batch and captions of everyday scenes make
doubtful. The rows may be those of one process or those gathered from all of them: nothing here asks where they came from.

Axes: B batch, E embedding.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy over the batch: CoCa equation 2, but the mean of its two directions instead of their sum.

    Args:
        image: float (B, E), each row of L2 norm 1.
        text: as `image`; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        targets: (B, B), rows summing to 1 and no column all zero, where several texts describe one picture; the identity when absent.

    Returns:
        A scalar, in nats; 0 for a batch of one.
    """
    logits = scale * image @ text.T  # (B, B)
    if targets is None:
        targets = torch.eye(len(image), device=logits.device)
    return _both_ways(logits, targets, targets.T)


def soft_targets(texts: Tensor, temperature: float) -> Tensor:
    """(B, B) targets for `contrastive_loss`: captions that mean the same to a sentence encoder share their pictures.

    `texts` (B, E) are sentence embeddings of L2 norm 1. Rows sum to 1.
    """
    return torch.softmax(texts @ texts.T / temperature, dim=1)


def same_picture_targets(picture: Tensor) -> Tensor:
    """(B, B) targets for `contrastive_loss` where rows repeat a picture, each with another of its captions: all of them are right.

    Args:
        picture: int64 (B,), which picture each row shows, by any numbering.

    Returns:
        float32 (B, B), rows summing to 1: row i is shared evenly by the rows that show the picture of row i.
    """
    same = (picture[:, None] == picture[None, :]).float()  # (B, B)
    return same / same.sum(1, keepdim=True)


def decoupled_contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, sigma: float | None = None) -> Tensor:
    """Decoupled contrastive learning: the right answer is left out of the denominator (Yeh et al. 2022, arXiv 2110.06848).

    In a small batch the positive makes up much of the denominator of `contrastive_loss`, and a pair that is already close
    then pushes the others apart hardly at all. The paper (equation 6) has two views of one picture, each with the rows of both
    views as negatives. Here, with two modalities, the negatives are the other modality's rows only, as in `contrastive_loss`.

    Args:
        image: float (B, E), each row of L2 norm 1.
        text: as `image`; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        sigma: None for DCL. A number (0.5 in published implementations) for DCLW, which weighs each positive by
            2 - exp(cosine / sigma) / mean of exp(cosine / sigma) over the batch: more where a pair is still far apart.
            The weights pass no gradient, as in lightly's implementation; we could not read in the paper whether they do.

    Returns:
        A scalar, in nats, without a lower bound of 0. A batch of one has no negatives: -scale * cosine is left.

    Raises:
        ValueError: `sigma` is not above 0.
    """
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma is not above 0 ({sigma}). Allowed: a number above 0, or None for no weights.")
    logits = scale * image @ text.T  # (B, B)
    positive = logits.diagonal()  # (B,)
    if sigma is not None:
        closeness = (image * text).sum(1).detach() / sigma  # (B,)
        positive = positive * (2 - len(closeness) * torch.softmax(closeness, dim=0))
    if len(logits) == 1:
        return -positive.mean()
    wrong = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)
    return ((wrong.logsumexp(1) + wrong.logsumexp(0)) / 2 - positive).mean()


def continuously_weighted_contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, likeness: Tensor, *, both: bool = True) -> Tensor:
    """CWCL: every row of the batch is right, as far as it is like the right one (Srinivasa et al. 2023, arXiv 2309.14580).

    Row i is asked for row j with the share likeness[i, j] / sum of likeness[i]. (cosine + 1) / 2 hardly tells captions apart:
    unrelated ones still weigh about half as much as the right one, so this is an objective beside `contrastive_loss`.

    Args:
        image: float (B, E), each row of L2 norm 1.
        text: as `image`; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        likeness: (B, B), 0..1, its diagonal above 0: similarities inside one modality by a frozen encoder of it, see `likeness_of`.
        both: whether both directions are weighted. False weighs only the one that starts at `image`, and gives the way back
            one right answer, as works that cite the paper say of its transfer from one pretrained modality to another.

    Returns:
        A scalar, in nats; 0 for a batch of one.
    """
    logits = scale * image @ text.T  # (B, B)
    back = likeness.T if both else torch.eye(len(image), device=logits.device)
    return _both_ways(logits, likeness, back)


def likeness_of(vectors: Tensor) -> Tensor:
    """(B, B), 0..1, for `continuously_weighted_contrastive_loss`: (cosine + 1) / 2 between the rows of `vectors` (B, D). No gradient."""
    rows = F.normalize(vectors.detach(), dim=-1)
    return ((rows @ rows.T + 1) / 2).clamp(0, 1)


def _both_ways(logits: Tensor, there: Tensor, back: Tensor) -> Tensor:
    """Mean of the cross-entropies of logits (B, B) and of their transpose, each with its targets, whose rows are made to sum to 1."""
    there, back = (wanted.to(logits.dtype) / wanted.to(logits.dtype).sum(1, keepdim=True) for wanted in (there, back))
    return (F.cross_entropy(logits, there) + F.cross_entropy(logits.T, back)) / 2
