"""Timing of the sides in turn, and the figures computed from the seconds."""

import pytest

from benchmarks.measure.timing import latency, rate, ratio, seconds_of, seconds_of_each


def test_percentiles_are_interpolated_between_calls():
    assert latency([number / 1000 for number in range(101)]) == {"p50_ms": 50.0, "p99_ms": 99.0}
    assert latency([0.004, 0.002]) == {"p50_ms": 3.0, "p99_ms": 3.98}
    assert latency([0.007]) == {"p50_ms": 7.0, "p99_ms": 7.0}


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds():
    assert ratio({"a": [1.0, 1.0, 2.0], "b": [2.0, 9.0, 8.0]}, "a", "b") == 4.0
    assert ratio({"a": [1.0, 1.0, 2.0], "b": [2.0, 9.0, 8.0]}, "b", "a") == 0.25


def test_a_rate_is_that_of_the_median_round():
    assert rate([0.5, 100.0, 0.25], 10) == 20.0


def test_sides_run_in_turn_and_the_first_round_is_not_counted():
    calls = []
    seconds = seconds_of({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("before", [0, 2, 9])
def test_all_sides_get_an_input_before_the_next_one_and_warm_up_is_not_counted(before):
    calls = []
    sides = {side: lambda given, side=side: calls.append(side + given) for side in "ab"}
    seconds = seconds_of_each(sides, ["1", "2", "3"], before)
    assert calls[-6:] == ["a1", "b1", "a2", "b2", "a3", "b3"]
    assert len(calls) == 6 + 2 * min(before, 3)
    assert [len(values) for values in seconds.values()] == [3, 3]
