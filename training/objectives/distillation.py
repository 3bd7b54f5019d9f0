"""What a small model learns from larger ones that are frozen: sentence encoders, classifiers, other picture-text models.

Axes: B batch, E embedding, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def imitation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine plus a small in-batch contrast, which keeps near sentences apart.

    Args:
        student: float (B, E), each row of L2 norm 1.
        teacher: as `student`, what the sentence encoder gives for the same sentences.

    Returns:
        A scalar; 1 - cosine alone for a batch of one.
    """
    similar = student @ teacher.T  # (B, B)
    contrast = F.cross_entropy(20.0 * similar, torch.arange(len(student), device=student.device))
    return (1 - similar.diagonal()).mean() + 0.1 * contrast


def class_distillation_loss(image: Tensor, class_vectors: Tensor, probabilities: Tensor, scale: Tensor) -> Tensor:
    """Soft labels (Hinton et al. 2015, arXiv 1503.02531): the cross-entropy of a classifier's answer against ours by class names.

    Our answer is zero-shot classification as CLIP does it (Radford et al. 2021, section 3.1.2): a softmax over the cosines to
    the texts of the classes. The classifier's temperature is whatever made its `probabilities`.

    Args:
        image: float (B, E), each row of L2 norm 1.
        class_vectors: (K, E), each row of L2 norm 1: the text embedding of each class's name.
        probabilities: (B, K), rows summing to 1: what the classifier gave for the same pictures.
        scale: scalar, 1 / temperature.

    Returns:
        A scalar, in nats: the mean over the batch, of one row too. At least the entropy of `probabilities`, so not 0 at its best.
    """
    return F.cross_entropy(scale * image @ class_vectors.T, probabilities.detach().to(image.dtype))


def relational_distillation_loss(
    image: Tensor, text: Tensor, teacher_image: Tensor, teacher_text: Tensor, *, scale: Tensor, teacher_scale: Tensor
) -> Tensor:
    """The student's batch looks to it as the teacher's does to the teacher: KL of their similarity distributions, both ways.

    CLIP-KD calls it contrastive relational distillation (Yang et al. 2024, arXiv 2307.12732), whose published code has this
    mean of both directions; TinyCLIP's affinity mimicking (Wu et al. 2023, ICCV) is the same but for the teacher's entropy,
    which is constant. Only cosines are compared, so the teacher's embedding may have another width.

    Args:
        image: float (B, E), each row of L2 norm 1.
        text: as `image`; row i of one belongs to row i of the other.
        teacher_image: (B, E'), each row of L2 norm 1: the teacher's, of the same pictures.
        teacher_text: (B, E'), of the same texts.
        scale: scalar, the student's 1 / temperature.
        teacher_scale: scalar, the teacher's.

    Returns:
        A scalar, in nats: KL(teacher, student). 0 where they agree, and for a batch of one. Without gradient to the teacher.
    """
    ours = scale * image @ text.T  # (B, B)
    wanted = (teacher_scale * teacher_image @ teacher_text.T).detach().to(ours.dtype)  # (B, B)
    return (_divergence(wanted, ours) + _divergence(wanted.T, ours.T)) / 2


def _divergence(wanted: Tensor, logits: Tensor) -> Tensor:
    """Mean over rows of KL(softmax of `wanted`, softmax of `logits`), both (B, B)."""
    return F.kl_div(logits.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
