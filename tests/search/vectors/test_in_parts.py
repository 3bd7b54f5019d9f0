"""Work is shared among threads, and none is lost when one fails, when all helpers are busy, or when no thread can be started."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from search.vectors import in_parts as module
from search.vectors.in_parts import in_parts


@pytest.fixture(autouse=True)
def three_cpus(monkeypatch):
    monkeypatch.setattr(module, "num_cpus", lambda: 3)


@pytest.mark.parametrize(("count", "least"), [(0, 1), (1, 1), (7, 4), (8, 4), (1000, 1), (1000, 999)])
def test_the_parts_are_all_there_in_order(count, least):
    parts = in_parts(lambda start, stop: (start, stop), count, least)
    assert [number for start, stop in parts for number in range(start, stop)] == list(range(count))
    assert len(parts) == 1 or all(stop - start >= least for start, stop in parts)


def test_helpers_take_part():
    together = threading.Barrier(3, timeout=20)  # passes only if three threads run a part at once
    in_parts(lambda *_: together.wait(), 3, 1)


def test_busy_helpers_delay_nothing():
    done = threading.Event()
    blocked = [module._helpers(3).submit(done.wait, 20) for _ in range(2)]
    assert len(in_parts(lambda *part: part, 100, 1)) == 12
    assert not any(each.done() for each in blocked)
    done.set()


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_the_error_of_a_part_is_raised(where):
    here, both = threading.get_ident(), threading.Barrier(2, timeout=20)

    def fail(start, stop):
        if start < 2:
            both.wait()  # so that caller and a helper each run a part
        if (threading.get_ident() == here) == (where == "caller"):
            raise ValueError("broken")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="broken"):
        in_parts(fail, 12, 1)
    assert len(in_parts(lambda *part: part, 12, 1)) == 12


def test_many_callers_share_the_helpers():
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda seed: in_parts(lambda start, stop: seed + start, 12, 1), range(200)))
    assert found == [[seed + start for start in range(12)] for seed in range(200)]
    assert sum(each.name.startswith("search") for each in threading.enumerate()) <= 2


@pytest.mark.parametrize("num_started", [0, 1])
def test_no_part_is_lost_if_no_more_threads_can_be_started(monkeypatch, num_started):
    start, started = threading.Thread.start, []

    def start_few(thread):
        if len(started) == num_started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    module._helpers.cache_clear()
    monkeypatch.setattr(threading.Thread, "start", start_few)
    for _ in range(200):
        assert in_parts(lambda *part: time.sleep(1e-5) or part[0], 12, 1) == list(range(12))
    module._helpers.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own():
    in_parts(lambda *part: part, 12, 1)
    if not (child := os.fork()):
        try:
            together = threading.Barrier(3, timeout=20)
            in_parts(lambda *_: together.wait(), 3, 1)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
