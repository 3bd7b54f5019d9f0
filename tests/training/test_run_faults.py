"""Faults during a run: existing files and weights must survive."""

import csv
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from coca_model.errors import CheckpointError
from tests.training.test_run import StopAt, lines, recipe, train
from training.cache.files import lock
from training.errors import TrainingError
from training.outputs import validation as validate
from training.recipe import Phase

RUINOUS = Phase("ruinous", steps=4, batch=8, learning_rate=5.0, average=0.0, clip=1e9)
WORDS = Phase("words", steps=2, batch=0, sentences=8, objectives={"language": 1.0})


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return all(other[name].equal(value.half()) for name, value in one.items())


@pytest.fixture
def good(colours, tiny_checkpoint, tmp_path):
    phase = Phase(steps=60, batch=16, learning_rate=3e-3, average=0.9)
    train(colours, tmp_path / "good", recipe(tiny_checkpoint, phases=(phase,), validate_every=120), snapshot_seconds=1e9)
    return tmp_path / "good"


def test_leftovers_of_a_run_killed_before_its_first_snapshot_are_ignored(colours, tiny_checkpoint, good, tmp_path):
    train(colours, tmp_path / "out", recipe(good), snapshot_seconds=1e9)
    (tmp_path / "out" / "training" / "result.json").unlink()  # a kill leaves the same files: weights and a log
    trained = train(colours, tmp_path / "out", recipe(tiny_checkpoint, phases=(RUINOUS,)))
    assert not trained.kept
    assert same(weights(tiny_checkpoint), weights(tmp_path / "out"))
    assert [line["step"] for line in lines(tmp_path / "out") if line["kind"] == "kept"] == [0]


@pytest.mark.parametrize("phases", [(WORDS, RUINOUS), (RUINOUS, WORDS)], ids=["words first", "words last"])
def test_a_phase_without_pictures_keeps_the_best_weights(colours, good, tmp_path, phases):
    trained = train(colours, tmp_path / "out", recipe(good, phases=phases))
    kept, best = trained.measured if trained.kept else trained.before, trained.before
    assert kept["text to picture log loss"] + kept["picture to text log loss"] <= sum(best[f"{way} log loss"] for way in WAYS)
    assert trained.before["text to picture R@1"] == 100


WAYS = ("text to picture", "picture to text")


def test_a_second_run_into_the_same_output_is_refused(colours, tiny_checkpoint, tmp_path):
    with lock(tmp_path / "out" / "training" / "lock"), pytest.raises(TrainingError, match="another training run writes there"):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    assert train(colours, tmp_path / "out", recipe(tiny_checkpoint)).steps == 6


def test_the_start_is_not_overwritten_under_another_path(colours, tiny_checkpoint, tmp_path):
    shutil.copytree(tiny_checkpoint, tmp_path / "out")
    with pytest.raises(TrainingError, match="the run starts from this checkpoint"):
        train(colours, tmp_path / "out", recipe(tmp_path / "out" / ".." / "out"), overwrite=True)


def test_overwrite_removes_nothing_if_the_run_cannot_start(colours, tiny_checkpoint, tmp_path):
    train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    with pytest.raises(CheckpointError):
        train(colours, tmp_path / "out", recipe("/nowhere/model.bin"), overwrite=True)
    assert train(colours, tmp_path / "out", recipe(tiny_checkpoint)).steps == 0


def test_ctrl_c_during_a_validation_keeps_the_steps_before_it(colours, tiny_checkpoint, tmp_path, monkeypatch):
    measure, count = validate.Validation.__call__, []

    def press(self, *arguments, **options):
        count.append(1)
        if len(count) == 2:
            signal.raise_signal(signal.SIGINT)
        return measure(self, *arguments, **options)

    monkeypatch.setattr(validate.Validation, "__call__", press)
    with pytest.raises(KeyboardInterrupt):
        train(colours, tmp_path / "out", recipe(tiny_checkpoint), snapshot_seconds=1e9)
    assert train(colours, tmp_path / "out", recipe(tiny_checkpoint)).steps == 4


def test_a_copy_of_a_held_out_picture_is_not_trained_on(colours, tiny_checkpoint, tmp_path):
    shutil.copy(colours / "red0.png", colours / "copy.png")  # red0 is held out
    with (colours / "captions.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["copy.png", "a red car", "train"])
    trained = train(colours, tmp_path / "out", recipe(tiny_checkpoint))
    assert [one.name for one in trained.skipped] == ["colours/copy.png"]


def test_a_snapshot_is_taken_whenever_weights_are_kept(colours, tiny_checkpoint, tmp_path):
    chosen = recipe(tiny_checkpoint, phases=(Phase(steps=40, batch=16, learning_rate=3e-3, average=0.5),), validate_every=5)
    with pytest.raises(KeyboardInterrupt):
        train(colours, tmp_path / "out", chosen, note=StopAt("training steps", 33), snapshot_seconds=1e9)
    snapshot = torch.load(tmp_path / "out" / "training" / "snapshot.pt", weights_only=True)
    kept = [line["step"] for line in lines(tmp_path / "out") if line["kind"] == "kept"][-1]
    assert 0 < kept == snapshot["step"] < 33
