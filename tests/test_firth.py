"""Firth's fit against independent implementations."""

import time

import numpy as np
import pytest
import statsmodels.api as sm
from firthmodels import FirthLogisticRegression
from numpy.testing import assert_allclose
from planted import around, factorial, power, shared_seed_sweep, sweep

from analysis.firth import firth, joint_fit
from analysis.outcomes import Tally, tally_counts
from analysis.thresholds import fit_fast


def design_of(data: Tally) -> np.ndarray:
    return np.column_stack([np.ones_like(data.over), np.log(data.critical), np.log(data.over)])


def single(data: Tally) -> tuple[np.ndarray, np.ndarray]:
    """Design and outcomes, one row a training: the form other packages take."""
    cell = np.repeat(np.arange(len(data.over)), data.trials.astype(int))
    rank = np.concatenate([np.arange(count) for count in data.trials.astype(int)])
    return design_of(data)[cell], (rank < data.successes[cell]).astype(int)


@pytest.mark.parametrize("seed", range(3))
def test_unpenalised_fit_is_statsmodels_glm(seed: int) -> None:
    data = sweep(power(1.5), 2000, np.random.default_rng(seed))
    ours = firth(design_of(data), data.successes, data.trials, penalty=0.0)
    counts = np.column_stack([data.successes, data.trials - data.successes])
    theirs = sm.GLM(counts, design_of(data), family=sm.families.Binomial()).fit(tol=1e-12)
    # both stop within 1e-9 of the maximum in likelihood, hence about its root in the coefficients
    assert_allclose(ours.coefficients, theirs.params, rtol=1e-5)
    assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-4)


@pytest.mark.parametrize("trainings", [60, 400])
def test_penalised_fit_is_firthmodels(trainings: int) -> None:
    data = sweep(power(2.0), trainings, np.random.default_rng(trainings))
    design, outcome = single(data)
    theirs = FirthLogisticRegression(backend="numpy", gtol=1e-5, xtol=1e-5, max_iter=200).fit(design[:, 1:], outcome)
    ours = firth(design_of(data), data.successes, data.trials)
    assert_allclose(ours.coefficients, [theirs.intercept_, *theirs.coef_], rtol=1e-4)
    assert ours.likelihood == pytest.approx(theirs.loglik_, abs=1e-6)


def test_ends_of_the_interval_are_where_firthmodels_says_five_percent() -> None:
    # With log m - p log n for log m, the exponent is p exactly where the coefficient of log n is 0.
    data = sweep(power(1.5), 300, np.random.default_rng(3))
    design, outcome = single(data)
    for end in joint_fit(data).interval:
        turned = np.column_stack([design[:, 1] - end * design[:, 2], design[:, 2]])
        model = FirthLogisticRegression(backend="numpy", gtol=1e-5, xtol=1e-5, max_iter=200).fit(turned, outcome)
        model.lrt([1])
        # the root is found to 1e-4 of the half width: 1.96^2 moves by 8e-4, its tail probability by 1e-4
        assert model.lrt_pvalues_[1] == pytest.approx(0.05, abs=3e-4)


def test_finite_under_separation() -> None:
    m, n = (part.ravel() for part in np.meshgrid(2.0 ** np.arange(2, 12), 2.0 ** np.arange(4, 10)))
    data = tally_counts(m, n, 5 * (m >= n), np.full(m.shape, 5))
    fit = joint_fit(data)
    assert fit.fit.converged
    assert np.isfinite(fit.fit.coefficients).all()
    assert fit.exponent == pytest.approx(1.0, abs=1e-3)  # by symmetry about m = n / sqrt 2


def test_units_of_m_move_the_prefactor_only() -> None:
    data = sweep(power(1.5), 500, np.random.default_rng(5))
    scaled = tally_counts(1000 * data.critical, data.over, data.successes, data.trials)
    a, b = fit_fast(data), fit_fast(scaled)
    assert b.prefactor == pytest.approx(1000 * a.prefactor, rel=1e-6)
    assert (b.exponent, *b.interval) == pytest.approx((a.exponent, *a.interval), abs=1e-5)


def test_shared_seeds_widen_what_would_be_too_narrow() -> None:
    clustered = fit_fast(shared_seed_sweep(2.0, 40, np.random.default_rng(0)))
    naive = fit_fast(shared_seed_sweep(2.0, 40, np.random.default_rng(0), keep_seeds=False))
    assert clustered.exponent == pytest.approx(naive.exponent, abs=1e-9)
    ratio = np.subtract(*clustered.interval) / np.subtract(*naive.interval)
    # 40 seeds, each a step over 13 widths, carry what 40 positions carry: a logistic's sd is 1.81 / slope, so
    # the exponent's error is 1.81 / (4 sqrt(40 * 8) * 1.13) = 0.0224; the naive fit says 0.0140.
    assert ratio == pytest.approx(1.6, abs=0.3)


def test_fast_enough_for_a_live_display() -> None:
    data = sweep(power(1.5), 2000, np.random.default_rng(1), factorial)
    fit_fast(data)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        fit_fast(data)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.05  # measured: 0.01 on one core


def test_a_hundred_thousand_trainings_cost_no_more() -> None:
    m, n = around(power(1.5))
    trials = np.full(m.shape, 100_000 // len(m))
    k = np.random.default_rng(0).binomial(trials, 1 / (1 + (n**1.5 / m) ** 4))
    start = time.perf_counter()
    law = fit_fast(tally_counts(m, n, k, trials))
    assert time.perf_counter() - start < 1.0
    assert law.exponent == pytest.approx(1.5, abs=4 * 0.0028)  # 4 standard errors: .063 at 200, by the root of N
