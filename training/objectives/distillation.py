"""Distillation: a small model learns from larger frozen ones, such as sentence encoders, classifiers and other image-text models.

Axes: B batch, E embedding, K classes. All vectors have L2 norm 1. `scale` is a scalar, 1 / temperature. Losses are scalars.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def imitation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine, plus a small contrastive term within the batch that separates similar sentences.

    Both are (B, E), of the same inputs. A batch of one has only the first term.
    """
    similar = student @ teacher.T  # (B, B)
    contrast = F.cross_entropy(20.0 * similar, torch.arange(len(student), device=student.device))
    return (1 - similar.diagonal()).mean() + 0.1 * contrast


def class_distillation_loss(image: Tensor, class_vectors: Tensor, probabilities: Tensor, scale: Tensor) -> Tensor:
    """Soft labels (Hinton et al. 2015, arXiv 1503.02531): the cross-entropy of a classifier's probabilities and our zero-shot ones.

    Zero-shot classification as in CLIP (Radford et al. 2021, section 3.1.2): a softmax over the cosines of the pictures (B, E) to
    `class_vectors` (K, E), the text embeddings of the class names. The `probabilities` (B, K) are the classifier's. The minimum of
    the loss, in nats, is their entropy, not 0.
    """
    return F.cross_entropy(scale * image @ class_vectors.T, probabilities.detach().to(image.dtype))


def relational_distillation_loss(
    image: Tensor, text: Tensor, teacher_image: Tensor, teacher_text: Tensor, *, scale: Tensor, teacher_scale: Tensor
) -> Tensor:
    """KL(teacher, student) in nats between the similarities of all pairs in the batch, in both directions.

    CLIP-KD calls it contrastive relational distillation (Yang et al. 2024, arXiv 2307.12732); its published code also takes
    the mean of both directions. TinyCLIP's affinity mimicking (Wu et al. 2023, ICCV) differs only by the teacher's entropy,
    which is constant. Only cosines are compared, so the teacher's vectors (B, E') may be wider than image and text (B, E).
    Row i of all four belongs to the same pair. The loss is 0 for a batch of one. The teacher gets no gradient.
    """
    logits = scale * image @ text.T  # (B, B)
    target = (teacher_scale * teacher_image @ teacher_text.T).detach().to(logits.dtype)  # (B, B)
    return (_divergence(target, logits) + _divergence(target.T, logits.T)) / 2


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    """The mean over rows of KL(softmax of `target`, softmax of `logits`), both (B, B)."""
    return F.kl_div(logits.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)
