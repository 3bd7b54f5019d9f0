"""Models that begin from nothing but a shape: the embedded one's, with what its teachers know, or the paper's."""

from dataclasses import replace

from coca_model.coca import CoCa
from coca_model.config import CoCaConfig
from coca_model.published_configs import COCA_2B, COCA_BASE, COCA_LARGE, embedded_config
from coca_model.tokenizer import Tokenizer
from training.errors import TrainingError
from training.recipe import Recipe
from training.teachers.classifier import Classifier

SCRATCH = "scratch"
SHAPES = {"scratch:base": COCA_BASE, "scratch:large": COCA_LARGE, "scratch:2b": COCA_2B}


def shape_from_scratch(recipe: Recipe) -> CoCaConfig | None:
    """The shape of a model that is begun from scratch, or None. Raises TrainingError where its stem would begin as nothing."""
    if recipe.start == SCRATCH and not recipe.class_teacher:
        raise TrainingError(
            f'A model from "{SCRATCH}" has a stem that begins as a classifier\'s convolutions. Name a class_teacher, or start from '
            f"{', '.join(SHAPES)}."
        )
    if recipe.start == SCRATCH:
        shape = embedded_config(recipe.vocabulary_size)
    elif recipe.start in SHAPES:
        shape = SHAPES[recipe.start]
    else:
        return None
    alone = any("language" in phase.objectives for phase in recipe.phases)
    return replace(shape, text=replace(shape.text, vocabulary_size=recipe.vocabulary_size, text_only=alone))


def model_from_scratch(shape: CoCaConfig, tokenizer: Tokenizer, classifier: Classifier | None, teacher: object) -> CoCa:
    """A new model, its stem the classifier's, and its words' vectors begun as the sentence teacher's where it has some as wide."""
    model = CoCa(replace(shape, text=replace(shape.text, vocabulary_size=tokenizer.vocabulary_size)))
    if classifier is not None:
        model.image_tower.stem.load_state_dict(dict(classifier.stem))
    word_vectors = getattr(teacher, "word_vectors", None)
    if word_vectors is not None:
        table = model.unimodal.token_embedding.weight
        begun = word_vectors([tokenizer.decode([token]) for token in range(len(table))])
        if begun.shape == table.shape:
            known = begun.abs().sum(1) > 0
            table.data[known] = begun[known] * table.std().item()
    return model
