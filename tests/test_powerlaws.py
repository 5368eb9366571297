"""Power laws: known answers, independent oracles, coverage on planted curves."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from planted_curves import (
    FLATTENS,
    GROWS,
    HALF,
    HALF_FLOOR,
    LAGS,
    ONE_FLOOR,
    STEEPENS,
    Planted,
    Tally,
    X,
    assert_at_least,
    draw,
    fit_of,
    log_cost,
    simulate,
)
from scipy import stats
from statsmodels.tools.eval_measures import aicc as aicc_of_statsmodels

from analysis.powerlaws import fitting as powerlaws
from analysis.powerlaws import logcurves, logfits
from analysis.powerlaws.fitting import fit_power_law

RUNS = 20


# --- known answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exponent", "offset"), [(-0.5, 0.0), (-1.0, 0.0), (2.0, 0.0), (-0.5, 0.1), (-1.0, 0.01), (0.5, 3.0)]
)
def test_a_noiseless_curve_is_recovered(exponent: float, offset: float) -> None:
    # The fit stops when log residuals are near 1e-10 rms; the curves' conditioning loses at most four digits of that.
    law = fit_power_law(X, 3 * X**exponent + offset)
    assert law.status == "ok"
    assert law.chosen == ("offset" if offset else "power")
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.prefactor == pytest.approx(3, rel=1e-5)
    assert law.offset == pytest.approx(offset, rel=1e-5, abs=1e-12)
    y, lo, hi = law.predict([10.0, 5000.0])
    np.testing.assert_allclose(y, 3 * np.array([10.0, 5000.0]) ** exponent + offset, rtol=1e-5)
    assert np.all(lo <= y)
    assert np.all(y <= hi)
    assert law.holdout is not None
    assert law.holdout.inside


@pytest.mark.parametrize("digits", [8, 17])
@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize(("exponent", "offset"), [(-0.5, 0.0), (1.7, 0.0), (-1.0, 0.01), (0.5, 3.0)])
def test_what_only_rounding_leaves_is_no_misfit(exponent: float, offset: float, robust: bool, digits: int) -> None:
    """Exact and repeated, also as printed with eight digits: nothing to note, and the largest x is predicted."""
    x = np.repeat(X, 3)
    y = [float(f"{value:.{digits}g}") for value in 3 * x**exponent + offset]
    law = fit_power_law(x, y, robust=robust)
    assert (law.status, law.notes) == ("ok", ())
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.holdout is not None and law.holdout.inside


def test_a_real_misfit_of_a_millionth_is_still_one() -> None:
    bent = 3 * X**-0.5 * (1 + 1e-5 * np.sin(3 * np.log(X)))
    y = np.repeat(bent, 3) * (1 + 1e-7 * np.random.default_rng(0).standard_normal(24))
    assert any("lack of fit" in note for note in fit_power_law(np.repeat(X, 3), y).notes)


def test_aicc_is_that_of_the_textbook() -> None:
    """n log(RSS/n) + 2k + 2k(k + 1)/(n - k - 1), k counting the variance: by hand, and as statsmodels has it."""
    by_hand = 8 * np.log(0.2 / 8) + 6 + 24 / 4  # n = 8, two parameters and a variance: k = 3
    assert logfits.aicc(0.2, 8, 2) == pytest.approx(by_hand, rel=1e-12)
    for n, p, cost in ((6, 2, 0.3), (9, 3, 0.02), (40, 4, 7.0)):
        theirs = aicc_of_statsmodels(-n / 2 * np.log(cost / n), n, p + 1)
        assert logfits.aicc(cost, n, p) == pytest.approx(theirs, rel=1e-12)
    assert logfits.aicc(0.2, 4, 2) == np.inf  # n = k + 1: nothing is left to test with


def test_without_an_offset_it_is_ordinary_least_squares_on_logarithms() -> None:
    x, y, _ = draw(HALF, 0)
    fit = fit_of(fit_power_law(x, y), "power")
    ols = sm.OLS(np.log(y), sm.add_constant(np.log(x))).fit()
    assert fit.exponent == pytest.approx(ols.params[1], rel=1e-9)
    assert np.log(fit.prefactor) == pytest.approx(ols.params[0], rel=1e-9)
    # the ends of the profile are located to 1e-5
    assert fit.interval == pytest.approx(tuple(ols.conf_int()[1]), abs=1e-5)
    assert fit.phi == pytest.approx(ols.scale, rel=1e-9)
    at = np.array([8.0, 100.0, 4096.0])
    frame = ols.get_prediction(sm.add_constant(np.log(at))).summary_frame()
    bands = logfits.band(fit, at)
    for mine, name in zip(bands, ("mean", "mean_ci_lower", "mean_ci_upper"), strict=True):
        np.testing.assert_allclose(np.log(mine), frame[name], rtol=1e-7)


def test_the_correction_is_least_squares_with_a_one_over_x_covariate() -> None:
    x, y, _ = draw(GROWS, 0)
    law = fit_power_law(x, y)
    z = np.column_stack([np.ones_like(x), np.log(x), 1 / x])
    ols = sm.OLS(np.log(y), z).fit()
    assert fit_of(law, "corrected").exponent == pytest.approx(ols.params[1], rel=1e-8)
    plain = sm.OLS(np.log(y), z[:, :2]).fit()

    def aicc(fit: object, k: int) -> float:  # from the log likelihood: k counts the variance
        return -2 * fit.llf + 2 * k + 2 * k * (k + 1) / (x.size - k - 1)  # type: ignore[attr-defined]

    assert fit_of(law, "corrected").aicc - fit_of(law, "power").aicc == pytest.approx(
        aicc(ols, 4) - aicc(plain, 3), abs=1e-8
    )


def test_the_offset_fit_is_the_global_minimum_and_its_interval_the_profile() -> None:
    x, y, _ = draw(HALF_FLOOR, 3)
    fit = fit_of(fit_power_law(x, y), "offset")
    ratio = np.concatenate([[0.0], np.geomspace(1e-4, 10, 5_001)])  # c / a, steps of 2.3e-3: cost to 1e-5 relative
    exponents = np.linspace(-1.5, -0.1, 281)
    profile = np.array([log_cost(x, y, e, ratio).min() for e in exponents])
    assert fit.cost <= profile.min() * (1 + 1e-9)
    assert abs(exponents[profile.argmin()] - fit.exponent) <= 0.005  # the grid's step
    target = fit.cost * (1 + stats.f.ppf(0.95, 1, x.size - 3) / (x.size - 3))
    for end in fit.interval:
        assert log_cost(x, y, end, ratio).min() == pytest.approx(target, rel=1e-3)


@pytest.mark.parametrize("form", ["power", "offset", "corrected"])
def test_derivatives_are_those_of_the_curve(form: str) -> None:
    z, h, theta = np.log(X / 181), 16 / X, np.array([0.3, -0.7, 0.2])[: 2 if form == "power" else 3]
    _, jac = logcurves.curve(form, theta, z, h)
    for j in range(theta.size):  # central differences: error 1e-10 from the step squared, 1e-11 from rounding
        d = 1e-5 * np.eye(theta.size)[j]
        slope = (logcurves.curve(form, theta + d, z, h)[0] - logcurves.curve(form, theta - d, z, h)[0]) / 2e-5
        np.testing.assert_allclose(jac[:, j], slope, rtol=1e-8, atol=1e-9)


def test_the_band_of_an_offset_fit_covers_the_curve() -> None:
    hits = np.zeros(3)
    for i in range(RUNS):
        x, y, _ = draw(replace(HALF_FLOOR, repeats=20), i)
        fit = logfits.fit_form("offset", logcurves.scaled(x, y), profile=False)
        at = np.array([16.0, 181.0, 4096.0])
        _, lo, hi = logfits.band(fit, at)
        hits += (lo <= HALF_FLOOR.curve(at)) & (HALF_FLOOR.curve(at) <= hi)
        assert np.all(np.log(hi / lo) < 0.5)  # twice a standard error of about .1 / sqrt(20) each, more beyond the data
    for count in hits:
        assert_at_least(int(count), RUNS, 0.93)


def test_hubers_loss_by_hand() -> None:
    # 0.5 is inside the clip of 1: 0.25; -2 and 3 outside: 2 |r| - 1
    assert logcurves.loss(np.array([0.5, -2.0, 3.0]), 1.0) == 0.25 + 3.0 + 5.0
    assert logcurves.loss(np.array([0.5, -2.0, 3.0]), np.inf) == 0.25 + 4.0 + 9.0


def test_hubers_loss_agrees_with_an_independent_robust_regression() -> None:
    x, y, _ = draw(HALF, 1)
    y = y.copy()
    y[[2, 11]] *= 20.0
    robust = fit_of(fit_power_law(x[x < 1000], y[x < 1000], robust=True), "power")
    r = np.log(y[x < 1000]) - robust.exponent * np.log(x[x < 1000]) - np.log(robust.prefactor)
    # the estimating equations of Huber's estimator at the clip that the offset form's residuals give
    clip = logfits.huber_clip("offset", logcurves.scaled(x[x < 1000], y[x < 1000]))
    psi = np.clip(r, -clip, clip)
    assert abs(psi.sum()) < 1e-6
    assert abs((psi * np.log(x[x < 1000])).sum()) < 1e-5
    rlm = sm.RLM(np.log(y), sm.add_constant(np.log(x)), M=sm.robust.norms.HuberT(1.345)).fit()
    pts = logcurves.scaled(x, y)
    mine = logfits.fit_form("power", pts, logfits.huber_clip("power", pts))
    # both iterate the scale: mine to 1e-4 of itself (about .1), which moves the exponent by less than that
    assert mine.exponent == pytest.approx(rlm.params[1], abs=1e-4)
    plain = fit_of(fit_power_law(x, y), "power")
    assert abs(mine.exponent + 0.5) < 0.05 < abs(plain.exponent + 0.5)


def test_lack_of_fit_is_the_f_test_against_one_mean_per_x() -> None:
    x, y, _ = draw(replace(HALF, repeats=5), 2)
    law = fit_power_law(x, y)
    assert law.chosen == "power"
    full = sm.OLS(np.log(y), (x[:, None] == np.unique(x)).astype(float)).fit()
    line = sm.OLS(np.log(y), sm.add_constant(np.log(x))).fit()
    assert law.lack_of_fit == pytest.approx(full.compare_f_test(line)[1], rel=1e-6)


def test_under_lack_of_fit_the_x_means_are_the_data() -> None:
    x, y, _ = draw(replace(HALF, repeats=20, shared=0.3), 0)
    law, pts = fit_power_law(x, y), logcurves.scaled(x, y)
    assert law.lack_of_fit < 1e-6
    assert any("lack of fit" in note for note in law.notes)
    # balanced: the inflated interval is that of least squares on the means, with their own degrees of freedom
    means = np.log(y).reshape(8, 20).mean(axis=1)
    ols = sm.OLS(means, sm.add_constant(np.log(X))).fit()
    inflated = powerlaws._inflated(fit_of(law, "power"), pts, np.inf, 0.95)
    assert inflated == pytest.approx(tuple(ols.conf_int()[1]), abs=1e-4)  # ends located to 1e-5, inflated by about 6
    assert law.envelope[0] <= inflated[0] + 1e-9
    assert law.envelope[1] >= inflated[1] - 1e-9


def test_units_and_row_order_change_nothing() -> None:
    x, y, _ = draw(HALF_FLOOR, 4)
    order = np.random.default_rng(5).permutation(x.size)
    law, other = fit_power_law(x, y), fit_power_law(x[order] * 1e6, y[order] * 1e-9)
    # the profile's ends are located to 1e-5; inflation for lack of fit multiplies that
    assert other.exponent == pytest.approx(law.exponent, abs=1e-6)
    assert other.interval == pytest.approx(law.interval, abs=2e-5)
    assert other.envelope == pytest.approx(law.envelope, abs=1e-4)
    assert other.offset == pytest.approx(law.offset * 1e-9, rel=1e-5)
    assert other.predict(2e9)[0] == pytest.approx(law.predict(2e3)[0] * 1e-9, rel=1e-6)


# --- coverage ----------------------------------------------------------------------------------------------------
# Requirements are those of the full run (benchmarks/powerlaws.md), widened by the binomial error of RUNS.


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    robust = replace(HALF, name="outliers", repeats=10, outliers=0.05, robust=True)
    shared = replace(HALF, name="shared", repeats=20, shared=0.1)
    clustered = replace(HALF, name="clustered", repeats=10, noise=0.05, slopes=0.1, clustered=True)
    cases: list[Planted] = [HALF, HALF_FLOOR, ONE_FLOOR, GROWS, LAGS, robust, shared, clustered]
    return {case.name: simulate(case, RUNS) for case in cases}


@pytest.mark.parametrize("name", [HALF.name, ONE_FLOOR.name, "outliers", "clustered"])
def test_the_chosen_forms_interval_covers_where_the_form_is_right(tallies: dict[str, Tally], name: str) -> None:
    assert_at_least(tallies[name].interval, RUNS, 0.92)


@pytest.mark.parametrize(
    "name", [HALF.name, HALF_FLOOR.name, ONE_FLOOR.name, GROWS.name, LAGS.name, "outliers", "shared"]
)
def test_the_envelope_covers_under_every_planted_departure(tallies: dict[str, Tally], name: str) -> None:
    assert_at_least(tallies[name].envelope, RUNS, 0.9)


def test_a_true_claim_is_rarely_contradicted_and_the_plain_interval_would(tallies: dict[str, Tally]) -> None:
    for tally in tallies.values():
        assert_at_least(tally.runs - tally.wrong, RUNS, 0.95)
    assert tallies[ONE_FLOOR.name].wrong_plain > 0.8 * RUNS  # a floor, ignored, contradicts the truth nearly always


def test_the_estimate_is_unbiased_and_huber_beats_least_squares_under_outliers(tallies: dict[str, Tally]) -> None:
    exponents = np.array(tallies[HALF.name].exponents)
    assert abs(exponents.mean() + 0.5) < 4 * exponents.std() / np.sqrt(RUNS) + 0.002
    plain = simulate(replace(HALF, repeats=10, outliers=0.05), RUNS)
    # equal variances would give a ratio this large once in 1000; the benchmark's is near 9
    assert np.var(plain.exponents) > stats.f.isf(1e-3, RUNS - 1, RUNS - 1) * np.var(tallies["outliers"].exponents)


def test_seeds_reused_at_every_x_need_their_labels() -> None:
    x, y, seed = draw(replace(HALF, repeats=10, noise=0.05, slopes=0.1), 0)
    alone, together = fit_power_law(x, y), fit_power_law(x, y, cluster=seed)
    own = [np.polyfit(np.log(x[seed == s]), np.log(y[seed == s]), 1)[0] for s in range(10)]
    half = stats.t.ppf(0.975, 9) * np.std(own, ddof=1) / np.sqrt(10)  # balanced: the jackknife is the t interval
    assert together.interval == pytest.approx((together.exponent - half, together.exponent + half), abs=1e-6)
    assert np.diff(together.interval) > 2 * np.diff(alone.interval)
    assert any("10 clusters" in note for note in together.notes)


def test_a_break_is_named_and_a_single_law_is_not_broken(tallies: dict[str, Tally]) -> None:
    for case, slopes in ((FLATTENS, (-1.0, -0.25)), (STEEPENS, (-0.25, -1.0))):
        law = fit_power_law(*draw(case, 0)[:2])
        assert law.status == "broken"
        assert law.broken is not None
        # four x a side, noise .1 / sqrt(3): slope error .037 at x known; three of them and the break's own doubling
        assert (law.broken.before, law.broken.after) == pytest.approx(slopes, abs=0.2)
    for name in (HALF.name, HALF_FLOOR.name, "shared"):
        assert_at_least(RUNS - tallies[name].broken, RUNS, 0.95)
    scattered = [fit_power_law(*draw(replace(HALF, repeats=20, shared=0.2), i)[:2]).status for i in range(10)]
    assert "broken" not in scattered  # a factor common to all seeds at one x is no break


def test_outliers_and_idle_x_are_noted() -> None:
    x, y, _ = draw(replace(HALF, repeats=10), 0)
    assert not any("--robust" in note for note in fit_power_law(x, y).notes)
    y[[5, 40]] *= 3.0
    assert any(note.startswith("2 of 80 rows lie more than 5 robust") for note in fit_power_law(x, y).notes)
    assert not any("--robust" in note for note in fit_power_law(x, y, robust=True).notes)
    noise = np.exp(0.1 * np.random.default_rng(0).standard_normal(x.size))
    assert "no dependence on x shown" in fit_power_law(x, noise).notes
    assert "no dependence on x shown" not in fit_power_law(x, noise * x**-0.5).notes


def test_the_largest_x_falsifies_a_law_that_ends() -> None:
    x, y, _ = draw(HALF, 6)
    y = np.where(x == x.max(), 3 * y, y)
    law = fit_power_law(x, y)
    assert law.holdout is not None
    assert not law.holdout.inside
    assert law.holdout.observed == pytest.approx(np.exp(np.log(y[x == x.max()]).mean()))
    assert any("does not predict" in note for note in law.notes)
