"""The objectives that a recipe can use, by name.

There are two kinds. Objectives of rows cost each row for itself, inside the student's forward pass. Objectives of the whole batch
compare its rows with each other: small functions on the embeddings of all ranks.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from training.errors import TrainingError
from training.objectives import arbitrary_pairs, groups, mixing, prototypes
from training.objectives import contrastive as contrast
from training.objectives import distillation as distil
from training.objectives.masked import MASKED, VisualCodebook
from training.objectives.self_retrieval import SELF_RETRIEVAL
from training.prepare.false_texts import HARD_NEGATIVES
from training.recipe import Recipe

_CLASS_SCALE = torch.tensor(20.0)  # 1 / temperature of the cosines to class names


class WholeBatch(dict[str, Tensor]):
    """The whole batch, of all ranks and micro-batches, for objectives that compare its rows.

    Keys:
        image, text: float32 (B, E), L2 norm 1; row i of one belongs to row i of the other.
        scale: scalar, 1 / temperature.
        picture: int64 (B,), the picture of each row.
        meaning: float32 (B, E'), the sentence teacher's vectors of the texts.
        sentence, sentence_meaning: (S, E), (S, E'), of sentences without a picture.
        probabilities: float32 (B, K), the class teacher's; class_vectors: (K, E'), the sentence teacher's of the class names.
        teacher_image: (B, E''), the image teacher's vectors of the pictures; teacher_scale: scalar, its 1 / temperature.
        shares: float32 (B, 2), see `mixing.draw_shares`.
        gate: float32 (B, E), see `arbitrary_pairs.LabelGate`.
        prototypes, image_prototypes, text_prototypes: (K, E), L2 norm 1, learned; centroids: (K, E'), clusters of `meaning`.
        image_key, text_key: (B, E), the momentum model's embeddings; image_queue, text_queue: (Q, E), those of earlier batches.
    """


def _sentence_distillation(batch: WholeBatch) -> Tensor:
    pairs = [(name, meaning) for name, meaning in (("text", "meaning"), ("sentence", "sentence_meaning")) if name in batch]
    return distil.imitation_loss(torch.cat([batch[name] for name, _ in pairs]), torch.cat([batch[meaning] for _, meaning in pairs]))


def _image_distillation(batch: WholeBatch) -> Tensor:
    image, teacher = batch["image"], batch["teacher_image"]
    _check_widths("model", image, teacher, "Use relational_distillation, which compares only cosines.")
    return distil.imitation_loss(image, teacher)


def _relational_distillation(batch: WholeBatch) -> Tensor:
    teacher, meaning = batch["teacher_image"], batch["meaning"]
    _check_widths("sentence teacher", meaning, teacher, "Name one checkpoint as both.")
    scales = {"scale": batch["scale"], "teacher_scale": batch["teacher_scale"]}
    return distil.relational_distillation_loss(batch["image"], batch["text"], teacher, meaning, **scales)


def _check_widths(name: str, vectors: Tensor, teacher: Tensor, advice: str) -> None:
    if vectors.shape != teacher.shape:
        widths = f"{teacher.shape[1]} and {vectors.shape[1]}"
        raise TrainingError(f"The vectors of the image teacher and of the {name} have different widths ({widths}). {advice}")


def _queries(batch: WholeBatch) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The arguments of `retrieval_logits`, picture to text and text to picture."""
    ways = (("image", "text"), ("text", "image"))
    return [(batch[one], batch[f"{other}_key"], batch[f"{other}_queue"], batch["scale"]) for one, other in ways]


def _arbitrary_pairs(batch: WholeBatch) -> Tensor:
    same = arbitrary_pairs.share_a_label(batch["meaning"], batch["picture"])
    return arbitrary_pairs.arbitrary_pairs_loss(batch["image"], batch["text"], batch["scale"], batch["gate"], same)


def _clustered_prototypes(batch: WholeBatch) -> Tensor:
    cluster = VisualCodebook(batch["centroids"]).ids(batch["meaning"])
    of_both = batch["image_prototypes"], batch["text_prototypes"]
    return prototypes.clustered_prototypes_loss(batch["image"], batch["text"], *of_both, cluster)


OF_ROWS = ("captioning", "language", SELF_RETRIEVAL, HARD_NEGATIVES, *MASKED)
OF_MOMENTUM = ("momentum_contrast", "kl_alignment")
DRAWS = {"shares": ("mixed_contrastive", mixing.draw_shares)}  # random numbers in `WholeBatch`: the objective that needs them, their source
OF_WHOLE: Mapping[str, Callable[[WholeBatch], Tensor]] = {
    "contrastive": lambda b: contrast.contrastive_loss(b["image"], b["text"], b["scale"], contrast.same_picture_targets(b["picture"])),
    "soft_contrastive": lambda b: contrast.contrastive_loss(b["image"], b["text"], b["scale"], contrast.soft_targets(b["meaning"])),
    "contrastive_to_teacher": lambda b: contrast.contrastive_loss(
        b["image"], b["meaning"], b["scale"], contrast.soft_targets(b["meaning"])
    ),
    "decoupled_contrastive": lambda b: contrast.decoupled_contrastive_loss(b["image"], b["text"], b["scale"]),
    "weighted_decoupled_contrastive": lambda b: contrast.decoupled_contrastive_loss(b["image"], b["text"], b["scale"], 0.5),
    "continuously_weighted_contrastive": lambda b: contrast.continuously_weighted_contrastive_loss(
        b["image"], b["text"], b["scale"], contrast.similarity_of(b["meaning"])
    ),
    "attraction_repulsion": lambda b: groups.attraction_repulsion_loss(b["image"], b["text"], contrast.same_picture(b["picture"])),
    "group_ordering": lambda b: groups.group_ordering_loss(b["image"], b["text"], contrast.same_picture(b["picture"])),
    "mixed_contrastive": lambda b: mixing.mixed_contrastive_loss(
        b["image"], b["text"], b["scale"], contrast.same_picture_targets(b["picture"]), b["shares"]
    ),
    "arbitrary_pairs": _arbitrary_pairs,
    "swapped_prototypes": lambda b: prototypes.swapped_prototypes_loss(b["image"], b["text"], b["prototypes"]),
    "clustered_prototypes": _clustered_prototypes,
    "momentum_contrast": lambda b: torch.stack([contrast.momentum_contrast_loss(*query) for query in _queries(b)]).mean(),
    "kl_alignment": lambda b: contrast.kl_alignment_loss(*(contrast.retrieval_logits(*query) for query in _queries(b))),
    "sentence_distillation": _sentence_distillation,
    "class_distillation": lambda b: distil.class_distillation_loss(b["image"], b["class_vectors"], b["probabilities"], _CLASS_SCALE),
    "image_distillation": _image_distillation,
    "relational_distillation": _relational_distillation,
}
_NEEDS = {  # of the others each needs texts
    "language": ("sentence",),
    **dict.fromkeys(("soft_contrastive", "contrastive_to_teacher", "continuously_weighted_contrastive"), ("text", "meaning")),
    **dict.fromkeys(("arbitrary_pairs", "clustered_prototypes"), ("text", "meaning")),
    "sentence_distillation": ("meaning",),
    "class_distillation": ("text", "class_vectors"),
    "image_distillation": ("text", "teacher_image"),
    "relational_distillation": ("text", "meaning", "teacher_image"),
}


def check_objectives(recipe: Recipe) -> None:
    """Raises TrainingError if an objective of the recipe does not exist, or lacks something that it needs."""
    allowed = sorted((*OF_ROWS, *OF_WHOLE))
    for phase in recipe.phases:
        provided = {  # whether there is such a part of `WholeBatch`, and how to get it
            "text": (phase.batch, "Give its phase a batch of pictures."),
            "sentence": (phase.sentences, "Give its phase a number of sentences."),
            "meaning": (recipe.sentence_teacher, 'Name a sentence_teacher, such as "minilm".'),
            "class_vectors": (recipe.class_teacher and recipe.sentence_teacher, "Name a class_teacher and a sentence_teacher."),
            "teacher_image": (recipe.image_teacher, "Name an image_teacher, a checkpoint."),
        }
        for name in phase.objectives:
            if name not in allowed:
                raise TrainingError(f"There is no objective {name!r}. Allowed: {', '.join(allowed)}.")
            if name == SELF_RETRIEVAL and "captioning" not in phase.objectives:
                raise TrainingError(f"Phase {phase.name!r} has {name} alone, so captions would stop being sentences. Add captioning.")
            for part in _NEEDS.get(name, ("text",)):
                if not provided[part][0]:
                    raise TrainingError(f"Phase {phase.name!r} gives {name} no {part!r}. {provided[part][1]}")
