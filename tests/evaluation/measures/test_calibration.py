"""Probabilities that keep what they promise, on scores whose truth is known."""

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


def test_the_curve_that_made_the_answers_is_found():
    platt = fit_platt(*drawn(20_000))
    assert platt.slope == pytest.approx(8, rel=0.05)
    assert -platt.offset / platt.slope == pytest.approx(0.3, abs=0.01)


def test_it_is_that_of_scikit_learn():
    scores, right = drawn(3000, 1)
    theirs = LogisticRegression(C=1e6).fit(scores[:, None], right).predict_proba(scores[:, None])[:, 1]
    np.testing.assert_allclose(fit_platt(scores, right)(scores), theirs, atol=2e-3)  # Platt's targets are a little softer


@pytest.mark.parametrize("right", [np.arange(40) >= 20, np.arange(40) < 20, np.ones(40, bool)])
def test_answers_that_a_score_separates_do_not_make_it_certain(right):
    probabilities = fit_platt(np.linspace(0, 1, 40), right)(np.linspace(0, 1, 40))
    assert np.isfinite(probabilities).all()
    assert (probabilities > 1e-6).all()
    assert ((probabilities > 0.5) == right).mean() > 0.9


def test_equal_scores_promise_what_usually_comes_true():
    right = np.arange(100) < 30
    assert fit_platt(np.full(100, 0.4), right)(np.array([0.4]))[0] == pytest.approx(0.3, abs=0.02)


def test_reliability_agrees_with_scikit_learn():
    scores, right = drawn(1000, 2)
    probabilities = fit_platt(scores, right)(scores)
    result = reliability(probabilities, right)
    true, said = calibration_curve(right, probabilities, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(result.predicted, said, atol=1e-2)
    np.testing.assert_allclose(result.observed, true, atol=2e-2)
    assert result.brier == pytest.approx(brier_score_loss(right, probabilities))


def test_promises_that_are_kept_have_no_error_and_boasts_have_one():
    right = np.tile([True, False], 50)
    assert reliability(np.full(100, 0.5), right).expected_calibration_error == pytest.approx(0)
    assert reliability(np.full(100, 0.9), right, bins=1).expected_calibration_error == pytest.approx(0.4)


def test_a_question_is_never_judged_by_a_curve_that_saw_it():
    # Every question has its own score, and the truth is noise: a curve that had seen the answers would know better than chance.
    random = np.random.default_rng(3)
    questions, scores, right = np.arange(200), random.random(200), random.random(200) < 0.5
    assert reliability(cross_fitted(scores, right, questions), right).brier > 0.245


def test_the_hits_of_one_question_fall_into_one_fold():
    scores = np.tile([0.9, 0.1], 30)
    right = np.tile([True, False], 30)
    probabilities = cross_fitted(scores, right, np.repeat(np.arange(30), 2))
    assert (probabilities[::2] > 0.8).all()
    assert (probabilities[1::2] < 0.2).all()


@pytest.mark.parametrize("seed", range(3))
def test_equal_promises_are_judged_together_whatever_their_order(seed):
    right = np.random.default_rng(seed).permutation(np.arange(100) < 30)
    assert reliability(np.full(100, 0.3), right).expected_calibration_error == pytest.approx(0)


def test_a_curve_that_saw_the_answers_would_look_better_than_it_is():
    # Twenty-five questions, each with its own score: fitted on themselves five of them tell the slope, fitted on others nothing does.
    random = np.random.default_rng(7)
    scores, right = random.normal(size=25), random.random(25) < 0.5
    own = fit_platt(scores, right)(scores)
    others = cross_fitted(scores, right, np.arange(25))
    assert ((own - right) ** 2).mean() < ((others - right) ** 2).mean()
