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
    diary = RunLog(path)
    diary.begin(PHASES, 0, 0)
    for phase, step in steps:
        diary.write("step", phase, step, {"contrastive": step / 10})
        if step % 10 == 0:
            diary.write("validation", phase, step, {"text to picture R@1": 50.0})
    return diary


def begun(path, phase, step):
    diary = RunLog(path)
    diary.begin(PHASES, phase, step)
    assert read(path) == diary.lines
    return diary


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(lines):
    return list(dict.fromkeys((line["phase"], line["step"]) for line in lines))


def test_each_line_says_its_kind_phase_step_and_values(path):
    assert write_steps(path, STEPS[1:2]).lines == read(path)
    assert read(path) == [
        {"kind": "step", "phase": "words", "step": 10, "contrastive": 1.0},
        {"kind": "validation", "phase": "words", "step": 10, "text to picture R@1": 50.0},
    ]


@pytest.mark.parametrize(
    ("phase", "step", "kept"), [(0, 0, 0), (0, 7, 1), (0, 10, 2), (1, 0, 2), (1, 5, 3), (1, 14, 4), (1, 15, 5), (2, 0, 5)]
)
def test_a_run_that_goes_on_keeps_the_lines_of_steps_that_are_done_and_no_other(path, phase, step, kept):
    write_steps(path)
    assert steps(begun(path, phase, step).lines) == STEPS[:kept]


def test_lines_that_are_kept_keep_what_they_say_and_others_follow_them(path):
    before = write_steps(path).lines
    diary = begun(path, 1, 5)
    diary.write("step", "pictures", 7, {"contrastive": 0.25})
    assert read(path) == [*before[:4], {"kind": "step", "phase": "pictures", "step": 7, "contrastive": 0.25}]


def test_the_weights_that_were_kept_last_are_known_with_what_they_reached(path):
    diary = write_steps(path)
    assert diary.kept() is None
    diary.write("kept", "words", 10)
    diary.write("kept", "pictures", 10)
    assert diary.kept() == {"kind": "kept", "phase": "pictures", "step": 10, "text to picture R@1": 50.0}
    assert begun(path, 1, 5).kept() == {"kind": "kept", "phase": "words", "step": 10, "text to picture R@1": 50.0}
    diary.write("kept", "pictures", 15)
    assert diary.kept() == {"kind": "kept", "phase": "pictures", "step": 15}  # of which nothing was measured


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_half_a_line_that_a_kill_left_is_dropped(path, cut):
    write_steps(path)
    text = path.read_text()
    path.write_text(text[:-cut])
    kept = begun(path, 1, 15).lines
    whole = [json.loads(line) for line in text.splitlines()]
    assert kept == (whole if cut == 1 else whole[:-1])  # only the end of the line is missing


@pytest.mark.parametrize("junk", [b"\xff\x00{}", b"[1]", b'{"kind": "step"}', b"}"])
def test_a_line_that_is_damaged_costs_no_other(path, junk):
    write_steps(path)
    whole = begun(path, 1, 15).lines
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + junk + b"\n" + b"".join(rest))
    assert begun(path, 1, 15).lines == whole


def test_a_run_that_begins_anew_begins_an_empty_log(path):
    write_steps(path)
    assert begun(path, 0, 0).lines == []
    assert path.read_text() == ""


def test_what_is_left_out_is_written_once_each_in_the_order_of_names(tmp_path):
    skipped = [
        Skipped("b.jpg", 'not a picture, "really"'),
        Skipped("ä.jpg", "gone"),
        Skipped("a.jpg", "gone"),
        Skipped("b.jpg", 'not a picture, "really"'),
    ]
    assert write_skipped(tmp_path / "skipped.csv", skipped) == [skipped[2], skipped[0], skipped[1]]
    with (tmp_path / "skipped.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["name", "reason"], ["a.jpg", "gone"], ["b.jpg", 'not a picture, "really"'], ["ä.jpg", "gone"]]


def test_a_training_that_used_everything_says_so(tmp_path):
    assert write_skipped(tmp_path / "skipped.csv", []) == []
    assert (tmp_path / "skipped.csv").read_text().splitlines() == ["name,reason"]
