"""A recipe says what is trained, with which data and objectives, and for how long. Frozen dataclasses, read from TOML.

The default recipe fine-tunes a checkpoint on your pictures. pydantic checks every value whenever a recipe is made.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.errors import TrainingError

_CHECKED = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=0)]
AtLeast0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e20, allow_inf_nan=False)]  # above, AdamW overflows float32
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, config=_CHECKED)
class Source:
    """How the pictures of one source are used."""

    share: AtLeast0 | None = None  # of a batch, relative to other sources; 0 leaves the source out. None: its number of pictures
    views: Count = 8  # cached views of each picture, the plain one and augmented ones; 0 for a new random view at each step
    captions: bool = True  # whether the decoder learns to write its texts
    labels: tuple[str, ...] = ()  # sentences around a label, each a text of the picture; empty for the recipe's `label`
    parts: bool = False  # whether each sentence of a text of several is a text too
    held_out: Share = 0.0  # share of its pictures used neither for training nor for validation, but for later measurements

    def __post_init__(self) -> None:
        for sentence in self.labels:
            _check_label(sentence)


@dataclass(frozen=True, config=_CHECKED)
class Phase:
    """Training steps with the same settings."""

    name: str = "training"
    steps: Count = 0  # 0 for as many as show every picture `epochs` times
    epochs: Above0 = 20.0
    batch: Count = 64  # pictures in a step, over all ranks. The contrastive losses compare all of them
    objectives: Annotated[Mapping[str, Above0], Field(min_length=1)] = dataclasses.field(  # weights, by name in `objectives/registry.py`
        default_factory=lambda: {"contrastive": 1.0, "captioning": 2.0}
    )
    micro_batch: Count = 0  # pictures that go through the model at once; 0 for the whole batch
    sentences: Count = 0  # texts without pictures in a step
    decoded: Count = 0  # the number of pictures, and of sentences, on which the decoder learns; 0 for all
    train: tuple[str, ...] = ()  # prefixes of the names of the parameters to train; empty for all that are not frozen
    slower: Mapping[str, Above0] = dataclasses.field(default_factory=dict)  # factors on the learning rate, by prefix of the names
    learning_rate: Rate = 3e-5
    weight_decay: AtLeast0 = 0.05
    warm_up: Share = 0.1
    patches: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the image tokens that a step uses, the same for every picture in it
    average: Share = 0.98  # largest share of the old weights in the moving average of the weights, at each step
    clip: Above0 = 1.0
    keep: Literal["best", "last"] = "best"  # which weights are saved: those with the best validation so far, or those of its last step

    def __post_init__(self) -> None:
        if self.batch + self.sentences < 1:
            raise ValueError("batch and sentences are both 0. A step needs pictures or sentences.")
        if not (self.steps or self.batch):
            raise ValueError("steps and batch are both 0, and epochs count pictures. Set steps.")


@dataclass(frozen=True, config=_CHECKED)
class Recipe:
    """A whole training run. An empty text means none."""

    # A checkpoint, as `coca_model.load` takes it; "scratch" for the shape of the embedded model, with the class teacher's
    # convolutions as its stem; "scratch:base", "scratch:large" or "scratch:2b" for the shapes of the paper.
    start: str = "default"
    vocabulary_size: Annotated[int, Field(ge=1)] = 12288  # of the tokenizer that a model from scratch learns from the texts
    # How many of the image tower's first units stay frozen. A negative number counts from the end. None: the stem of a
    # convolutional model, nothing of another. The features behind them are cached for each view.
    frozen_units: int | None = None
    sentence_teacher: str = ""  # a sentence encoder ("minilm", or a checkpoint) for objectives that use its vectors
    class_teacher: str = ""  # a classifier for objectives that use its probabilities, and the initial stem of "scratch"
    image_teacher: str = ""  # a checkpoint for objectives that use its image vectors
    label: str = "a photo of a {}"  # the sentence around a label
    sentences: str = ""  # a text file beside the pictures with one sentence without a picture on each line
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    other_sources: Source = dataclasses.field(default_factory=Source)
    held_out: Share = 0.1  # share of the pictures for validation, if the data has no split "val"
    max_tokens: Annotated[int, Field(ge=2)] = 32
    validate_every: Count = 0  # steps between validations; 0 for a fifth of the phase
    seed: Seed = 0
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = dataclasses.field(default_factory=lambda: (Phase(),))

    def __post_init__(self) -> None:
        _check_label(self.label)
        names = [phase.name for phase in self.phases]
        if len({*names}) < len(names):
            raise ValueError(f"two phases have the same name ({', '.join(names)}). Give each a different one.")

    def source(self, name: str) -> Source:
        """How the pictures of a source are used."""
        return self.sources.get(name, self.other_sources)

    def fingerprint(self) -> str:
        """16 hexadecimal digits. A run resumes only with the recipe it was started with."""
        return hashlib.sha256(json.dumps(as_table(self), sort_keys=True).encode()).hexdigest()[:16]


def _check_label(sentence: str) -> None:
    if sentence.count("{}") != 1 or sentence.count("{") + sentence.count("}") != 2:
        raise ValueError(f"label must contain {{}} once, for the label ({sentence!r:.60})")


_RECIPE = TypeAdapter(Recipe)


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values for JSON and TOML."""
    return _RECIPE.dump_python(recipe, mode="json")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML. Raises TrainingError if the file is not a recipe."""
    try:
        return _RECIPE.validate_json(json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str))
    except OSError as error:
        raise TrainingError(f"{path}: the recipe cannot be read ({error.strerror}). Pass a TOML file.") from error
    except ValidationError as error:
        raise TrainingError(f"{path}: not a recipe ({_first(error)}). See docs/training.md for all settings.") from error
    except ValueError as error:
        raise TrainingError(f"{path}: not a recipe, because it is not TOML ({error}).") from error


def changed(recipe: Recipe, settings: Mapping[str, Any], of_phases: Mapping[str, Any]) -> Recipe:
    """Change settings of the recipe, and of all its phases with pictures. None leaves a setting as it is. Raises TrainingError."""
    settings, of_phases = ({name: value for name, value in given.items() if value is not None} for given in (settings, of_phases))
    try:
        phases = tuple(dataclasses.replace(phase, **of_phases) if phase.batch else phase for phase in recipe.phases)
        return dataclasses.replace(recipe, **settings, phases=phases)
    except ValidationError as error:
        raise TrainingError(f"A setting is not allowed: {_first(error)}.") from error


def _first(error: ValidationError) -> str:
    """The first problem: the setting, what is allowed, and the value."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "unexpected_keyword_argument":
        return f"{name}: there is no such setting"
    message = ": ".join(filter(None, (name, first["msg"].removeprefix("Value error, ").rstrip("."))))
    return message + ("" if first["type"] == "value_error" else f", given {first['input']!r:.60}")


def fit(recipe: Recipe, pictures: int, ranks: int) -> Recipe:
    """Limit batches to the number of pictures to train on, and convert epochs to steps.

    Raises TrainingError if there are too few pictures, or the ranks cannot have equal parts of a batch.
    """
    if pictures < ranks and any(phase.batch for phase in recipe.phases):
        raise TrainingError(f"Too few pictures to train on ({pictures}, for {ranks} ranks). Add pictures with texts in the split train.")
    phases = []
    for phase in recipe.phases:
        batch = min(phase.batch, pictures // ranks * ranks)
        for name, size in (("batch", batch), ("sentences", phase.sentences)):
            if size % ranks:
                raise TrainingError(f"phase.{name} cannot be divided by {ranks} ranks ({size}). Choose a multiple of {ranks}.")
        steps = phase.steps or max(1, round(phase.epochs * pictures / max(1, batch)))
        phases.append(dataclasses.replace(phase, batch=batch, steps=steps))
    return dataclasses.replace(recipe, phases=tuple(phases))


_BY_FIT = (".batch", ".steps")  # settings that `fit` adapts to the number of pictures


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How two recipes, as tables, differ: the first setting with its values; "" if they are equal.

    Batches and steps are named only if nothing else differs, because they also change with the number of pictures.
    """
    before, after = _settings(old), _settings(new)
    differing = [name for name in (*after, *before) if before.get(name) != after.get(name)]
    first = min(differing, key=lambda name: name.endswith(_BY_FIT), default="")
    what = "other pictures or another recipe" if first.endswith(_BY_FIT) else "another recipe"
    return first and f"{what} ({first}: {before.get(first)!r} before, {after.get(first)!r} now)"


def _settings(value: object, name: str = "") -> dict[str, object]:
    """Every single value of a table, by a name such as "phases.1.batch"."""
    if not isinstance(value, Mapping | list):
        return {name: value}
    inside = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {path: one for key, part in inside for path, one in _settings(part, f"{name}.{key}" if name else str(key)).items()}
