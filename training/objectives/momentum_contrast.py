"""Momentum contrast between two modalities, with queues of negatives: COTS (Lu et al. 2022, CVPR, arXiv 2204.07441).

A batch that fits a small machine holds few wrong answers. COTS takes them from queues instead: momentum copies of both towers
embed every batch, and what they gave for the last batches stays in a queue for each modality. The towers then learn instance
alignment (`momentum_contrast_loss`, one call for each direction) and task alignment (`kl_alignment_loss`).

Of the paper only its abstract and summaries of it could be read here. What they leave open is marked where it is decided.

Axes: B batch, K rows in a queue, E embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EmbeddingQueue(nn.Module):
    """The last `length` embeddings pushed, as buffers: they move with the module and are saved in its state dict.

    Two queues that are always pushed together hold row j of a picture and of its text at the same place, which
    `kl_alignment_loss` needs. Under DistributedDataParallel push the rows gathered from all processes, the same in each.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"A queue has no room ({length}). Allowed: a length of at least 1.")
        self.rows: Tensor
        self.pushed: Tensor
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # in all, so that it also tells the next place

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.rows))

    def forward(self) -> Tensor:
        """(K, E), each row of L2 norm 1, K only what is there yet. A copy, so that a push before `backward` does not reach it."""
        return self.rows[: len(self)].clone()

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Take in rows (B, E), normalised here, over the oldest ones. Of more rows than there is room for, the last stay."""
        length, start = len(self.rows), int(self.pushed) + max(len(rows) - len(self.rows), 0)
        kept = F.normalize(rows[-length:].to(self.rows.dtype), dim=-1)  # (min(B, length), E)
        places = (start + torch.arange(len(kept), device=self.rows.device)) % length
        self.rows[places] = kept
        self.pushed += len(rows)


def retrieval_logits(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """How well each query fits its own key (column 0) and every row of the queue.

    Args:
        query: float (B, E), each row of L2 norm 1, of one modality.
        key: (B, E), each row of L2 norm 1, of the other, by its momentum tower; row i belongs to row i of `query`.
        queue: (K, E), of the other modality, see `EmbeddingQueue`; K may be 0.
        scale: scalar, 1 / temperature.

    Returns:
        (B, 1 + K). Only `query` and `scale` get a gradient.
    """
    right = (query * key.detach()).sum(1, keepdim=True)  # (B, 1)
    wrong = query @ queue.detach().to(query.dtype).T  # (B, K)
    return scale * torch.cat([right, wrong], dim=1)  # (B, 1+K)


def momentum_contrast_loss(query: Tensor, key: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE of one direction with the queue's negatives (MoCo, He et al. 2020, equation 1; in COTS across modalities).

    The arguments are those of `retrieval_logits`. COTS has it twice: a picture asks for its text among texts, a text for its
    picture among pictures.

    Returns:
        A scalar, in nats: the mean over the batch, whose other rows are no negatives, so a batch of one is as any other.
        0 with an empty queue.
    """
    logits = retrieval_logits(query, key, queue, scale)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def kl_alignment_loss(image_to_text: Tensor, text_to_image: Tensor) -> Tensor:
    """COTS's task alignment: a picture spreads over the texts of the queue as its text spreads over their pictures.

    The paper calls it a KL divergence between the distributions of the two retrieval tasks; which of them comes first, and
    whether one is held fixed, could not be verified. Here it is the mean of KL(p, q) and KL(q, p), with gradient to both.

    Args:
        image_to_text: (B, 1 + K), `retrieval_logits` of pictures against texts.
        text_to_image: (B, 1 + K), of their texts against pictures; column j belongs to the same pair in both.

    Returns:
        A scalar, in nats: the mean over the batch, of one row too; 0 with an empty queue.

    Raises:
        ValueError: The shapes differ.
    """
    if image_to_text.shape != text_to_image.shape:
        shapes = f"{tuple(image_to_text.shape)}, {tuple(text_to_image.shape)}"
        raise ValueError(f"The two retrieval tasks have different shapes ({shapes}). Push to both queues together.")
    p, q = image_to_text.log_softmax(1), text_to_image.log_softmax(1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2


@torch.no_grad()
def update_momentum(momentum_module: nn.Module, module: nn.Module, momentum: float) -> None:
    """In place, parameter = momentum * parameter + (1 - momentum) * that of `module` (MoCo, He et al. 2020, equation 2).

    Buffers stay as they are: what a momentum module counts by itself is its own.

    Raises:
        ValueError: The modules have different parameters, or `momentum` is none.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is out of range ({momentum}). Allowed: 0..1.")
    slow, fast = list(momentum_module.parameters()), list(module.parameters())
    if [parameter.shape for parameter in slow] != [parameter.shape for parameter in fast]:
        raise ValueError(f"The modules have different parameters ({len(slow)}, {len(fast)}). Make one by copy.deepcopy of the other.")
    for parameter, newer in zip(slow, fast, strict=True):
        parameter.lerp_(newer.to(parameter.dtype), 1 - momentum)
