"""New models from scratch: with the shape of the embedded model and the knowledge of its teachers, or with a shape of the paper."""

from dataclasses import replace

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig
from coca_model.architecture.published_configs import COCA_2B, COCA_BASE, COCA_LARGE, embedded_config
from coca_model.tokenizer import Tokenizer
from training.errors import TrainingError
from training.recipe import Recipe
from training.teachers.classifier import Classifier

SCRATCH = "scratch"
SHAPES = {"scratch:base": COCA_BASE, "scratch:large": COCA_LARGE, "scratch:2b": COCA_2B}


def shape_from_scratch(recipe: Recipe) -> CoCaConfig | None:
    """The shape of a model from scratch, or None for a checkpoint. Raises TrainingError if its stem needs a class teacher."""
    if recipe.start == SCRATCH and not recipe.class_teacher:
        raise TrainingError(
            f'A model from "{SCRATCH}" needs a classifier for its stem, and the recipe has no class_teacher. Name one, or start from '
            f"{', '.join(SHAPES)}."
        )
    shape = embedded_config(recipe.vocabulary_size) if recipe.start == SCRATCH else SHAPES.get(recipe.start)
    if shape is None:
        return None
    text_only = any("language" in phase.objectives for phase in recipe.phases)
    return replace(shape, text=replace(shape.text, vocabulary_size=recipe.vocabulary_size, text_only=text_only))


def model_from_scratch(shape: CoCaConfig, tokenizer: Tokenizer, classifier: Classifier | None, teacher: object) -> CoCa:
    """A new model. Its stem gets the classifier's weights, its token embeddings the sentence teacher's, if that has some as wide."""
    model = CoCa(replace(shape, text=replace(shape.text, vocabulary_size=tokenizer.vocabulary_size)))
    if classifier is not None:
        model.image_tower.stem.load_state_dict(dict(classifier.stem))
    word_vectors = getattr(teacher, "word_vectors", None)
    if word_vectors is not None:
        table = model.unimodal.token_embedding.weight
        vectors = word_vectors([tokenizer.decode([token]) for token in range(len(table))])
        if vectors.shape == table.shape:
            known = vectors.abs().sum(1) > 0
            table.data[known] = vectors[known] * table.std().item()
    return model
