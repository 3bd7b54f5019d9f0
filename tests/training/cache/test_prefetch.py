import threading

import pytest

from training.cache.features import prefetch


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_results_come_in_the_order_of_the_items(depth):
    first = threading.Event()

    def compute(number):
        if number == 0 and depth > 0:
            first.wait(5)  # until a later item is done
        first.set()
        return number**2

    assert list(prefetch(compute, range(20), threads=4, depth=depth)) == [number**2 for number in range(20)]


@pytest.mark.parametrize("depth", [0, 2, 5])
def test_at_most_depth_items_are_started_in_advance(depth):
    started = []
    results = prefetch(started.append, range(20), threads=1, depth=depth)
    for received in range(1, 5):
        next(results)
        assert len(started) <= received + depth


def test_no_items_give_no_results():
    assert list(prefetch(str, [], threads=4, depth=3)) == []


def test_an_error_is_raised_at_its_position():
    results = prefetch(lambda number: 1 // number, [1, 1, 0, 1], threads=4, depth=3)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
