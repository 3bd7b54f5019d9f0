"""Prepares everything that the steps read: the model, the texts, the feature cache, and the teachers' predictions."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coca_model import load
from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import COCA_2B, COCA_BASE, COCA_LARGE, CoCaConfig, embedded_config
from coca_model.architecture.convolutional_stem import ConvolutionalStem
from coca_model.architecture.image_tower import ImageTower
from coca_model.checkpoints.find import find_checkpoint
from coca_model.checkpoints.read_write import read_checkpoint
from coca_model.machine import fast_dtype
from coca_model.tokenizer import Tokenizer
from training.cache.features import FeatureCache, cache_features
from training.cache.files import lock
from training.errors import TrainingError
from training.examples.example import Example, Skipped
from training.prepare.corpus import Corpus, in_sentence, read_corpus
from training.recipe import Recipe
from training.teachers.classifier import Classifier, class_probabilities, read_classifier
from training.teachers.vectors import image_vectors, sentence_teacher

SCRATCH = "scratch"
SHAPES = {"scratch:base": COCA_BASE, "scratch:large": COCA_LARGE, "scratch:2b": COCA_2B}
_VIEW_SEED = 0  # not the recipe's seed, so that runs with other seeds share the feature cache
Note = Callable[[str, int, int], None]  # progress: what is done, how much of it, and the total


@dataclass(frozen=True)
class Materials:
    """What the steps of a training run read."""

    model: CoCa
    tokenizer: Tokenizer
    corpus: Corpus
    examples: Sequence[Example]
    frozen_units: int
    features: FeatureCache | None  # of the views that the recipe caches; None if each step uses new views
    answers: Mapping[str, Tensor]  # the teachers' predictions for each example, float16 (N, ...), by name in `WholeBatch`
    constants: Mapping[str, Tensor]  # the same for predictions that do not depend on an example
    skipped: Sequence[Skipped]  # pictures that cannot be read


def prepare(
    examples: Sequence[Example], sentences: Sequence[str], recipe: Recipe, *, folder: Path, device: torch.device, pictures: str, note: Note
) -> Materials:
    """Read and compute the materials. Reuses the results that an earlier run left in `folder`.

    `pictures` is the `pictures_key` of the examples. Raises TrainingError if the recipe asks for something that does not exist, and
    CheckpointError if its start is not a checkpoint.
    """
    torch.manual_seed(recipe.seed)
    teacher = sentence_teacher(recipe.sentence_teacher) if recipe.sentence_teacher else None
    shape, model, tokenizer = shape_from_scratch(recipe), None, None
    if shape is None:
        model, tokenizer, _ = read_checkpoint(find_checkpoint(recipe.start))
        shape = model.config
    length = shape.text.context_length
    corpus, tokenizer = read_corpus(examples, sentences, recipe, tokenizer=tokenizer, context_length=length, teacher=teacher, folder=folder)
    classifier = read_classifier(recipe.class_teacher, shape.image) if recipe.class_teacher else None
    model = model or model_from_scratch(shape, tokenizer, classifier, teacher)
    tower = model.requires_grad_(True).train().to(device).image_tower
    units = _frozen_units(tower, recipe.frozen_units)
    views = [1 if example.split != "train" else recipe.source(example.source).views for example in examples]
    features, unreadable = None, list[Skipped]()
    if units and all(views):
        frozen = copy.deepcopy(tower).to(dtype=fast_dtype(device), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        with lock(folder / "kept.lock", wait=True):
            features, unreadable = cache_features(
                examples, views, frozen, units, folder=folder, seed=_VIEW_SEED, pictures=pictures, note=partial(note, "preparing pictures")
            )
    answers, constants = dict[str, Tensor](), dict[str, Tensor]()
    if classifier is not None:
        if features is None or teacher is None or units > tower.stem_units:
            needed = "cached views (views above 0 in every source) behind no more than the stem, and a sentence_teacher"
            raise TrainingError(f"A class_teacher needs {needed}.")
        answers["probabilities"] = class_probabilities(classifier, tower, features, units, folder, partial(note, "classes"))
        vectors = teacher.encode_texts([in_sentence(recipe.label, name) for name in classifier.class_names])
        constants["class_vectors"] = torch.from_numpy(np.asarray(vectors)).to(device)
    if recipe.image_teacher:
        encoder = load(recipe.image_teacher, device=str(device))
        answers["teacher_image"] = image_vectors(encoder, examples, folder, pictures=pictures, note=partial(note, "teacher"))
        constants["teacher_scale"] = torch.tensor(encoder.logit_scale, device=device)
    return Materials(model, tokenizer, corpus, examples, units, features, answers, constants, unreadable)


def _frozen_units(tower: ImageTower, wanted: int | None) -> int:
    """How many units stay frozen. The default is a convolutional stem, which is pretrained on a million pictures, or nothing."""
    units = len(tower.units())
    if wanted is None:
        return len(tower.stem.units()) if isinstance(tower.stem, ConvolutionalStem) else 0
    frozen = wanted if wanted >= 0 else units + wanted
    if not 0 <= frozen <= units:
        raise TrainingError(f"frozen_units is out of range ({wanted}). The image tower has {units} units.")
    return frozen


def shape_from_scratch(recipe: Recipe) -> CoCaConfig | None:
    """The shape of a model from scratch, or None for a checkpoint. Raises TrainingError if its stem needs a class teacher."""
    if recipe.start == SCRATCH and not recipe.class_teacher:
        allowed = ", ".join(SHAPES)
        raise TrainingError(f'A model from "{SCRATCH}" needs a class_teacher for its stem. Name one, or start from {allowed}.')
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
