"""A recipe: what is trained, on what, by which objectives, for how long. As frozen dataclasses, and read from TOML.

Without a file it is the recipe for fine-tuning a checkpoint on one's own pictures. Where a recipe says nothing of a source,
its pictures are drawn as often as they are many.
"""

import dataclasses
import hashlib
import json
import math
import tomllib
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from training.errors import TrainingError

Table = TypeVar("Table")


@dataclass(frozen=True)
class Source:
    """How pictures of one source are used.

    Attributes:
        share: of the pictures of a batch, relative to other sources; 0 leaves the source out. None: by its number of pictures.
        views: kept views of each picture, the plain one and augmented ones; 0 for a fresh one at each step.
        captions: whether the decoder learns to write its texts.
        held_out: share of its pictures that is neither trained on nor validated with, for measurements afterwards.
    """

    share: float | None = None
    views: int = 8
    captions: bool = True
    held_out: float = 0.0

    def __post_init__(self) -> None:
        _at_least("source.views", self.views, 0)
        _at_least("source.share", self.share or 0, 0)
        _share("source.held_out", self.held_out)


@dataclass(frozen=True)
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

    name: str = "joint"
    steps: int = 0
    epochs: float = 30.0
    batch: int = 64
    objectives: Mapping[str, float] = field(default_factory=lambda: {"contrastive": 1.0, "captioning": 2.0})
    micro_batch: int = 0
    sentences: int = 0
    decoded: int = 0
    train: tuple[str, ...] = ()
    slower: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    warm_up: float = 0.1
    patches: float = 1.0
    average: float = 0.98
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch", 0), ("sentences", 0), ("micro_batch", 0), ("decoded", 0)):
            _at_least(f"phase.{name}", getattr(self, name), least)
        if self.batch + self.sentences < 1:
            raise ValueError("phase.batch and phase.sentences are both 0. A step needs pictures or sentences.")
        if not (self.steps or self.batch):
            raise ValueError("phase.steps is 0, and epochs are of pictures, of which it has none. Say how many steps.")
        if not 0 < self.patches <= 1:
            raise ValueError(f"phase.patches is no share ({self.patches}). Allowed: above 0, up to 1.")
        _share("phase.average", self.average)
        _share("phase.warm_up", self.warm_up)
        for name in ("learning_rate", "clip", "epochs"):
            _above_0(f"phase.{name}", getattr(self, name))
        for name, table in (("objectives", self.objectives), ("slower", self.slower)):
            for key, value in table.items():
                _above_0(f"phase.{name}.{key}", value)
        if not self.objectives:
            raise ValueError("phase.objectives are none. Give at least one, such as contrastive.")


@dataclass(frozen=True)
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
    """

    start: str = "default"
    vocabulary_size: int = 12288
    frozen_units: int | None = None
    sentence_teacher: str = ""
    class_teacher: str = ""
    image_teacher: str = ""
    label: str = "a photo of a {}"
    sentences: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict)
    other_sources: Source = field(default_factory=Source)
    held_out: float = 0.1
    max_tokens: int = 32
    validate_every: int = 50
    seed: int = 0
    phases: tuple[Phase, ...] = field(default_factory=lambda: (Phase(),))

    def __post_init__(self) -> None:
        for name, least in (("vocabulary_size", 1), ("max_tokens", 2), ("validate_every", 1)):
            _at_least(name, getattr(self, name), least)
        _share("held_out", self.held_out)
        names = [phase.name for phase in self.phases]
        if not names or len({*names}) < len(names):
            raise ValueError(f"phases are none, or two of one name ({', '.join(names)}). Give at least one, and each a name of its own.")

    def source(self, name: str) -> Source:
        """How the pictures of `name` are used."""
        return self.sources.get(name, self.other_sources)

    def fingerprint(self) -> str:
        """16 hexadecimal digits; a training goes on only under the recipe it was begun with."""
        return hashlib.sha256(json.dumps(as_table(self), sort_keys=True).encode()).hexdigest()[:16]


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe in plain values, as JSON and TOML have them."""
    table = {item.name: getattr(recipe, item.name) for item in dataclasses.fields(recipe)}
    table["sources"] = {name: dataclasses.asdict(source) for name, source in recipe.sources.items()}
    table["other_sources"] = dataclasses.asdict(recipe.other_sources)
    table["phases"] = [{item.name: _plain(getattr(phase, item.name)) for item in dataclasses.fields(phase)} for phase in recipe.phases]
    return table


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML. Raises TrainingError where the file is none, or says something that no recipe says."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        given = _checked("sources", table.pop("sources", {}), Mapping[str, Any])
        sources = {name: _build(Source, f"sources.{name}", part) for name, part in given.items()}
        if "other_sources" in table:
            table["other_sources"] = _build(Source, "other_sources", table["other_sources"])
        if "phases" in table:
            phases = table["phases"] if isinstance(table["phases"], list) else [table["phases"]]
            table["phases"] = [_build(Phase, f"phases[{number}]", part) for number, part in enumerate(phases)]
        return _build(Recipe, "the recipe", table | {"sources": sources})
    except OSError as error:
        raise TrainingError(f"{path}: the recipe cannot be read ({error.strerror}). Pass a TOML file.") from error
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{path}: not a recipe ({error})") from error


def changed(recipe: Recipe, settings: Mapping[str, Any], of_phases: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings, and with others in all its phases with pictures; None changes nothing. Raises TrainingError."""
    try:
        given = _given(of_phases)
        phases = tuple(dataclasses.replace(phase, **given) if phase.batch else phase for phase in recipe.phases)
        return dataclasses.replace(recipe, **_given(settings), phases=phases)
    except ValueError as error:
        raise TrainingError(str(error)) from error


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _build(kind: type[Table], name: str, table: Mapping[str, Any]) -> Table:
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} is no table ({table!r}).")
    known = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(table.keys() - known):
        raise ValueError(f"{name} has no {unknown[0]!r}. Allowed: {', '.join(sorted(known))}.")
    return kind(**{key: _checked(f"{name}.{key}", value, get_type_hints(kind)[key]) for key, value in table.items()})


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value in the type that the recipe has it in. Raises ValueError where it is of another."""
    if isinstance(value, list):
        if get_origin(hint) is not tuple or not all(isinstance(one, str | Phase) for one in value):
            raise ValueError(f"{name} is of another type ({value!r}). Allowed: {'strings' if get_origin(hint) is tuple else 'no list'}.")
        return tuple(value)
    if (get_origin(hint) is tuple and not isinstance(value, tuple)) or (get_origin(hint) is abc.Mapping and not isinstance(value, Mapping)):
        kind = "a list" if get_origin(hint) is tuple else "a table"
        raise ValueError(f"{name} is of another type ({value!r}). Allowed: {kind}.")
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in allowed and type(value) is int:
        return float(value)
    if {int, float, str, bool} & set(allowed) and type(value) not in allowed:
        names = " or ".join(one.__name__ for one in allowed if one is not NoneType)
        raise ValueError(f"{name} is of another type ({value!r}). Allowed: {names}.")
    return value


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ValueError(f"{name} is too small ({value}). Allowed: {least} or more.")


def _above_0(name: str, value: object) -> None:
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name} is no number above 0 ({value!r}). Give one, or leave it out.")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is no share ({value}). Allowed: from 0 to below 1.")
