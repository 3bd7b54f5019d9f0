import csv
import json

import pytest

from training.examples.example import Skipped
from training.outputs.run_log import RunLog, write_skipped

PHASES = ["words", "pictures"]
STEPS = [("words", 5), ("words", 10), ("pictures", 5), ("pictures", 10), ("pictures", 15)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "training" / "log.jsonl"


def write_steps(path, steps=STEPS):
    log = RunLog(path)
    log.begin(PHASES, 0, 0)
    for phase, step in steps:
        log.write("step", phase, step, {"contrastive": step / 10})
        if step % 10 == 0:
            log.write("validation", phase, step, {"text to picture R@1": 50.0})
    return log


def begin_log(path, phase, step):
    log = RunLog(path)
    log.begin(PHASES, phase, step)
    assert read(path) == log.lines
    return log


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(lines):
    return list(dict.fromkeys((line["phase"], line["step"]) for line in lines))


def test_each_line_has_kind_phase_step_and_values(path):
    assert write_steps(path, STEPS[1:2]).lines == read(path)
    assert read(path) == [
        {"kind": "step", "phase": "words", "step": 10, "contrastive": 1.0},
        {"kind": "validation", "phase": "words", "step": 10, "text to picture R@1": 50.0},
    ]


@pytest.mark.parametrize(
    ("phase", "step", "kept"), [(0, 0, 0), (0, 7, 1), (0, 10, 2), (1, 0, 2), (1, 5, 3), (1, 14, 4), (1, 15, 5), (2, 0, 5)]
)
def test_a_resumed_run_keeps_only_the_lines_of_finished_steps(path, phase, step, kept):
    write_steps(path)
    assert steps(begin_log(path, phase, step).lines) == STEPS[:kept]


def test_new_lines_follow_the_unchanged_old_ones(path):
    before = write_steps(path).lines
    log = begin_log(path, 1, 5)
    log.write("step", "pictures", 7, {"contrastive": 0.25})
    assert read(path) == [*before[:4], {"kind": "step", "phase": "pictures", "step": 7, "contrastive": 0.25}]


def test_the_log_knows_the_last_kept_weights_and_their_measures(path):
    log = write_steps(path)
    assert log.kept() is None
    log.write("kept", "words", 10)
    log.write("kept", "pictures", 10)
    assert log.kept() == {"kind": "kept", "phase": "pictures", "step": 10, "text to picture R@1": 50.0}
    assert begin_log(path, 1, 5).kept() == {"kind": "kept", "phase": "words", "step": 10, "text to picture R@1": 50.0}
    log.write("kept", "pictures", 15)
    assert log.kept() == {"kind": "kept", "phase": "pictures", "step": 15}  # without measures


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_truncated_last_line_is_dropped(path, cut):
    write_steps(path)
    text = path.read_text()
    path.write_text(text[:-cut])
    kept = begin_log(path, 1, 15).lines
    whole = [json.loads(line) for line in text.splitlines()]
    assert kept == (whole if cut == 1 else whole[:-1])  # only the end of the line is missing


@pytest.mark.parametrize("junk", [b"\xff\x00{}", b"[1]", b'{"kind": "step"}', b"}"])
def test_a_damaged_line_does_not_affect_others(path, junk):
    write_steps(path)
    whole = begin_log(path, 1, 15).lines
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + junk + b"\n" + b"".join(rest))
    assert begin_log(path, 1, 15).lines == whole


def test_a_new_run_starts_an_empty_log(path):
    write_steps(path)
    assert begin_log(path, 0, 0).lines == []
    assert path.read_text() == ""


def test_skipped_examples_are_written_once_and_sorted_by_name(tmp_path):
    skipped = [
        Skipped("b.jpg", 'not a picture, "really"'),
        Skipped("ä.jpg", "gone"),
        Skipped("a.jpg", "gone"),
        Skipped("b.jpg", 'not a picture, "really"'),
    ]
    assert write_skipped(tmp_path / "skipped.csv", skipped) == [skipped[2], skipped[0], skipped[1]]
    with (tmp_path / "skipped.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "reason"], ["a.jpg", "gone"], ["b.jpg", 'not a picture, "really"'], ["ä.jpg", "gone"]]


def test_a_run_without_skipped_examples_writes_only_the_header(tmp_path):
    assert write_skipped(tmp_path / "skipped.csv", []) == []
    assert (tmp_path / "skipped.csv").read_text().splitlines() == ["name,reason"]
