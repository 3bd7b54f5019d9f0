import dataclasses
import json
import re

import pytest

from training.errors import TrainingError
from training.recipe import Phase, Recipe, Source, as_table, changed, difference, read_recipe

TOML = """
start = "scratch"
frozen_units = -2
seed = 3
held_out = 0.25

[sources.flickr8k]
share = 0.5
captions = false
[sources."my pictures"]
views = 0
[other_sources]
held_out = 0.2

[[phases]]
name = "text"
steps = 40
batch = 0
sentences = 64
train = ["unimodal", "multimodal"]
[phases.objectives]
language = 0.3
[[phases]]
epochs = 2.5
[phases.slower]
"image_tower.stem" = 0.1
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "recipe.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "recipe.toml"

    return write


def test_a_recipe_is_read_from_toml_with_defaults_for_the_rest(write):
    assert read_recipe(write(TOML)) == Recipe(
        start="scratch",
        frozen_units=-2,
        seed=3,
        held_out=0.25,
        sources={"flickr8k": Source(share=0.5, captions=False), "my pictures": Source(views=0)},
        other_sources=Source(held_out=0.2),
        phases=(
            Phase("text", steps=40, batch=0, sentences=64, train=("unimodal", "multimodal"), objectives={"language": 0.3}),
            Phase(epochs=2.5, slower={"image_tower.stem": 0.1}),
        ),
    )


def test_an_empty_recipe_is_for_fine_tuning(write):
    assert read_recipe(write("")) == Recipe()
    assert Recipe().start == "default"
    assert [phase.objectives for phase in Recipe().phases] == [{"contrastive": 1.0, "captioning": 2.0}]


def test_a_source_without_settings_uses_other_sources(write):
    recipe = read_recipe(write(TOML))
    assert recipe.source("flickr8k").share == 0.5
    assert recipe.source("holiday") is recipe.other_sources


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede = 1", "sede: there is no such setting"),
        ("[sources.flickr8k]\nweight = 1", "sources.flickr8k.weight: there is no such setting"),
        ("[[phases]]\n[[phases]]\nname = 'b'\nepoch = 3", "phases.1.epoch: there is no such setting"),
        ("sources = {flickr8k = 0.5}", "sources.flickr8k: Input should be an object, given 0.5"),
        ("other_sources = 3", "other_sources: Input should be an object, given 3"),
        ("phases = [1]", "phases.0: Input should be an object, given 1"),
        ("[sources.a]\nviews = -1", "sources.a.views: Input should be greater than or equal to 0, given -1"),
        ("[other_sources]\nshare = -0.5", "other_sources.share: Input should be greater than or equal to 0, given -0.5"),
        ("[other_sources]\nheld_out = 1.0", "other_sources.held_out: Input should be less than 1, given 1.0"),
        ("held_out = -0.1", "held_out: Input should be greater than or equal to 0, given -0.1"),
        ("held_out = 1.5", "held_out: Input should be less than 1, given 1.5"),
        ("[[phases]]\nbatch = -8", "phases.0.batch: Input should be greater than or equal to 0, given -8"),
        ("[[phases]]\nbatch = '8'", "phases.0.batch: Input should be a valid integer, given '8'"),
        ("[[phases]]\nbatch = 0", "phases.0: batch and sentences are both 0. A step needs pictures or sentences"),
        ("[[phases]]\nbatch = 0\nsentences = 4", "phases.0: steps and batch are both 0, and epochs count pictures. Set steps"),
        ("[[phases]]\nepochs = 0", "phases.0.epochs: Input should be greater than 0, given 0"),
        ("[[phases]]\nepochs = inf", "phases.0.epochs: Input should be a finite number, given inf"),
        ("[[phases]]\nlearning_rate = nan", "phases.0.learning_rate: Input should be a finite number, given nan"),
        (
            "[[phases]]\nlearning_rate = 1e300",
            "phases.0.learning_rate: Input should be less than or equal to 100000000000000000000, given 1e+300",
        ),
        (f"seed = {2**63}", f"seed: Input should be less than {2**63}, given {2**63}"),
        ("[[phases]]\npatches = 1.5", "phases.0.patches: Input should be less than or equal to 1, given 1.5"),
        ("[[phases]]\nobjectives = {}", "phases.0.objectives: Dictionary should have at least 1 item"),
        ("[[phases]]\nobjectives = {language = -1}", "phases.0.objectives.language: Input should be greater than 0, given -1"),
        ("[[phases]]\nobjectives = ['language']", "phases.0.objectives: Input should be an object"),
        ("[[phases]]\ntrain = [1]", "phases.0.train.0: Input should be a valid string, given 1"),
        ("[[phases]]\n[[phases]]", "two phases have the same name (training, training)."),
        ("phases = []", "phases: Tuple should have at least 1 item"),
        ("validate_every = -1", "validate_every: Input should be greater than or equal to 0, given -1"),
        ("label = 'a photo'", "label must contain {} once, for the label ('a photo')"),
        ("label = '{} {x}'", "label must contain {} once, for the label ('{} {x}')"),
        ("[sources.a]\nlabels = ['x']", "sources.a: label must contain {} once, for the label ('x')"),
        ("max_tokens = 1", "max_tokens: Input should be greater than or equal to 2, given 1"),
    ],
)
def test_an_invalid_setting_is_refused_with_its_name_and_the_allowed_values(write, text, message):
    path = write(text)
    with pytest.raises(TrainingError, match=f"^{re.escape(f'{path}: not a recipe ({message}')}"):
        read_recipe(path)


@pytest.mark.parametrize("text", ["seed = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(write, text):
    path = write(text)
    with pytest.raises(TrainingError, match=f"^{re.escape(str(path))}: not a recipe, because it is not TOML"):
        read_recipe(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(TrainingError, match=re.escape(f"{tmp_path / 'none.toml'}: the recipe cannot be read (No such file")):
        read_recipe(tmp_path / "none.toml")


def test_the_recipe_of_the_embedded_model_can_be_read(pytestconfig):
    recipe = read_recipe(pytestconfig.rootpath / "data" / "coca-embedded" / "recipe.toml")
    assert recipe.start == "scratch"
    assert [phase.name for phase in recipe.phases] == ["text", "joint"]


# --- the fingerprint ------------------------------------------------------------------------------------------------------


def another(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return type(value)(value * 0.5 + 0.2) if isinstance(value, float) else value + 1
        case str():
            return "last" if value == "best" else value + "x"
        case None:
            return 1
        case tuple():
            return (*value, "{} x")
    return {**value, "x": 0.5}


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(Recipe) if field.name not in ("sources", "other_sources", "phases")]
)
def test_every_setting_changes_the_fingerprint(name):
    recipe = Recipe()
    assert dataclasses.replace(recipe, **{name: another(getattr(recipe, name))}).fingerprint() != recipe.fingerprint()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Phase)])
def test_every_setting_of_a_phase_changes_the_fingerprint(name):
    recipe = Recipe(phases=(Phase(), Phase("second", average=0.6, patches=0.7)))
    second = dataclasses.replace(recipe.phases[1], **{name: another(getattr(recipe.phases[1], name))})
    assert dataclasses.replace(recipe, phases=(recipe.phases[0], second)).fingerprint() != recipe.fingerprint()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Source)])
def test_every_setting_of_a_source_changes_the_fingerprint(name):
    source = dataclasses.replace(Source(), **{name: another(getattr(Source(), name))})
    recipes = [Recipe(), Recipe(sources={"a": Source()}), Recipe(sources={"a": source}), Recipe(other_sources=source)]
    assert len({recipe.fingerprint() for recipe in recipes}) == 4


def test_the_fingerprint_of_a_recipe_is_stable(write):
    recipe, again = (read_recipe(write(TOML)) for _ in range(2))
    assert re.fullmatch("[0-9a-f]{16}", recipe.fingerprint())
    assert recipe.fingerprint() == again.fingerprint()
    reordered = dataclasses.replace(recipe, sources=dict(reversed(recipe.sources.items())))
    assert reordered.fingerprint() == recipe.fingerprint()


def test_a_recipe_can_be_rebuilt_from_its_json_table(write):
    recipe = read_recipe(write(TOML))
    table = json.loads(json.dumps(as_table(recipe)))
    parts = {"": table.pop("other_sources"), **table.pop("sources")}
    sources = {name: Source(**part | {"labels": tuple(part["labels"])}) for name, part in parts.items()}
    phases = tuple(Phase(**part | {"train": tuple(part["train"])}) for part in table.pop("phases"))
    assert Recipe(**table, other_sources=sources.pop(""), sources=sources, phases=phases) == recipe


# --- other settings -------------------------------------------------------------------------------------------------------


def test_phase_settings_change_all_phases():
    recipe = Recipe(phases=(Phase("a", batch=4), Phase("b", batch=8)))
    other = changed(recipe, {"seed": 5, "start": None}, {"batch": 16, "epochs": None})
    assert other == Recipe(seed=5, phases=(Phase("a", batch=16), Phase("b", batch=16)))


def test_a_setting_of_none_changes_nothing():
    recipe = Recipe(seed=2, phases=(Phase("a", steps=3),))
    assert changed(recipe, {"seed": None, "held_out": None}, {"batch": None}) == recipe
    assert changed(recipe, {"seed": 0, "held_out": 0.0}, {}) == Recipe(seed=0, held_out=0.0, phases=recipe.phases)


@pytest.mark.parametrize(
    ("settings", "of_phases", "message"),
    [
        ({"held_out": 2.0}, {}, "A setting is not allowed: held_out: Input should be less than 1, given 2.0."),
        ({}, {"batch": -1}, "A setting is not allowed: batch: Input should be greater than or equal to 0, given -1."),
    ],
)
def test_an_invalid_changed_setting_is_refused(settings, of_phases, message):
    with pytest.raises(TrainingError, match=f"^{re.escape(message)}"):
        changed(Recipe(), settings, of_phases)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("seed = 3", "another recipe (seed: 0 before, 3 now)"),
        ("[[phases]]\nsteps = 7", "other pictures or another recipe (phases.0.steps: 0 before, 7 now)"),
        ("[[phases]]\nsteps = 7\nlearning_rate = 0.1", "another recipe (phases.0.learning_rate: 3e-05 before, 0.1 now)"),
        ("[sources.coco]\nviews = 2", "another recipe (sources.coco.views: None before, 2 now)"),
        ("[[phases]]\n[[phases]]\nname = 'more'", "another recipe (phases.1.name: None before, 'more' now)"),
    ],
)
def test_the_first_different_setting_is_named_and_steps_last(write, text, expected):
    assert difference(as_table(Recipe()), as_table(read_recipe(write(text)))) == expected
