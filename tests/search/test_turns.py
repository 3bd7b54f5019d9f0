"""Searches take turns in the order in which they came, and nothing that happens to one of them loses a turn."""

import os
import signal
import threading
import time
from contextlib import ExitStack

import pytest

from search import turns
from search.turns import _Turns


@pytest.fixture
def two_turns(monkeypatch):
    monkeypatch.setattr(turns, "num_cpus", lambda: 2)
    return _Turns()


def wait_for(condition):
    for _ in range(2_000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("num_turns", [1, 2])
def test_no_more_than_allowed_at_once_and_first_come_first_served(monkeypatch, num_turns):
    monkeypatch.setattr(turns, "num_cpus", lambda: num_turns)
    turn, order, at_once, most = _Turns(), [], [], []

    def run(number):
        with turn:
            at_once.append(number)
            order.append(number)
            most.append(len(at_once))
            time.sleep(0.002)
            at_once.remove(number)

    with ExitStack() as taken:
        for _ in range(num_turns):
            taken.enter_context(turn)
        threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
        for number, thread in enumerate(threads):
            thread.start()
            wait_for(lambda number=number: len(turn._waiting) == number + 1)
        assert not order
    for thread in threads:
        thread.join(20)
    assert sorted(order) == list(range(20))
    assert num_turns > 1 or order == list(range(20))
    assert max(most) <= num_turns
    assert turn._num_free == num_turns


def test_an_error_gives_the_turn_back(two_turns):
    for _ in range(5):
        with pytest.raises(ValueError, match="broken"), two_turns:
            raise ValueError("broken")
    assert two_turns._num_free == 2


@pytest.mark.parametrize("is_opened", [False, True])
def test_an_interrupted_wait_loses_no_turn(two_turns, monkeypatch, is_opened):
    class Gate:
        """A lock whose second `acquire` is interrupted, perhaps just after another thread has opened it."""

        def __init__(self):
            self.num_acquired = 0

        def acquire(self):
            self.num_acquired += 1
            if self.num_acquired == 2:
                if is_opened:
                    two_turns.__exit__()
                raise KeyboardInterrupt

        def release(self):
            pass

    two_turns.__enter__()
    two_turns.__enter__()
    real = threading.Lock
    monkeypatch.setattr(turns.threading, "Lock", Gate)
    with pytest.raises(KeyboardInterrupt):
        two_turns.__enter__()
    monkeypatch.setattr(turns.threading, "Lock", real)
    assert not two_turns._waiting
    assert two_turns._num_free == (1 if is_opened else 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_all_turns(two_turns):
    with two_turns, two_turns:
        if not (child := os.fork()):
            signal.alarm(20)
            with two_turns, two_turns:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
