"""The objectives that a recipe can switch on, by name.

Two kinds. Those of *rows* cost each word for itself, inside the student's forward pass. Those of the *whole* batch compare its
rows with each other: small functions, in `*_losses.py`, on the embeddings of all ranks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from training.errors import TrainingError
from training.objectives import masked_heads as hidden_parts
from training.objectives.contrastive import (
    continuously_weighted_contrastive_loss,
    contrastive_loss,
    decoupled_contrastive_loss,
    likeness_of,
    same_picture_targets,
    soft_targets,
)
from training.objectives.distillation import class_distillation_loss, imitation_loss, relational_distillation_loss
from training.objectives.momentum_contrast import kl_alignment_loss, momentum_contrast_loss, retrieval_logits
from training.recipe import Phase, Recipe

_CLASS_SCALE = 20.0  # what a cosine to a class name is multiplied by
_SAME_MEANING = 0.05  # temperature: captions whose cosine is within about so much of 1 share their pictures


@dataclass(frozen=True)
class Whole:
    """The whole batch, of all ranks and micro-batches, as the objectives compare it.

    Attributes:
        image, text: float32 (B, E), L2 norm 1; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        picture: int64 (B,), which picture each row shows.
        meaning: float32 (B, E'), the sentence teacher's vectors of the texts.
        sentence, sentence_meaning: (S, E), (S, E'), of sentences without a picture.
        probabilities: float32 (B, K), the class teacher's; class_vectors: (K, E'), the sentence teacher's of the class names.
        teacher_image: (B, E''), the image teacher's vectors of the pictures; teacher_scale: scalar, its 1 / temperature.
        image_key, text_key: (B, E), what the momentum model makes of the batch; image_queue, text_queue: (Q, E), of earlier ones.
    """

    scale: Tensor
    image: Tensor | None = None
    text: Tensor | None = None
    picture: Tensor | None = None
    meaning: Tensor | None = None
    sentence: Tensor | None = None
    sentence_meaning: Tensor | None = None
    probabilities: Tensor | None = None
    class_vectors: Tensor | None = None
    teacher_image: Tensor | None = None
    teacher_scale: Tensor | None = None
    image_key: Tensor | None = None
    text_key: Tensor | None = None
    image_queue: Tensor | None = None
    text_queue: Tensor | None = None

    def get(self, name: str) -> Tensor:
        """A part that an objective needs. Raises TrainingError where the recipe did not bring it about."""
        value = getattr(self, name)
        if value is None:
            raise TrainingError(f"An objective needs {name!r}, which this recipe does not give. {_LACKING[name]}")
        return cast("Tensor", value)


_PICTURES = "Give its phase a batch of pictures."
_SENTENCES = 'Name a sentence_teacher, such as "minilm".'
_CLASSES = "Name a class_teacher and a sentence_teacher."
_IMAGES = "Name an image_teacher, a checkpoint."
_LACKING = {
    "image": _PICTURES,
    "text": _PICTURES,
    "picture": _PICTURES,
    "meaning": _SENTENCES,
    "sentence": "Give its phase a number of sentences.",
    "sentence_meaning": _SENTENCES,
    "probabilities": _CLASSES,
    "class_vectors": _CLASSES,
    "teacher_image": _IMAGES,
    "teacher_scale": _IMAGES,
    "text_key": _PICTURES,
}


def _contrastive(batch: Whole) -> Tensor:
    return contrastive_loss(batch.get("image"), batch.get("text"), batch.scale, same_picture_targets(batch.get("picture")))


def _soft_contrastive(batch: Whole) -> Tensor:
    return contrastive_loss(batch.get("image"), batch.get("text"), batch.scale, soft_targets(batch.get("meaning"), _SAME_MEANING))


def _contrastive_to_teacher(batch: Whole) -> Tensor:
    meaning = batch.get("meaning")
    return contrastive_loss(batch.get("image"), meaning, batch.scale, soft_targets(meaning, _SAME_MEANING))


def _decoupled(batch: Whole) -> Tensor:
    return decoupled_contrastive_loss(batch.get("image"), batch.get("text"), batch.scale, None)


def _weighted_decoupled(batch: Whole) -> Tensor:
    return decoupled_contrastive_loss(batch.get("image"), batch.get("text"), batch.scale, 0.5)


def _continuously_weighted(batch: Whole) -> Tensor:
    return continuously_weighted_contrastive_loss(batch.get("image"), batch.get("text"), batch.scale, likeness_of(batch.get("meaning")))


def _sentence_distillation(batch: Whole) -> Tensor:
    seen = [part for part in (batch.text, batch.sentence) if part is not None]
    meant = [part for part in (batch.meaning, batch.sentence_meaning) if part is not None]
    if len(seen) != len(meant):
        batch.get("meaning" if batch.text is not None else "sentence_meaning")
    return imitation_loss(torch.cat(seen), torch.cat(meant))


def _class_distillation(batch: Whole) -> Tensor:
    vectors = batch.get("class_vectors")
    return class_distillation_loss(
        batch.get("image"), vectors, batch.get("probabilities"), torch.tensor(_CLASS_SCALE, device=vectors.device)
    )


def _image_distillation(batch: Whole) -> Tensor:
    image, teacher = batch.get("image"), batch.get("teacher_image")
    if image.shape != teacher.shape:
        raise TrainingError(
            f"The image teacher's vectors have another width ({teacher.shape[1]}) than the model's ({image.shape[1]}). "
            "Use relational_distillation, which compares only cosines."
        )
    return imitation_loss(image, teacher)


def _relational_distillation(batch: Whole) -> Tensor:
    teacher, meaning = batch.get("teacher_image"), batch.get("meaning")
    if teacher.shape != meaning.shape:
        raise TrainingError(
            f"The image teacher's vectors ({teacher.shape[1]} wide) and the sentence teacher's ({meaning.shape[1]}) are of two spaces. "
            "Name one checkpoint as both."
        )
    return relational_distillation_loss(
        batch.get("image"), batch.get("text"), teacher, meaning, scale=batch.scale, teacher_scale=batch.get("teacher_scale")
    )


def _queries(batch: Whole) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """Pictures asking for texts, and texts for pictures: the query, its key and the wrong answers of each."""
    return (
        (batch.get("image"), batch.get("text_key"), batch.get("text_queue")),
        (batch.get("text"), batch.get("image_key"), batch.get("image_queue")),
    )


def _momentum_contrast(batch: Whole) -> Tensor:
    one, other = (momentum_contrast_loss(*asked, batch.scale) for asked in _queries(batch))
    return (one + other) / 2


def _kl_alignment(batch: Whole) -> Tensor:
    return kl_alignment_loss(*(retrieval_logits(*asked, batch.scale) for asked in _queries(batch)))


OF_ROWS = ("captioning", "language", *hidden_parts.NAMES)
OF_MOMENTUM = ("momentum_contrast", "kl_alignment")
OF_WHOLE: Mapping[str, Callable[[Whole], Tensor]] = MappingProxyType(
    {
        "contrastive": _contrastive,
        "soft_contrastive": _soft_contrastive,
        "contrastive_to_teacher": _contrastive_to_teacher,
        "decoupled_contrastive": _decoupled,
        "weighted_decoupled_contrastive": _weighted_decoupled,
        "continuously_weighted_contrastive": _continuously_weighted,
        "momentum_contrast": _momentum_contrast,
        "kl_alignment": _kl_alignment,
        "sentence_distillation": _sentence_distillation,
        "class_distillation": _class_distillation,
        "image_distillation": _image_distillation,
        "relational_distillation": _relational_distillation,
    }
)


def check_objectives(recipe: Recipe) -> None:
    """Raises TrainingError where an objective of the recipe is none of ours, or lacks what it is about."""
    allowed = sorted((*OF_ROWS, *OF_WHOLE))
    for phase in recipe.phases:
        for name in phase.objectives:
            if name not in allowed:
                raise TrainingError(f"There is no objective {name!r}. Allowed: {', '.join(allowed)}.")
            for part in _NEEDS.get(name, ("text",)):
                if not _gives(recipe, phase, part):
                    raise TrainingError(f"Phase {phase.name!r} gives {name} no {part!r}. {_LACKING[part]}")


_NEEDS = {
    "language": ("sentence",),
    "soft_contrastive": ("text", "meaning"),
    "contrastive_to_teacher": ("text", "meaning"),
    "continuously_weighted_contrastive": ("text", "meaning"),
    "sentence_distillation": ("meaning",),
    "class_distillation": ("text", "class_vectors"),
    "image_distillation": ("text", "teacher_image"),
    "relational_distillation": ("text", "meaning", "teacher_image"),
}


def _gives(recipe: Recipe, phase: Phase, part: str) -> bool:
    return {
        "text": phase.batch > 0,
        "sentence": phase.sentences > 0,
        "meaning": bool(recipe.sentence_teacher),
        "class_vectors": bool(recipe.class_teacher and recipe.sentence_teacher),
        "teacher_image": bool(recipe.image_teacher),
    }[part]
