"""Firth's fit against independent implementations."""

import time

import numpy as np
import pytest
import statsmodels.api as sm
from firthmodels import FirthLogisticRegression
from numpy.testing import assert_allclose
from planted import around, factorial, power, shared_seed_sweep, sweep
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binom, chi2

from analysis.thresholds.firth import firth, joint_fit
from analysis.thresholds.fitting import fit_fast
from analysis.thresholds.outcomes import Tally, tally_counts


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


def test_the_interval_holds_what_loses_less_than_half_the_quantile_of_chi_squared() -> None:
    """The profile by brute force: at each exponent of a grid a general maximiser of the penalised likelihood."""
    m, n = (part.ravel() for part in np.meshgrid([4.0, 8.0, 16.0, 32.0], [4.0, 8.0, 16.0]))
    data = tally_counts(m, n, [0, 2, 5, 6, 0, 1, 4, 6, 0, 0, 2, 5], np.full(12, 6))
    design = design_of(data)

    def loss(free: np.ndarray, p: float) -> float:
        chance = expit(design @ np.array([free[0], free[1], -free[1] * p]))
        weight = data.trials * chance * (1 - chance)
        likelihood = binom.logpmf(data.successes, data.trials, chance) - binom.logpmf(data.successes, data.trials, 0.5)
        return float(-likelihood.sum() - 0.5 * np.linalg.slogdet((design.T * weight) @ design)[1])

    fit = joint_fit(data)
    start = np.array([fit.fit.coefficients[0] - fit.fit.coefficients @ fit.centre, fit.slope])

    def profile(p: float) -> float:
        return float(minimize(loss, start, (p,), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).fun)

    grid = np.linspace(fit.exponent - 1.5, fit.exponent + 1.5, 61)
    losses = np.array([profile(p) for p in grid])
    inside = grid[losses - profile(fit.exponent) < chi2.ppf(0.95, 1) / 2]
    assert inside[0] - 0.05 <= fit.interval[0] <= inside[0]  # the grid's step
    assert inside[-1] <= fit.interval[1] <= inside[-1] + 0.05
    for end in fit.interval:  # the root is found to 1e-4 of the half width
        assert profile(end) - profile(fit.exponent) == pytest.approx(chi2.ppf(0.95, 1) / 2, rel=1e-3)


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
