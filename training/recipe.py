"""A recipe: what is trained, on what, by which objectives, for how long. As frozen dataclasses, and read from TOML.

Without a file it is the recipe for fine-tuning a checkpoint on one's own pictures. Where a recipe says nothing of a source,
its pictures are drawn as often as they are many. Values are checked by pydantic, wherever a recipe is made.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from training.errors import TrainingError

_CHECKED = ConfigDict(extra="forbid", strict=True)
Count = Annotated[int, Field(ge=0)]
AtLeast1 = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e20, allow_inf_nan=False)]  # beyond, AdamW leaves what float32 holds
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, config=_CHECKED)
class Source:
    """How pictures of one source are used.

    Attributes:
        share: of the pictures of a batch, relative to other sources; 0 leaves the source out. None: by its number of pictures.
        views: kept views of each picture, the plain one and augmented ones; 0 for a fresh one at each step.
        captions: whether the decoder learns to write its texts.
        held_out: share of its pictures that is neither trained on nor validated with, for measurements afterwards.
    """

    share: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    views: Count = 8
    captions: bool = True
    held_out: Share = 0.0


@dataclass(frozen=True, config=_CHECKED)
class Phase:
    """Steps of one kind.

    Attributes:
        objectives: weight of each objective, by its name in `objectives`.
        steps: how many; 0 for as many as show every picture `epochs` times.
        batch: pictures in a step, over all ranks; the contrastive losses compare all of them.
        micro_batch: pictures that go through the model at once; 0 for all of the batch.
        sentences: texts without pictures in a step.
        decoded: on how many of its pictures, and of its sentences, the decoder learns; 0 for all.
        train: beginnings of the names of the parameters that learn; empty for all that are not frozen.
        slower: beginnings of names of parameters, and the factor on their learning rate.
        patches: share of the image tokens that a step sees, the same of every picture in it.
        average: the most of the old weights that the average of weights keeps at a step.
    """

    name: str = "training"
    steps: Count = 0
    epochs: Above0 = 20.0
    batch: Count = 64
    objectives: Annotated[Mapping[str, Above0], Field(min_length=1)] = dataclasses.field(
        default_factory=lambda: {"contrastive": 1.0, "captioning": 2.0}
    )
    micro_batch: Count = 0
    sentences: Count = 0
    decoded: Count = 0
    train: tuple[str, ...] = ()
    slower: Mapping[str, Above0] = dataclasses.field(default_factory=dict)
    learning_rate: Rate = 3e-5
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    warm_up: Share = 0.1
    patches: Annotated[float, Field(gt=0, le=1)] = 1.0
    average: Share = 0.98
    clip: Above0 = 1.0

    def __post_init__(self) -> None:
        if self.batch + self.sentences < 1:
            raise ValueError("batch and sentences are both 0. A step needs pictures or sentences.")
        if not (self.steps or self.batch):
            raise ValueError("steps is 0, and epochs are of pictures, of which it has none. Say how many steps.")


@dataclass(frozen=True, config=_CHECKED)
class Recipe:
    """A whole training.

    Attributes:
        start: a checkpoint, as `coca_model.load` takes it; "scratch" for the shape of the embedded model, whose stem a class_teacher
            gives; "scratch:base", "scratch:large" or "scratch:2b" for the paper's shapes.
        vocabulary_size: for "scratch": tokens of the tokenizer that is learnt from the texts.
        frozen_units: how many of the image tower's first units stay as they are, what they make of each view being kept; negative
            numbers count from its end, None is "the stem of a convolutional model, nothing of another".
        sentence_teacher: a sentence encoder ("minilm", or a checkpoint) whose vectors objectives may use; empty for none.
        class_teacher: a classifier whose probabilities objectives may use, and from "scratch" the stem begins as; empty for none.
        image_teacher: a checkpoint whose vectors of the pictures objectives may use; empty for none.
        label: the sentence around a label.
        sentences: a text file beside the pictures with a sentence without a picture on each line; empty for none.
        held_out: share of the pictures that validation gets where the data has no split "val".
        validate_every: steps between two validations; 0 for a fifth of the phase's.
    """

    start: str = "default"
    vocabulary_size: AtLeast1 = 12288
    frozen_units: int | None = None
    sentence_teacher: str = ""
    class_teacher: str = ""
    image_teacher: str = ""
    label: str = "a photo of a {}"
    sentences: str = ""
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    other_sources: Source = dataclasses.field(default_factory=Source)
    held_out: Share = 0.1
    max_tokens: Annotated[int, Field(ge=2)] = 32
    validate_every: Count = 0
    seed: Seed = 0
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = dataclasses.field(default_factory=lambda: (Phase(),))

    def __post_init__(self) -> None:
        if self.label.count("{}") != 1 or self.label.count("{") + self.label.count("}") != 2:
            raise ValueError(f"label has no single {{}} for the label to stand in ({self.label!r:.60})")
        names = [phase.name for phase in self.phases]
        if len({*names}) < len(names):
            raise ValueError(f"two phases have one name ({', '.join(names)}). Give each a name of its own.")

    def source(self, name: str) -> Source:
        """How the pictures of `name` are used."""
        return self.sources.get(name, self.other_sources)

    def fingerprint(self) -> str:
        """16 hexadecimal digits; a training goes on only under the recipe it was begun with."""
        return hashlib.sha256(json.dumps(as_table(self), sort_keys=True).encode()).hexdigest()[:16]


_RECIPE = TypeAdapter(Recipe)


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe in plain values, as JSON and TOML have them."""
    table: dict[str, Any] = _RECIPE.dump_python(recipe, mode="json")
    return table


_OF_PICTURES = (".batch", ".steps")  # how settings end that, in a recipe as it is carried out, hang on how many pictures there are


def difference(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What else a recipe is than the one `there`, both as tables, by the first setting in which they differ; empty where in none.

    Batches and steps come last: they differ, too, where there are more or fewer pictures.
    """
    before, after = _settings(there), _settings(now)
    differing = [name for name in (*after, *before) if before.get(name) != after.get(name)]
    first = min(differing, key=lambda name: name.endswith(_OF_PICTURES), default="")
    what = "other pictures, or another recipe" if first.endswith(_OF_PICTURES) else "another recipe"
    return first and f"{what} ({first}: {before.get(first)!r} there, {after.get(first)!r} now)"


def _settings(value: object, name: str = "") -> dict[str, object]:
    """Every single value of a table, by a name such as "phases.1.batch"."""
    if not isinstance(value, Mapping | list):
        return {name: value}
    inside = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {path: one for key, its in inside for path, one in _settings(its, f"{name}.{key}" if name else str(key)).items()}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML. Raises TrainingError where the file is none, or says something that no recipe says."""
    try:
        return _RECIPE.validate_json(json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str))
    except OSError as error:
        raise TrainingError(f"{path}: the recipe cannot be read ({error.strerror}). Pass a TOML file.") from error
    except ValidationError as error:
        raise TrainingError(f"{path}: not a recipe ({_told(error)}). docs/training.md says what there is.") from error
    except ValueError as error:
        raise TrainingError(f"{path}: not a recipe, as it is not TOML ({error}).") from error


def changed(recipe: Recipe, settings: Mapping[str, Any], of_phases: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings, and with others in all its phases with pictures; None changes nothing. Raises TrainingError."""
    try:
        given = _given(of_phases)
        phases = tuple(dataclasses.replace(phase, **given) if phase.batch else phase for phase in recipe.phases)
        return dataclasses.replace(recipe, **_given(settings), phases=phases)
    except ValidationError as error:
        raise TrainingError(f"The recipe cannot be so: {_told(error)}.") from error


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _told(error: ValidationError) -> str:
    """The first of what is wrong: where, what is allowed, and what was given."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unexpected_keyword_argument":
        return f"{where}: there is no such setting"
    return ": ".join(filter(None, (where, said))) + ("" if first["type"] == "value_error" else f", given {first['input']!r:.60}")
