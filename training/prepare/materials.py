"""From files and a recipe to everything that the steps of a training read: model, texts, kept maps, teachers' answers."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coca_model import load
from coca_model.checkpoint import read_checkpoint
from coca_model.coca import CoCa
from coca_model.convolutional_stem import ConvolutionalStem
from coca_model.find_checkpoint import find_checkpoint
from coca_model.image_tower import ImageTower
from coca_model.machine import fast_dtype
from coca_model.tokenizer import Tokenizer
from training.batches.order import PictureOrder
from training.cache.features import KeptMaps, keep_maps
from training.cache.files import hold
from training.errors import TrainingError
from training.examples.example import Example, Skipped
from training.prepare.corpus import Corpus, read_corpus
from training.prepare.new_model import model_from_scratch, shape_from_scratch
from training.recipe import Recipe
from training.teachers.classifier import kept_probabilities, read_classifier
from training.teachers.sentences import kept_pictures, sentence_teacher

_VIEWS = 0  # the seed of kept views: trainings that differ in theirs share what took longest
Note = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Materials:
    """What the steps of a training read.

    Attributes:
        kept: of the views that the recipe keeps; None where each step looks at fresh ones.
        answers: what the teachers say of each example, float16 (N, ...); constants: of all, by their names in `objectives.Whole`.
        skipped: pictures that cannot be read, and rows of the files that hold none.
    """

    model: CoCa
    tokenizer: Tokenizer
    corpus: Corpus
    examples: Sequence[Example]
    frozen_units: int
    kept: KeptMaps | None
    answers: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    skipped: Sequence[Skipped]

    def order(self, recipe: Recipe) -> PictureOrder:
        """The order in which pictures with texts, of the split "train", are drawn."""
        rows: dict[str, list[int]] = {}
        unreadable = self.kept.unreadable if self.kept else frozenset()
        for number, example in enumerate(self.examples):
            if example.split == "train" and self.corpus.of_example[number] and number not in unreadable:
                rows.setdefault(example.source, []).append(number)
        shares = {name: recipe.source(name).share for name in rows}
        if len({share is None for share in shares.values()}) > 1:
            counted = next(name for name, share in shares.items() if share is None)
            raise TrainingError(f"Some sources have a share and {counted!r} has none. Give it one, or other_sources, or none at all.")
        return PictureOrder(rows, {name: len(rows[name]) if share is None else share for name, share in shares.items()}, seed=recipe.seed)


def prepare(
    examples: Sequence[Example],
    sentences: Sequence[str],
    recipe: Recipe,
    *,
    folder: Path,
    device: torch.device,
    note: Note,
    pictures: str = "",
) -> Materials:
    """Read, compute and keep. What an earlier run left in `folder` is taken up.

    Args:
        pictures: the hash of all pictures, see `kept_files.hash_of_pictures`; by default it is computed where it is needed.

    Raises:
        TrainingError: the recipe asks for something that is not there.
        CheckpointError: its start is no checkpoint.
    """
    torch.manual_seed(recipe.seed)
    teacher = sentence_teacher(recipe.sentence_teacher) if recipe.sentence_teacher else None
    shape = shape_from_scratch(recipe)
    started = None if shape is not None else read_checkpoint(find_checkpoint(recipe.start))
    shape = shape or started[0].config  # type: ignore[index]
    corpus, tokenizer = read_corpus(
        examples,
        sentences,
        recipe,
        tokenizer=None if started is None else started[1],
        context_length=shape.text.context_length,
        teacher=teacher,
        folder=folder,
    )
    classifier = read_classifier(recipe.class_teacher, shape.image) if recipe.class_teacher else None
    model = model_from_scratch(shape, tokenizer, classifier, teacher) if started is None else started[0]
    model = model.requires_grad_(True).train().to(device)
    units = _frozen_units(model.image_tower, recipe.frozen_units)
    views = [1 if example.split != "train" else recipe.source(example.source).views for example in examples]
    kept, unreadable = None, list[Skipped]()
    if units and all(views):
        frozen = _in_fast_dtype(model.image_tower, device)
        told = partial(note, "preparing pictures")
        with hold(folder / "kept.lock", wait=True):
            kept, unreadable = keep_maps(examples, views, frozen, units, folder=folder, seed=_VIEWS, pictures=pictures, note=told)
    answers, constants = dict[str, Tensor](), dict[str, Tensor]()
    if classifier is not None:
        if kept is None or teacher is None or units > model.image_tower.stem_units:
            raise TrainingError(
                "A class_teacher needs kept views of no more than the stem, and a sentence_teacher. Give every source views, and name one."
            )
        answers["probabilities"] = kept_probabilities(classifier, model.image_tower, kept, units, folder, partial(note, "classes"))
        vectors = teacher.encode_texts([recipe.label.format(name) for name in classifier.class_names])
        constants["class_vectors"] = torch.from_numpy(np.asarray(vectors)).to(device)
    if recipe.image_teacher:
        seeing = load(recipe.image_teacher, device=str(device))
        answers["teacher_image"] = kept_pictures(seeing, examples, folder, pictures=pictures, note=partial(note, "teacher"))
        constants["teacher_scale"] = torch.tensor(seeing.logit_scale, device=device)
    return Materials(model, tokenizer, corpus, examples, units, kept, answers, constants, unreadable)


def _frozen_units(tower: ImageTower, wanted: int | None) -> int:
    """How many units stay frozen; by default a convolutional stem, which has seen a million pictures, and nothing of another model."""
    units = len(tower.units())
    if wanted is None:
        return len(tower.stem.units()) if isinstance(tower.stem, ConvolutionalStem) else 0
    frozen = wanted if wanted >= 0 else units + wanted
    if not 0 <= frozen <= units:
        raise TrainingError(f"frozen_units is not in the image tower ({wanted}). It has {units} units.")
    return frozen


def _in_fast_dtype(tower: ImageTower, device: torch.device) -> ImageTower:
    return copy.deepcopy(tower).to(dtype=fast_dtype(device), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
