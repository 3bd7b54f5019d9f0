"""The time left is right within a factor of two from the first tenth of a run on."""

import random

import pytest

from indexer.cli import describe
from indexer.plan import Task
from indexer.processing.local_executor import Done
from indexer.processing.progress import Progress, ProgressMeter
from indexer.processing.stopwatch import Stopwatch
from media.sources.source import SourceFile

LANES = 3


def seconds_of(task, *, embed, per_megabyte):
    size = task.file.size_bytes / 1e6
    return 0.4 * size if task.file.uri.endswith("mp4") else embed + per_megabyte * size


def library(*, pictures, films, seed):
    choose = random.Random(seed)
    sizes = [("jpg", choose.lognormvariate(15, 1)) for _ in range(pictures)] + [("mp4", choose.lognormvariate(17, 1)) for _ in range(films)]
    choose.shuffle(sizes)
    return [Task(n, "r", "", SourceFile(f"/{n}.{suffix}", int(size), 0.0)) for n, (suffix, size) in enumerate(sizes)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("pictures", "films"), [(2000, 0), (2000, 100), (0, 200)])
@pytest.mark.parametrize(("embed", "per_megabyte"), [(0.01, 0.01), (0.1, 0.005), (0.003, 0.1)])
def test_the_time_left_is_right_within_a_factor_of_two_from_the_first_tenth_on(pictures, films, seed, embed, per_megabyte):
    tasks = library(pictures=pictures, films=films, seed=seed)
    clock = [0.0]
    meter = ProgressMeter(tasks, Stopwatch(), clock=lambda: clock[0])
    total = sum(seconds_of(task, embed=embed, per_megabyte=per_megabyte) for task in tasks) / LANES
    for task in tasks:
        seconds = seconds_of(task, embed=embed, per_megabyte=per_megabyte)
        clock[0] += seconds / LANES
        progress = meter.add(Done(task, None, seconds))
        if total / 10 < clock[0] < 0.97 * total:
            assert 0.5 < progress.seconds_left / (total - clock[0]) < 2
    assert progress.seconds_left == pytest.approx(0, abs=1e-6)
    assert progress.num_done == progress.num_files == len(tasks)


def test_the_bar_says_how_many_how_fast_how_long_and_what_is_slow():
    assert describe(Progress(0, 1200, 0, 0.0, 30.0, "")) == "0 of 1,200 files"
    shown = describe(Progress(100, 1200, 3, 25.04, 3700.0, "decode"))
    assert shown == "100 of 1,200 files, 25.0 files/s, 1 h 1 min left, slowest: decode, 3 failed"
    assert "2 min 5 s left" in describe(Progress(1, 2, 0, 1.0, 125.0, "embed"))
