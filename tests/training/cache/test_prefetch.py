import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from training.cache.prefetch import prefetch


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_results_come_in_the_order_of_the_items(pool, depth):
    first = threading.Event()

    def compute(number):
        if number == 0 and depth > 0:
            first.wait(5)  # until one behind it is done
        first.set()
        return number**2

    assert list(prefetch(pool, compute, range(20), depth=depth)) == [number**2 for number in range(20)]


@pytest.mark.parametrize("depth", [0, 2, 5])
def test_no_more_is_begun_than_the_depth_says(depth):
    begun = []
    with ThreadPoolExecutor(1) as pool:
        results = prefetch(pool, begun.append, range(20), depth=depth)
        for asked in range(1, 5):
            next(results)
            assert len(begun) <= asked + depth


def test_nothing_in_gives_nothing_out(pool):
    assert list(prefetch(pool, str, [], depth=3)) == []


def test_what_goes_wrong_is_raised_in_its_place(pool):
    results = prefetch(pool, lambda number: 1 // number, [1, 1, 0, 1], depth=3)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
