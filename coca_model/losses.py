"""The losses of the paper, and the ones that teach the embedded checkpoint, each a small function.

Axes: B batch, T text length, E embedding, V vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CONTRASTIVE_WEIGHT = 1.0  # paper, section 4.1
CAPTIONING_WEIGHT = 2.0


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy over the batch (paper equation 2).

    Args:
        image, text: (B, E), each row of L2 norm 1; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        targets: (B, B), rows summing to 1, where several texts describe one picture; the identity when absent.
    """
    logits = scale * image @ text.T  # (B, B)
    if targets is None:
        targets = torch.eye(len(image), dtype=logits.dtype, device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets.T / targets.sum(0)[:, None])) / 2


def captioning_loss(logits: Tensor, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Mean negative log-likelihood of each next token (paper equation 3).

    Args:
        logits: (B, T, V); logits[:, t] predicts token_ids[:, t + 1].
        token_ids: int64 (B, T); valid: bool (B, T), False on padding, which costs nothing.
    """
    wanted = token_ids[:, 1:].masked_fill(~valid[:, 1:], -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), ignore_index=-100)


def distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine plus a small in-batch contrast, which keeps near sentences apart. Both (B, E), rows of L2 norm 1."""
    similar = student @ teacher.T  # (B, B)
    contrast = F.cross_entropy(20.0 * similar, torch.arange(len(student), device=student.device))
    return (1 - similar.diagonal()).mean() + 0.1 * contrast


def soft_targets(texts: Tensor, temperature: float) -> Tensor:
    """(B, B) targets for `contrastive_loss`: captions that mean the same to a sentence encoder share their pictures.

    `texts` (B, E) are sentence embeddings of L2 norm 1. Rows sum to 1.
    """
    return torch.softmax(texts @ texts.T / temperature, dim=1)
