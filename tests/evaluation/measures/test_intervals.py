"""Bootstrap intervals: limits, widths, and the effect of clusters."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from evaluation.measures.intervals import mean_interval, median_interval


def test_constant_values_have_an_interval_of_zero_width():
    measure = mean_interval(np.ones(50))
    assert (measure.value, measure.low, measure.high) == (100, 100, 100)


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = np.random.default_rng(0).random(400)
    measure = mean_interval(values, resamples=4000)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert measure.low == pytest.approx(100 * expected.low, abs=0.25)
    assert measure.high == pytest.approx(100 * expected.high, abs=0.25)


def test_the_interval_of_a_median_agrees_with_scipy():
    values = np.random.default_rng(2).exponential(10, 401)
    measure = median_interval(values, resamples=3000)
    expected = bootstrap((values,), np.median, method="percentile", n_resamples=3000, rng=3).confidence_interval
    assert measure.value == np.median(values)
    assert (measure.low, measure.high) == pytest.approx((expected.low, expected.high), abs=0.4)


def test_clustered_values_make_the_interval_wider():
    once = (np.random.default_rng(4).random(100) < 0.3).astype(float)
    values, clusters = np.repeat(once, 5), np.repeat(np.arange(100), 5)
    alone, together = mean_interval(values), mean_interval(values, clusters=clusters)
    single = mean_interval(once)
    assert together.high - together.low == pytest.approx(single.high - single.low, rel=1e-9)  # five copies of a value add no information
    assert alone.high - alone.low < 0.6 * (together.high - together.low)


def test_the_interval_is_deterministic():
    values = np.random.default_rng(5).random(30)
    assert mean_interval(values) == mean_interval(values)


def test_an_empty_array_is_refused():
    with pytest.raises(ValueError, match=r"no values \(0\)"):
        mean_interval(np.zeros(0))


@pytest.mark.parametrize("interval", [mean_interval, median_interval])
def test_fewer_than_five_clusters_have_no_interval(interval):
    few = interval(np.random.default_rng(6).random(40), clusters=np.arange(40) % 4)
    enough = interval(np.random.default_rng(6).random(40), clusters=np.arange(40) % 5)
    assert (few.low, few.high) == (None, None)
    assert enough.low <= enough.value <= enough.high


def test_a_clustered_median_equals_resampling_cluster_by_cluster():
    values, clusters = np.random.default_rng(8).integers(0, 9, 60).astype(float), np.repeat(np.arange(12), 5)
    random = np.random.default_rng(0)
    drawn = [np.median(np.concatenate([values[clusters == c] for c in random.integers(0, 12, 12)])) for _ in range(1000)]
    found = median_interval(values, clusters=clusters)
    assert (found.low, found.high) == tuple(np.percentile(drawn, (2.5, 97.5)))
