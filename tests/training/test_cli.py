"""`coca-search train` as a separate process."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from training.recipe import Recipe

ROOT = Path(__file__).parents[2]


def command(*arguments, ranks=1):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", "coca_search", "train", *map(str, arguments)]


def run(*arguments, ranks=1):
    with tempfile.TemporaryDirectory() as temporary:  # torchrun leaves its logs there
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": temporary}
        return subprocess.run(command(*arguments, ranks=ranks), env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("validate_every = 4\n[other_sources]\nviews = 2\n[[phases]]\nsteps = 8\nbatch = 8\nlearning_rate = 0.003\n")
    return path


def test_train_prints_measures_before_and_after_and_the_paths_of_its_files(colours, tiny_checkpoint, recipe, tmp_path):
    (colours / "red1.png").write_bytes(b"no picture")
    done = run(colours, "--output", tmp_path / "out", "--model", tiny_checkpoint, "--recipe", recipe)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"8 held-out pictures, searched among 23: +before +step [48]", lines[0])
    assert re.fullmatch(r"  text to picture R@1 +\d+\.\d % +\d+\.\d %", lines[1])
    assert re.fullmatch(r"  text to picture log loss +\d\.\d\d +\d\.\d\d", lines[4])
    assert {len(line) for line in lines[:9]} == {len(lines[0])}
    assert re.fullmatch(
        r"The checkpoint .* step [48], which have a lower log loss\.|The checkpoint .* no step has a lower log loss\.", lines[9]
    )
    assert "With so few held-out pictures, a difference of some points may be chance." in lines
    assert lines[-2].startswith("1 skipped, the first: colours/red1.png: ")
    assert lines[-2].endswith(f". All of them: {tmp_path / 'out' / 'training' / 'skipped.csv'}")
    assert (tmp_path / "out" / "training" / "curves.png").exists()
    again = run(colours, "--output", tmp_path / "out", "--model", tiny_checkpoint, "--recipe", recipe)
    assert again.stdout.splitlines() == ["The training was already finished. Pass --overwrite to start again.", *lines]


def test_an_output_among_the_pictures_is_refused(colours, tiny_checkpoint, recipe):
    for output in (colours, colours / "model"):
        done = run(colours, "--output", output, "--model", tiny_checkpoint, "--recipe", recipe)
        assert (done.returncode, "among the pictures" in done.stderr) == (2, True), done.stderr
    assert not (colours / "model").exists()


def test_the_help_shows_the_defaults_of_the_recipe():
    words = " ".join(run("--help").stdout.replace("│", " ").split())
    defaults = dict(re.findall(r"(--[a-z-]+) [^\[]*\[default: \((.*?)\)\]", words))
    recipe, phase = Recipe(), Recipe().phases[0]
    assert {name: float(defaults[name]) for name in ("--epochs", "--batch", "--learning-rate", "--held-out", "--seed")} == {
        "--epochs": phase.epochs,
        "--batch": phase.batch,
        "--learning-rate": phase.learning_rate,
        "--held-out": recipe.held_out,
        "--seed": recipe.seed,
    }


def test_two_ranks_under_torchrun_take_the_steps_of_one_process(colours, tiny_checkpoint, recipe, tmp_path):
    losses = []
    for ranks in (1, 2):
        out = tmp_path / str(ranks)
        done = run(colours, "-o", out, "--model", tiny_checkpoint, "--recipe", recipe, "--micro-batch", 4, ranks=ranks)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("text to picture R@5") == 1  # only the first rank prints
        lines = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
        losses.append([line["contrastive"] + line["captioning"] for line in lines if line["kind"] == "step"])
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[0][-1] < losses[0][0]


def test_a_killed_run_continues_to_the_same_weights(colours, tiny_checkpoint, recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace("steps = 8", "steps = 30"))
    arguments = (colours, "--model", tiny_checkpoint, "--recipe", recipe, "--snapshot-seconds", 0, "--output")
    assert run(*arguments, tmp_path / "whole").returncode == 0
    log = tmp_path / "out" / "training" / "log.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command(*arguments, tmp_path / "out"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not log.exists() or '"step": 10' not in log.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert '"step": 30' not in log.read_text()
    assert run(*arguments, tmp_path / "out").returncode == 0
    whole, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "out"))
    assert all(found[name].equal(value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "absent.toml"], "absent.toml: the recipe cannot be read"),
        (["--model", "nowhere"], "nowhere: no such checkpoint"),
        (["--learning-rate", "0.1", "--batch", "-3"], "batch: Input should be greater than or equal to 0, given -3"),
        (["--device", "tpu"], "The device cannot be used (tpu)"),
        (["--device", "meta"], "The device cannot be used (meta)"),
    ],
)
def test_user_errors_give_a_message_and_exit_code_2(colours, tmp_path, arguments, message):
    done = run(colours, "-o", tmp_path / "out", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kilobytes", [1, 30])
def test_a_full_disk_gives_a_message_and_exit_code_2(colours, tiny_checkpoint, recipe, tmp_path, kilobytes):
    arguments = command(colours, "-o", tmp_path / "out", "--model", tiny_checkpoint, "--recipe", recipe)
    limited = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "limited", *arguments]
    done = subprocess.run(limited, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert re.search(r"cannot be written .*Choose a folder with room\.$|no room for the feature cache", done.stderr.strip())
