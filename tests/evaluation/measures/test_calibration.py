"""Calibrated probabilities, on scores with known answers."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from evaluation.measures.calibration import cross_fitted, fit_platt, reliability


def drawn(count, seed=0, slope=8.0, middle=0.3):
    random = np.random.default_rng(seed)
    scores = random.normal(0.3, 0.2, count)
    return scores, random.random(count) < 1 / (1 + np.exp(-slope * (scores - middle)))


def test_platt_scaling_recovers_the_curve_that_generated_the_answers():
    probabilities = fit_platt(*drawn(20_000))(np.array([0.0, 0.5]))
    offset, upper = np.log(probabilities / (1 - probabilities))
    slope = (upper - offset) / 0.5
    assert slope == pytest.approx(8, rel=0.05)
    assert -offset / slope == pytest.approx(0.3, abs=0.01)


def test_platt_scaling_agrees_with_scikit_learn():
    scores, right = drawn(3000, 1)
    theirs = LogisticRegression(C=1e6).fit(scores[:, None], right).predict_proba(scores[:, None])[:, 1]
    np.testing.assert_allclose(fit_platt(scores, right)(scores), theirs, atol=2e-3)  # Platt's targets are a little softer


@pytest.mark.parametrize("right", [np.arange(40) >= 20, np.arange(40) < 20, np.ones(40, bool)])
def test_separable_answers_do_not_give_probabilities_of_0_or_1(right):
    probabilities = fit_platt(np.linspace(0, 1, 40), right)(np.linspace(0, 1, 40))
    assert np.isfinite(probabilities).all()
    assert (probabilities > 1e-6).all()
    assert ((probabilities > 0.5) == right).mean() > 0.9


def test_equal_scores_get_the_share_of_right_answers_as_probability():
    right = np.arange(100) < 30
    assert fit_platt(np.full(100, 0.4), right)(np.array([0.4]))[0] == pytest.approx(0.3, abs=0.02)


def test_reliability_agrees_with_scikit_learn():
    scores, right = drawn(1000, 2)
    probabilities = fit_platt(scores, right)(scores)
    result = reliability(probabilities, right)
    observed, predicted = calibration_curve(right, probabilities, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(result.predicted, predicted, atol=1e-2)
    np.testing.assert_allclose(result.observed, observed, atol=2e-2)
    assert result.brier == pytest.approx(brier_score_loss(right, probabilities))


def test_calibrated_probabilities_have_no_error_and_overconfident_ones_have_one():
    right = np.tile([True, False], 50)
    assert reliability(np.full(100, 0.5), right).expected_calibration_error == pytest.approx(0)
    assert reliability(np.full(100, 0.9), right, bins=1).expected_calibration_error == pytest.approx(0.4)


def test_cross_fitting_never_scores_a_query_with_a_curve_fitted_on_it():
    # Every query has a different score and a random answer. A curve fitted on these answers would beat chance.
    random = np.random.default_rng(3)
    questions, scores, right = np.arange(200), random.random(200), random.random(200) < 0.5
    assert reliability(cross_fitted(scores, right, questions), right).brier > 0.245


def test_the_hits_of_one_query_fall_into_one_fold():
    scores = np.tile([0.9, 0.1], 30)
    right = np.tile([True, False], 30)
    probabilities = cross_fitted(scores, right, np.repeat(np.arange(30), 2))
    assert (probabilities[::2] > 0.8).all()
    assert (probabilities[1::2] < 0.2).all()


@pytest.mark.parametrize("seed", range(3))
def test_equal_probabilities_share_a_bin_in_any_order(seed):
    right = np.random.default_rng(seed).permutation(np.arange(100) < 30)
    assert reliability(np.full(100, 0.3), right).expected_calibration_error == pytest.approx(0)


def test_a_curve_fitted_on_its_own_answers_looks_better_than_a_cross_fitted_one():
    # 25 queries with different scores and random answers: fitting on the same answers overfits, and cross-fitting does not.
    random = np.random.default_rng(7)
    scores, right = random.normal(size=25), random.random(25) < 0.5
    own = fit_platt(scores, right)(scores)
    others = cross_fitted(scores, right, np.arange(25))
    assert ((own - right) ** 2).mean() < ((others - right) ** 2).mean()
