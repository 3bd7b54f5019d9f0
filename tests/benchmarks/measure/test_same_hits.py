"""The comparison of two rankings finds wrong hits and allows ties."""

import pytest

from benchmarks.measure.same_hits import check_same

RANKING = [("a", 0.9), ("b", 0.8), ("c", 0.8), ("d", 0.7)]


def test_equal_rankings_differ_by_nothing():
    assert check_same(RANKING, RANKING) == 0.0
    assert check_same([], []) == 0.0


def test_ties_may_come_in_any_order_and_be_cut_off_anywhere():
    swapped = [RANKING[0], RANKING[2], RANKING[1], RANKING[3]]
    assert check_same(RANKING, swapped) == 0.0
    assert check_same(RANKING[:2], swapped[:2]) == 0.0


@pytest.mark.parametrize(
    "other",
    [
        [("x", 0.9), *RANKING[1:]],  # another hit with the cosine of a
        [("b", 0.9), ("a", 0.8), *RANKING[2:]],  # swapped, although they are not a tie
        [*RANKING[:3], ("d", 0.6)],
    ],
)
def test_another_hit_or_cosine_is_an_error(other):
    with pytest.raises(AssertionError, match="hits differ by a cosine of"):
        check_same(RANKING, other)


def test_a_missing_hit_is_an_error():
    with pytest.raises(AssertionError, match="4 hits, 3 on the other side"):
        check_same(RANKING, RANKING[:3])
