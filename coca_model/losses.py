"""The losses of the paper, and the ones that teach the embedded checkpoint, each a small function.

Axes: B batch, T text length, E embedding, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The two weights of paper equation 4, the sum of both losses, with the values of section 4.1.
CONTRASTIVE_WEIGHT = 1.0
CAPTIONING_WEIGHT = 2.0


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor | None = None) -> Tensor:
    """The symmetric cross-entropy over the batch: paper equation 2, but the mean of its two directions instead of their sum.

    Args:
        image, text: (B, E), each row of L2 norm 1; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        targets: (B, B), rows summing to 1, where several texts describe one picture; the identity when absent.
    """
    logits = scale * image @ text.T  # (B, B)
    if targets is None:
        targets = torch.eye(len(image), dtype=logits.dtype, device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets.T / targets.sum(0)[:, None])) / 2


def next_token_losses(hidden: Tensor, output: nn.Module, token_ids: Tensor, valid: Tensor) -> Tensor:
    """-log p of each next token (the terms of paper equation 3), natural logarithm.

    Args:
        hidden: (B, T, D), the decoder's last states; `output` brings them to logits (…, V), computed only where a word follows.
        token_ids: int64 (B, T); valid: bool (B, T), False on padding.

    Returns:
        float32 (B, T - 1): what token t + 1 costs, 0 on padding.
    """
    wanted = valid[:, 1:]
    costs = F.cross_entropy(output(hidden[:, :-1][wanted]).float(), token_ids[:, 1:][wanted], reduction="none")  # (words,)
    return torch.zeros_like(wanted, dtype=torch.float32).masked_scatter(wanted, costs)


def captioning_loss(hidden: Tensor, output: nn.Module, token_ids: Tensor, valid: Tensor) -> Tensor:
    """Mean over the words of `next_token_losses`, whose arguments it has; 0 where there is no word."""
    return next_token_losses(hidden, output, token_ids, valid).sum() / valid[:, 1:].sum().clamp(min=1)


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
