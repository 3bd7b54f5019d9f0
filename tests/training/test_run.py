import csv
import dataclasses
import json
import math
import shutil
import signal

import pytest
from PIL import Image
from safetensors.torch import load_file

from coca_model import load
from training import run
from training.errors import TrainingError
from training.examples import select
from training.examples.read import read_examples
from training.objectives.heads import Heads
from training.outputs import checkpointer
from training.prepare import materials
from training.recipe import Phase, Recipe, Source
from training.steps import phase_loop

STEPS = 6


def recipe(checkpoint, **settings):
    phase = Phase(steps=STEPS, batch=8, learning_rate=3e-3, average=0.8)
    return Recipe(**({"start": str(checkpoint), "validate_every": 2, "phases": (phase,)} | settings))


def train(folder, output, chosen, *, snapshot_seconds=0, **options):
    return run.train(read_examples([folder]), [], chosen, output, snapshot_seconds=snapshot_seconds, **options)


def lines(output):
    """The lines of the run log without times."""
    timed = {"seconds", "seconds_left", "pictures_a_second"}
    rows = (json.loads(line) for line in (output / "training" / "log.jsonl").read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


class StopAt:
    """Interrupts a run at a step, as Ctrl-C does."""

    def __init__(self, what, step):
        self.what, self.step = what, step

    def __call__(self, what, done, total):
        if what == self.what and done == self.step:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def report_every_step(monkeypatch):
    monkeypatch.setattr(checkpointer, "_SHOW_EVERY", 1)


def test_a_tiny_model_learns_to_find_and_caption_colours(colours, tiny_checkpoint, tmp_path):
    phase = Phase(steps=120, batch=16, learning_rate=4e-3, average=0.9)
    trained = train(colours, tmp_path / "out", recipe(tiny_checkpoint, phases=(phase,), validate_every=120), snapshot_seconds=1e9)
    assert trained.measured["text to picture R@1"] == 100
    assert trained.before["text to picture R@1"] < 50
    encoder = load(tmp_path / "out")
    pictures = encoder.encode_images([Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")])
    assert (encoder.encode_texts(["a red car", "a blue car"]) @ pictures.T).argmax(1).tolist() == [0, 1]
    assert [text.split()[1] for text in encoder.caption([Image.new("RGB", (32, 32), "blue")])] == ["blue"]


def two_phases(checkpoint, views):
    """A recipe that uses all state kept between steps: phases, frozen units, views, dropped patches, queues, heads."""
    first = Phase("words", steps=3, batch=0, sentences=8, train=("unimodal", "multimodal"), objectives={"language": 1.0})
    second = Phase("joint", steps=5, batch=8, sentences=4, objectives={"contrastive": 1.0, "captioning": 1.0, "language": 0.5}, patches=0.5)
    second = dataclasses.replace(second, objectives=dict(second.objectives) | {"swapped_prototypes": 0.1, "mixed_contrastive": 0.1})
    if views:  # masked objectives need cached features
        more = {"momentum_contrast": 0.5, "kl_alignment": 0.1, "masked_words": 0.1, "masked_patches": 0.1, "painted_patches": 0.1}
        more |= {"self_retrieval": 0.1, "hard_negatives": 0.1}
        second = dataclasses.replace(second, objectives=dict(second.objectives) | more)
    other = {"views": views}
    chosen = recipe(checkpoint, phases=(first, second), frozen_units=1)
    return dataclasses.replace(chosen, other_sources=dataclasses.replace(chosen.other_sources, **other))


@pytest.mark.parametrize("views", [0, 3])
@pytest.mark.parametrize(("what", "step"), [("words steps", 2), ("joint steps", 1), ("joint steps", 4)])
def test_a_resumed_run_gives_the_same_weights_and_log(colours, tiny_checkpoint, tmp_path, views, what, step):
    chosen = two_phases(tiny_checkpoint, views)
    train(colours, tmp_path / "whole", chosen)
    with pytest.raises(KeyboardInterrupt):
        train(colours, tmp_path / "parts", chosen, note=StopAt(what, step))
    done = len(lines(tmp_path / "parts"))
    train(colours, tmp_path / "parts", chosen)
    assert 0 < done < len(lines(tmp_path / "parts"))
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(found[name].equal(value) for name, value in expected.items())


def test_objectives_with_heads_learn_from_the_texts_of_training_pictures(colours, tiny_checkpoint, tmp_path, monkeypatch):
    with (colours / "captions.csv").open(newline="") as file:
        trained = {row["caption"] for row in csv.DictReader(file) if row["split"] == "train"}
    with (colours / "captions.csv").open("a") as file:
        file.write("red0.png,a green sky,val\n")
    given = []

    def heads(names, width, meanings, *, seed):
        given.append(len(meanings))
        return Heads(names, width, meanings, seed=seed)

    monkeypatch.setattr(phase_loop, "Heads", heads)
    names = ("arbitrary_pairs", "clustered_prototypes", "swapped_prototypes")
    phase = Phase(steps=2, batch=8, objectives=dict.fromkeys(names, 1.0))
    train(colours, tmp_path / "out", recipe(tiny_checkpoint, phases=(phase,), sentence_teacher=str(tiny_checkpoint)))
    steps = [line for line in lines(tmp_path / "out") if line["kind"] == "step"]
    assert all(math.isfinite(line[name]) for line in steps for name in names)
    assert given == [len(trained)]


def test_starting_a_finished_run_again_does_nothing(colours, tiny_checkpoint, tmp_path):
    first = train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    before = (tmp_path / "out" / "model.safetensors").read_bytes(), lines(tmp_path / "out")
    again = train(colours, tmp_path / "out", recipe(tiny_checkpoint), note=StopAt("training steps", 1))
    assert (first.steps, again) == (STEPS, dataclasses.replace(first, steps=0))
    assert ((tmp_path / "out" / "model.safetensors").read_bytes(), lines(tmp_path / "out")) == before


def test_a_finished_run_removes_its_snapshot_and_cache(colours, tiny_checkpoint, tmp_path):
    chosen, work = dataclasses.replace(recipe(tiny_checkpoint), frozen_units=1), tmp_path / "work"
    train(colours, tmp_path / "out", chosen)
    left = {"curves.png", "log.jsonl", "recipe.json", "result.json", "skipped.csv"}
    assert {file.name for file in (tmp_path / "out" / "training").iterdir()} == left
    train(colours, tmp_path / "other", chosen, work=work)
    assert {file.name for file in (tmp_path / "other" / "training").iterdir()} == left
    assert {file.suffix for file in work.iterdir()} == {".bf16", ".json", ".lock"}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"fingerprint": "a"}'])
def test_a_damaged_result_is_named(colours, tiny_checkpoint, tmp_path, content):
    (tmp_path / "out" / "training").mkdir(parents=True)
    (tmp_path / "out" / "training" / "result.json").write_text(content)
    with pytest.raises(TrainingError, match=r"result\.json: damaged"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    assert train(colours, tmp_path / "out", recipe(tiny_checkpoint), overwrite=True).steps == STEPS


def test_the_output_of_another_recipe_is_refused_without_overwrite(colours, tiny_checkpoint, tmp_path):
    train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    other = recipe(tiny_checkpoint, seed=1)
    with pytest.raises(TrainingError, match=r"training: made with another recipe \(seed: 0 before, 1 now\).*--overwrite"):
        train(colours, tmp_path / "out", other)
    train(colours, tmp_path / "out", other, overwrite=True)
    assert len([line for line in lines(tmp_path / "out") if line["kind"] == "step"]) == STEPS


def test_a_run_that_makes_the_model_worse_keeps_the_start_weights(colours, tiny_checkpoint, tmp_path):
    good = tmp_path / "good"
    phase = Phase(steps=60, batch=16, learning_rate=3e-3, average=0.9)
    train(colours, good, recipe(tiny_checkpoint, phases=(phase,), validate_every=120), snapshot_seconds=1e9)
    ruinous = Phase(steps=4, batch=8, learning_rate=5.0, average=0.0, clip=1e9)
    trained = train(colours, tmp_path / "out", recipe(good, phases=(ruinous,)))
    assert not trained.kept
    assert sum(trained.measured[name] - trained.before[name] for name in trained.before if name.endswith("log loss")) > 0
    start, kept = (load_file(folder / "model.safetensors") for folder in (good, tmp_path / "out"))
    assert all(kept[name].equal(value) for name, value in start.items())


def test_a_phase_begins_with_the_averaged_weights_and_may_keep_its_last_step(colours, tiny_checkpoint, tmp_path):
    joint = Phase("joint", steps=STEPS, batch=8, learning_rate=0.1, keep="last")
    weights = {"captioning": 1.0, "self_retrieval": 0.1}
    captions = Phase("captions", steps=3, batch=8, learning_rate=3e-3, train=("multimodal",), objectives=weights, keep="last")
    first = train(colours, tmp_path / "first", recipe(tiny_checkpoint, phases=(joint,)))
    both = train(colours, tmp_path / "both", recipe(tiny_checkpoint, phases=(joint, captions)))
    assert first.kept
    assert both.kept
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "both"))
    differing = {name.partition(".")[0] for name, value in one.items() if not other[name].equal(value)}
    assert differing == {"multimodal"}


@pytest.mark.parametrize("views", [0, 2])
def test_unreadable_pictures_are_reported_and_the_rest_is_used(colours, tiny_checkpoint, tmp_path, views):
    for name in ("red1.png", "blue0.png"):
        (colours / name).write_bytes(b"no picture")
    chosen = recipe(tiny_checkpoint, frozen_units=1, phases=(Phase(steps=3, batch=16),))
    chosen = dataclasses.replace(chosen, other_sources=dataclasses.replace(chosen.other_sources, views=views))
    trained = train(colours, tmp_path / "out", chosen)
    with (tmp_path / "out" / "training" / "skipped.csv").open() as file:
        named = [row["name"] for row in csv.DictReader(file)]
    assert [one.name for one in trained.skipped] == named
    assert named == ["colours/blue0.png", "colours/red1.png"]


def test_unreadable_pictures_of_a_stopped_run_are_reported_at_the_end(colours, tiny_checkpoint, tmp_path, monkeypatch):
    broken, whole = colours / "red1.png", (colours / "red1.png").read_bytes()
    chosen, examples = recipe(tiny_checkpoint, phases=(Phase(steps=8, batch=16),)), read_examples([colours])

    hashed = select.hash_pictures(examples.examples)
    monkeypatch.setattr(select, "hash_pictures", lambda _: hashed)
    broken.write_bytes(b"no picture")
    with pytest.raises(KeyboardInterrupt):
        run.train(examples, [], chosen, tmp_path / "out", snapshot_seconds=0, note=StopAt("training steps", 3))
    broken.write_bytes(whole)
    assert [one.name for one in train(colours, tmp_path / "out", chosen).skipped] == ["colours/red1.png"]


@pytest.mark.parametrize(("part", "objective", "captions"), [("multimodal", "contrastive", True), ("multimodal", "captioning", False)])
def test_a_phase_whose_objectives_give_no_gradient_is_an_error(colours, tiny_checkpoint, tmp_path, part, objective, captions):
    phase = Phase("idle", steps=5, batch=8, train=(part,), objectives={objective: 1.0})
    chosen = recipe(tiny_checkpoint, phases=(phase,), other_sources=Source(captions=captions))
    with pytest.raises(TrainingError, match="'idle' learns nothing: none of its objectives reaches a part that it trains"):
        train(colours, tmp_path / "out", chosen)


def test_a_batch_larger_than_the_data_is_reduced_to_its_size(colours, tiny_checkpoint, tmp_path):
    train(colours, tmp_path / "out", recipe(tiny_checkpoint, phases=(Phase(steps=0, epochs=3, batch=500),)))
    assert [line["step"] for line in lines(tmp_path / "out") if line["kind"] == "step"] == [1, 2, 3]


def test_a_run_writes_its_curves_and_its_log(with_curves, colours, tiny_checkpoint, tmp_path):
    trained = train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    with Image.open(trained.output / "training" / "curves.png") as curves:
        assert min(curves.size) > 300
        assert len(curves.convert("RGB").resize((50, 50)).getcolors(2500)) > 5
    kinds = [line["kind"] for line in lines(trained.output)]
    assert kinds.count("validation") == 1 + STEPS // 2
    assert all(abs(line["contrastive"]) < 100 and line["gradient_norm"] > 0 for line in lines(trained.output) if line["kind"] == "step")


def test_the_held_out_share_of_a_source_becomes_the_test_split(colours, tiny_checkpoint, tmp_path):
    chosen = recipe(tiny_checkpoint)
    chosen = dataclasses.replace(chosen, other_sources=dataclasses.replace(chosen.other_sources, held_out=0.5))
    split = [example.split for example in select.split_examples(read_examples([colours]).examples, chosen)]
    assert 0 < split.count("test") < len(split)
    assert split == [one.split for one in select.split_examples(read_examples([colours]).examples, chosen)]


def test_the_output_of_changed_pictures_is_refused(colours, tiny_checkpoint, tmp_path):
    train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    Image.new("RGB", (32, 32), "grey").save(colours / "red1.png")
    with pytest.raises(TrainingError, match="made with other pictures, texts or start"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint))


def test_added_pictures_are_reported_as_other_pictures_or_another_recipe(colours, tiny_checkpoint, tmp_path):
    chosen = recipe(tiny_checkpoint, phases=(Phase(steps=0, epochs=3, batch=500),))
    train(colours, tmp_path / "out", chosen)
    Image.new("RGB", (32, 32), "grey").save(colours / "grey.png")
    with (colours / "captions.csv").open("a") as file:
        file.write("grey.png,a grey car,train\n")
    with pytest.raises(TrainingError, match=r"made with other pictures or another recipe \(phases\.0\.batch: \d+ before, \d+ now\)"):
        train(colours, tmp_path / "out", chosen)


def test_the_start_checkpoint_is_never_overwritten(colours, tiny_checkpoint, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(tiny_checkpoint, start)
    with pytest.raises(TrainingError, match=r"start: the run starts from this checkpoint and would overwrite it"):
        train(colours, start, recipe(start))


def test_scratch_without_a_class_teacher_for_its_stem_is_refused(colours, tmp_path):
    with pytest.raises(
        TrainingError,
        match=r'A model from "scratch" needs a class_teacher for its stem. Name one, or start from scratch:base',
    ):
        train(colours, tmp_path / "out", recipe("scratch"))


def test_no_picture_to_train_on_is_an_error(colours, tiny_checkpoint, tmp_path):
    captions = colours / "captions.csv"
    captions.write_text(captions.read_text().replace("train", "val"))
    with pytest.raises(TrainingError, match=r"Too few pictures to train on \(0, for 1 ranks\)"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint))


def test_a_run_that_diverges_stops_and_keeps_the_start_weights(colours, tiny_checkpoint, tmp_path):
    ruinous = Phase(steps=50, batch=8, learning_rate=1e20, average=0.0)
    with pytest.raises(TrainingError, match="diverged"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint, phases=(ruinous,), validate_every=100))
    start, kept = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, tmp_path / "out"))
    assert all(kept[name].equal(value.half()) for name, value in start.items())


def test_ctrl_c_keeps_the_finished_steps(colours, tiny_checkpoint, tmp_path):
    chosen, seen = recipe(tiny_checkpoint), []

    def press(_what, step, _total):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run.train(read_examples([colours]), [], chosen, tmp_path / "out", note=press)
    train(colours, tmp_path / "out", chosen, note=lambda _what, step, _total: seen.append(step))
    assert seen == [4, 5, 6]  # step 4 finished before the signal was handled, so the progress continues from it
    train(colours, tmp_path / "whole", chosen)
    whole, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert all(found[name].equal(value) for name, value in whole.items())


def test_a_source_with_share_0_is_not_used(colours, tiny_checkpoint, tmp_path):
    nothing = dataclasses.replace(recipe(tiny_checkpoint).other_sources, share=0)
    with pytest.raises(TrainingError, match="Too few pictures"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint, sources={"colours": nothing}))


def test_a_model_from_scratch_trains_with_a_tokenizer_of_its_texts(colours, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setitem(materials.SHAPES, "scratch:tiny", tiny_config)
    phase = Phase(steps=20, batch=16, learning_rate=3e-3, average=0.5)
    trained = train(
        colours, tmp_path / "out", recipe("scratch:tiny", vocabulary_size=300, phases=(phase,), validate_every=20), snapshot_seconds=1e9
    )
    losses = [line["captioning"] for line in lines(tmp_path / "out") if line["kind"] == "step"]
    assert losses[-1] < 0.85 * losses[0]
    assert trained.before == {}
    assert load(tmp_path / "out").config.text.vocabulary_size <= 300
