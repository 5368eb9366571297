"""The hierarchical fit: its derivatives, its integral, and what it recovers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from planted import SAMPLES, cover_sweep, power, step_sweep, sweep
from scipy.special import expit, logsumexp
from scipy.stats import norm

from analysis.thresholds.fitting import fit_threshold
from analysis.thresholds.hierarchical import SCATTER_SCALE, hierarchical
from analysis.thresholds.law import mixture_quantile
from analysis.thresholds.outcomes import Tally, tally_counts
from analysis.thresholds.separation import groups
from analysis.thresholds.transition import LAPSE, SHAPES, SKEW, SLOPE, Model, bend, evaluate


def columns(over: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones_like(over), np.log(over) - np.log(over).mean()])


def fitted(data: Tally, start: tuple[float, ...], **more: object):
    where = groups(data)
    law = columns(where.over)
    return hierarchical(data, where.of, law, law[:, 1], np.array(start), **more)  # type: ignore[arg-type]


def test_gradient_by_finite_differences() -> None:
    data = sweep(power(1.5, high=0.05), 500, np.random.default_rng(0))
    where = groups(data)
    law = columns(where.over)
    anchor = np.array([6.5, 1.5])
    model = Model(np.log(data.critical), data.successes, data.trials, where.of, law, law[:, 1], 0.3, anchor)
    rng = np.random.default_rng(1)
    at = np.concatenate([[6.8, 1.4, 1.2, 0.2, -3.0, -2.0, 0.4], rng.normal(0, 0.5, len(law))])[None]
    tau, step = np.array([0.2]), 1e-5
    gradient = evaluate(model, at, tau)[1][0]
    for i in range(at.size):
        ahead, behind = at.copy(), at.copy()
        ahead[0, i] += step
        behind[0, i] -= step
        slope = (evaluate(model, ahead, tau)[0] - evaluate(model, behind, tau)[0])[0] / (2 * step)
        # rounding: values near 200 to 1e-13 over 2e-5 leave 1e-8 or so; curvature leaves step^2
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("skew", [-0.7, 0.0, 1e-4, 0.5, 1.0])
def test_bend_and_its_derivatives(skew: float) -> None:
    x, k, step = np.linspace(-2, 1.5, 8), np.array(skew), 1e-6
    value, by_x, by_k = bend(x, k)
    assert_allclose(value, x if abs(skew) < 1e-3 else np.expm1(skew * x) / skew, atol=3e-3)  # k stops at 1e-3
    assert_allclose(by_x, (bend(x + step, k)[0] - bend(x - step, k)[0]) / (2 * step), atol=1e-6)
    if abs(skew) > 1e-2:
        assert_allclose(by_k, (bend(x, k + step)[0] - bend(x, k - step)[0]) / (2 * step), atol=1e-6)
    assert bend(np.zeros(1), k)[0] == 0
    assert_allclose(bend(np.array([0.3]), np.array(1.0))[0], np.expm1(0.3))  # k = 1: linear in m / m* - 1


def test_posterior_against_brute_force_integration() -> None:
    """Three n, slope and shape known to the prior only through data: exact sums over a lattice of (a, p, tau, u).

    The model is reduced to what a lattice can hold: shapes fixed at the fit's own mode, u summed exactly by
    quadrature, flat priors on a and p. What is compared is the mean and sd of p.
    """
    over = np.array([16.0, 64.0, 256.0])
    m = np.concatenate([over_i * 2.0 ** np.arange(-3, 3.5, 0.5) for over_i in over])
    n = np.repeat(over, 13)
    trials = np.full(m.shape, 20.0)
    k = np.random.default_rng(4).binomial(20, expit(4 * np.log(m / n)))
    data = tally_counts(m, n, k, trials)
    fit = fitted(data, (np.log(over).mean(), 1.0, np.log(4.0)))
    means, errors = fit.combination(np.array([0.0, 1.0]))
    ours = fit.weights @ means
    sd = np.sqrt(fit.weights @ (errors**2 + (means - ours) ** 2))

    shapes = fit.weights @ fit.means[:, 2 : 2 + SHAPES]
    z, x = columns(over)[:, 1], np.log(data.critical)
    low, high = expit(shapes[2]) / 2, expit(shapes[3]) / 2
    heights = np.linspace(-0.9, 0.9, 361)  # of log m* about log n
    logs = []
    for i, v in enumerate(over):
        cell = data.over == v
        slope = np.exp(shapes[0] + shapes[1] * z[i])
        bent = bend(x[cell] - np.log(v) - heights[:, None], shapes[4])[0]
        chance = low + (1 - low - high) * expit(slope * bent)
        won, tried = data.successes[cell], data.trials[cell]
        logs.append((won * np.log(chance) + (tried - won) * np.log1p(-chance)).sum(1))
    p, a, total = np.linspace(-0.5, 2.5, 241), np.linspace(-0.6, 0.6, 121), []
    for tau in fit.scatters:
        at = a[:, None, None] + (p - 1)[:, None] * z
        each = []
        for i in range(3):
            kernel = -0.5 * ((heights - np.linspace(-2.5, 2.5, 1001)[:, None]) / tau) ** 2 - np.log(tau)
            smooth = (
                logsumexp(logs[i] + kernel, axis=1)
                if tau > 0.01
                else np.interp(np.linspace(-2.5, 2.5, 1001), heights, logs[i], left=-999, right=-999)
                + np.log(np.sqrt(2 * np.pi) / (heights[1] - heights[0]))
            )
            each.append(np.interp(at[..., i], np.linspace(-2.5, 2.5, 1001), smooth, left=-999, right=-999))
        total.append(logsumexp(np.sum(each, axis=0), axis=0) + np.log(tau) - 0.5 * (tau / SCATTER_SCALE) ** 2)
    density = np.exp(logsumexp(total, axis=0))
    density /= density.sum()
    mean = density @ p
    brute = np.sqrt(density @ (p - mean) ** 2)
    # Laplace at 260 trainings an n is good to a few per cent; the tail of tau at three n is not normal
    assert ours == pytest.approx(mean, abs=0.1 * brute)
    assert sd == pytest.approx(brute, rel=0.15)


def test_scatter_lapse_and_slope_are_recovered() -> None:
    truth = power(2.0, scatter=0.15, high=0.08, slope=lambda n: 0.5 * np.sqrt(n))
    law = fit_threshold(sweep(truth, 40_000, np.random.default_rng(2)))
    # tau from 8 n: error .15 / sqrt(2 * 6) = .04. Half of 40,000 trainings lie above m*: the lapse rate is known
    # to sqrt(.08 .92 / 20000) = .002, more as it trades with the slope; the slope's power to about .03
    assert law.scatter == pytest.approx(0.15, abs=0.1)
    assert law.lapse[1] == pytest.approx(0.08, abs=0.01)
    assert law.lapse[0] == pytest.approx(0.0, abs=0.01)
    assert law.sharpening == pytest.approx(0.5, abs=0.1)
    assert any("sharpens" in note for note in law.notes)


def test_the_level_is_that_of_the_thresholds_fitted() -> None:
    # slope 0.5 sqrt n: log m*(.9) = 2 log n + 2.197 / (.5 sqrt n), whose least squares exponent is below 2
    truth = power(2.0, slope=lambda n: 0.5 * np.sqrt(n))
    expected = np.polyfit(np.log(SAMPLES), 2 * np.log(SAMPLES) + np.log(9) / (0.5 * np.sqrt(SAMPLES)), 1)[0]
    assert expected == pytest.approx(1.746, abs=1e-3)
    data = sweep(truth, 20_000, np.random.default_rng(3))
    half, nine = fit_threshold(data), fit_threshold(data, 0.9)
    assert half.exponent == pytest.approx(2.0, abs=0.03)  # SE .01 from .063 at 200 trainings
    assert nine.exponent < 1.9  # the curve is not straight: only near the straight line's 1.75
    at = nine.points[-1]
    assert at.critical == pytest.approx(512.0**2 * np.exp(np.log(9) / (0.5 * np.sqrt(512))), rel=0.1)


def test_skew_of_covers_law_is_seen() -> None:
    data = cover_sweep(20_000, np.random.default_rng(0))
    where = groups(data)
    fit = fitted(data, (np.log(where.over / 2).mean(), 1.0, np.log(12.0)))
    assert fit.average(fit.columns + 4) > 0.3  # symmetric in d, not log d: k = 1 against a prior of 0 +- .5


def test_a_plateau_between_brackets_does_not_pass_for_scatter() -> None:
    data = step_sweep(1000, np.random.default_rng(0))
    where = groups(data)
    fit = fitted(data, (np.log(where.over).mean(), 1.0, np.log(20.0)))
    # Brackets of half an octave, .35 in log m*, all on one line: a scatter of .1 is the most they leave room for.
    # (Laplace's approximation alone, which sees no walls, says .25.)
    assert fit.weights @ fit.scatters < 0.12


def test_quantiles_of_a_mixture() -> None:
    one = mixture_quantile(0.975, np.ones(1), np.array([2.0]), np.array([0.5]))
    assert one == pytest.approx(2 + 0.5 * norm.ppf(0.975), abs=1e-9)
    weights, means, errors = np.array([0.3, 0.7]), np.array([-1.0, 1.0]), np.array([0.2, 1.5])
    for q in (0.025, 0.5, 0.9):
        at = mixture_quantile(q, weights, means, errors)
        assert weights @ norm.cdf(at, means, errors) == pytest.approx(q, abs=1e-9)


def test_priors_are_what_the_text_says() -> None:
    assert np.exp(SLOPE[0] + 2 * SLOPE[1] * np.array([-1, 1])) == pytest.approx([0.3, 120.5], rel=0.01)
    assert expit(LAPSE[0]) / 2 == pytest.approx(0.02)
    assert SKEW[0] == 0.0
