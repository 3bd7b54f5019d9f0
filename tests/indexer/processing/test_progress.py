"""The time left is right within a factor of two from the first tenth of a run on."""

import heapq
import random
import threading

import pytest

from indexer import index
from indexer.cli import describe
from indexer.plan import Task
from indexer.processing.local_executor import Done, Part
from indexer.processing.progress import Progress, ProgressMeter, in_fair_order
from indexer.processing.stopwatch import Stopwatch
from media.sources.source import SourceFile
from tests.fakes import FakeEncoder, write_film

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


def task(number, suffix, size):
    return Task(number, "r", "", SourceFile(f"/{number}.{suffix}", size, 0.0))


def steps_of_lane(task, since, *, embed, pace):
    """The end of each step of a file, and the step. Of a film, a part of the time goes by before the first frame."""
    if task.file.uri.endswith("jpg"):
        return [(since + embed, Done(task, None, embed))]
    total = pace * task.file.size_bytes
    seconds = [(share / 100, total * (0.03 + 0.97 * share / 100)) for share in range(1, 100)]
    return [*((since + spent, Part(task, share, spent)) for share, spent in seconds), (since + total, Done(task, None, total))]


def run_of(tasks, lanes, **seconds):
    """All steps of a run in order of time."""
    free, steps = [0.0] * lanes, []
    for task in tasks:
        steps += steps_of_lane(task, heapq.heappop(free), **seconds)
        heapq.heappush(free, steps[-1][0])
    return sorted(steps, key=lambda step: step[0])


def follow(steps, tasks):
    """The time and the progress at each step."""
    clock = [0.0]
    meter = ProgressMeter(tasks, Stopwatch(), clock=lambda: clock[0])
    for clock[0], step in steps:
        yield clock[0], meter.add_part(step) if isinstance(step, Part) else meter.add(step)


@pytest.mark.parametrize("lanes", [1, 2, 8])
@pytest.mark.parametrize("film_seconds", [50.0, 200.0, 1000.0])
@pytest.mark.parametrize("place", [0, 150, 300])
@pytest.mark.parametrize("size", [50_000_000, 5_000_000_000])
def test_the_time_left_is_right_with_one_long_film_among_pictures(lanes, film_seconds, place, size):
    tasks = in_fair_order([task(2 * place, "mp4", size), *(task(2 * number + 1, "jpg", 1_000_000) for number in range(300))])
    steps = run_of(tasks, lanes, embed=0.8, pace=film_seconds / size)
    total = steps[-1][0]
    for now, progress in follow(steps, tasks):
        if total / 10 < now < 0.97 * total:
            assert 0.5 < progress.seconds_left / (total - now) < 2


def test_the_bar_never_goes_back_nor_above_the_whole():
    tasks = [task(number, ("mp4", "jpg")[number % 2], 10_000_000) for number in range(40)]
    shares = [progress.share_done for _, progress in follow(run_of(tasks, 4, embed=1.0, pace=1e-6), tasks)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-2] < shares[-1] == 1


def test_a_film_alone_moves_the_bar():
    film = task(0, "mp4", 1_000_000)
    *parts, last = [progress for _, progress in follow(run_of([film], 1, embed=0, pace=1e-5), [film])]
    assert [progress.share_done for progress in parts] == pytest.approx([share / 100 for share in range(1, 100)])
    assert {progress.num_done for progress in parts} == {0}
    assert (last.num_done, last.share_done, last.seconds_left) == (1, 1, 0)


def test_a_long_film_moves_the_bar_before_it_is_done(tmp_path):
    write_film(tmp_path / "a.mp4", [("red", 40.0), ("blue", 40.0)], fps=5)
    seen, threads = [], set()

    def on_progress(progress):
        seen.append(progress)
        threads.add(threading.current_thread())

    index(tmp_path / "a.mp4", collection=tmp_path / "c", encoder=FakeEncoder(), on_progress=on_progress)
    before = [progress.share_done for progress in seen if progress.num_done == 0]
    assert before == sorted(set(before))
    assert len(before) >= 5
    assert (before[0], seen[-1].share_done, threads) == (0, 1, {threading.current_thread()})


def test_a_film_that_is_longer_than_its_header_says_waits_at_its_end():
    film, picture = task(0, "mp4", 50_000_000), task(1, "jpg", 1_500_000)
    meter = ProgressMeter([film, picture], Stopwatch())
    shares = [meter.add_part(Part(film, share, seconds)).share_done for share, seconds in [(0.5, 1.0), (1.0, 2.0), (1.0, 3.0)]]
    assert shares == [shares[0], 2 * shares[0], 2 * shares[0]]
    assert meter.add(Done(film, None, 4.0)).share_done == shares[-1] < 1
    assert meter.add(Done(picture, None, 0.1)).share_done == 1


def test_a_film_that_fails_midway_counts_once_and_as_a_whole():
    tasks = [task(0, "mp4", 50_000_000), task(1, "mp4", 50_000_000)]
    clock = [0.0]
    meter = ProgressMeter(tasks, Stopwatch(), clock=lambda: clock[0])
    for clock[0], share in [(2.0, 0.2), (3.0, 0.3)]:
        assert meter.add_part(Part(tasks[0], share, clock[0])).share_done == pytest.approx(share / 2)
    progress = meter.add(Done(tasks[0], tasks[0].failure("decode", "broken"), 3.0))
    assert (progress.num_done, progress.num_failed, progress.share_done) == (1, 1, 0.5)
    assert meter.add(Done(tasks[1], None, 3.0)) == Progress(2, 2, 1, 2 / 3, 0.0, "read", 1.0)


def test_an_empty_file_has_a_bar():
    film = task(0, "mp4", 0)
    meter = ProgressMeter([film], Stopwatch())
    assert meter.now().share_done == 0
    assert meter.add(Done(film, None, 0.1)).share_done == 1


def test_the_largest_film_comes_soon_and_the_others_by_id():
    tasks = [task(number, "mp4" if number % 10 == 9 else "jpg", 1000 + number) for number in range(100)]
    order = [task.media_id for task in in_fair_order(tasks[::-1])]
    assert order == [*range(16), 99, *range(16, 99)]
    assert [task.media_id for task in in_fair_order(tasks[:12][::-1])] == [*range(9), 10, 11, 9]


def test_the_bar_says_how_many_how_fast_how_long_and_what_is_slow():
    assert describe(Progress(0, 1200, 0, 0.0, 30.0, "", 0.0)) == "0 of 1,200 files"
    shown = describe(Progress(100, 1200, 3, 25.04, 3700.0, "decode", 0.1))
    assert shown == "100 of 1,200 files, 25.0 files/s, 1 h 1 min left, slowest: decode, 3 failed"
    assert "2 min 5 s left" in describe(Progress(1, 2, 0, 1.0, 125.0, "embed", 0.5))
    assert describe(Progress(0, 2, 0, 0.0, 125.0, "embed", 0.01)) == "0 of 2 files, 2 min 5 s left, slowest: embed"
