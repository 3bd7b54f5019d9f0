"""Momentum contrast between two modalities: COTS (Lu et al. 2022, CVPR, arXiv 2204.07441).

A batch that fits a small machine has few negatives. COTS takes them from queues (see `steps/momentum.py`). The towers learn
instance alignment (`momentum_contrast_loss`, once for each direction) and task alignment (`kl_alignment_loss`).

Of the paper only the abstract and summaries could be read here. Comments mark the decisions that these leave open.

Axes: B batch, K rows in a queue, E embedding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def retrieval_logits(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """The scaled similarity of each query to its own key (column 0) and to every row of the queue.

    Args:
        query: float (B, E), each row of L2 norm 1, of one modality.
        key: (B, E), each row of L2 norm 1, of the other modality, from its momentum tower; row i belongs to row i of `query`.
        queue: (K, E), of the other modality, see `EmbeddingQueue`; K may be 0.
        scale: scalar, 1 / temperature.

    Returns:
        (B, 1 + K). Only `query` and `scale` get a gradient.
    """
    positive = (query * key.detach()).sum(1, keepdim=True)  # (B, 1)
    negative = query @ queue.detach().to(query.dtype).T  # (B, K)
    return scale * torch.cat([positive, negative], dim=1)  # (B, 1+K)


def momentum_contrast_loss(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE of one direction with the queue's negatives (MoCo, He et al. 2020, equation 1; in COTS across modalities).

    The arguments are those of `retrieval_logits`. COTS uses it twice: picture to text, and text to picture.

    Returns:
        A scalar in nats, the mean over the batch. Other rows of the batch are not negatives. 0 with an empty queue.
    """
    logits = retrieval_logits(query, key, queue, scale)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def kl_alignment_loss(image_to_text: Tensor, text_to_image: Tensor) -> Tensor:
    """COTS's task alignment: a picture's distribution over the queue of texts equals its text's distribution over their pictures.

    The paper calls it a KL divergence between the distributions of the two retrieval tasks. Its direction, and whether one
    distribution is held fixed, could not be verified. Here it is the mean of KL(p, q) and KL(q, p), with gradient to both.

    Args:
        image_to_text: (B, 1 + K), `retrieval_logits` of pictures against texts.
        text_to_image: (B, 1 + K), of their texts against pictures; column j belongs to the same pair in both.

    Returns:
        A scalar in nats, the mean over the batch; 0 with an empty queue.

    Raises:
        ValueError: The shapes differ.
    """
    if image_to_text.shape != text_to_image.shape:
        shapes = f"{tuple(image_to_text.shape)}, {tuple(text_to_image.shape)}"
        raise ValueError(f"The two retrieval tasks have different shapes ({shapes}). Push to both queues together.")
    p, q = image_to_text.log_softmax(1), text_to_image.log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2
