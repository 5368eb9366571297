"""Power laws of data that cannot bear a fit: a status and what is known, no exception; wrong data name their row."""

import numpy as np
import pytest
from planted_curves import (
    HALF,
    X,
    draw,
    fit_of,
    log_cost,
)

from analysis.powerlaws import logcurves
from analysis.powerlaws.fitting import fit_power_law
from analysis.powerlaws.law import PowerLaw


def assert_no_law(law: PowerLaw, status: str) -> None:
    assert law.status == status
    assert np.isnan([law.exponent, law.prefactor, law.offset, *law.interval, *law.envelope]).all()
    assert np.isnan(law.predict([1.0, 2.0])).all()


def test_no_points() -> None:
    assert_no_law(fit_power_law([], []), "no points")


def test_one_x() -> None:
    assert_no_law(fit_power_law([4.0, 4.0, 4.0], [1.0, 2.0, 3.0]), "one x")


def test_two_x_cannot_test_a_law() -> None:
    assert_no_law(fit_power_law([4.0, 4.0, 8.0], [1.0, 2.0, 3.0]), "two x: law untested")


def test_equal_y() -> None:
    assert_no_law(fit_power_law(X, np.full(8, 0.3)), "constant y")


def test_three_points_give_a_line_and_say_what_they_cannot_tell() -> None:
    law = fit_power_law([1.0, 2.0, 4.0], [1.0, 0.6, 0.5])
    assert law.status == "ok"
    assert law.exponent == pytest.approx(-0.5)  # log2: (0 - log2(.5)) / 2
    assert law.interval[0] < -1.5  # t with one degree of freedom
    assert any("cannot tell an offset" in note for note in law.notes)
    assert law.holdout is None


def test_four_points_leave_the_floor_open() -> None:
    law = fit_power_law(X[:4], 3 * X[:4] ** -0.5 * np.array([1.02, 0.97, 1.0, 1.03]))
    assert law.chosen == "power"
    assert np.diff(law.envelope) > 1  # one degree of freedom for a floor: no verdict can follow


def test_noise_without_trend_has_exponent_zero_inside() -> None:
    y = np.exp(0.1 * np.random.default_rng(8).standard_normal(8))
    law = fit_power_law(X, y)
    assert law.interval[0] < 0 < law.interval[1]
    assert law.status == "ok"


def test_a_step_is_not_proved_to_be_a_law() -> None:
    y = np.exp(0.01 * np.random.default_rng(10).standard_normal(8))
    y[0] = 50.0  # any steep exponent with a floor fits: the search runs to its bound
    law = fit_power_law(X, y)
    assert law.status == "not converged"
    assert any("bound" in note for note in law.notes)


def test_a_lower_minimum_on_the_profile_withdraws_the_proof() -> None:
    y = np.exp(np.random.default_rng(48).standard_normal(7))  # no trend: no floor in sight, but a step at one end
    fit = fit_of(fit_power_law(X[:7] / 16, y), "offset")
    assert "3 of 3 starts agree" in fit.why
    assert not fit.converged
    ratio = np.concatenate([[0.0], np.geomspace(1e-12, 1e12, 4_001)])
    lowest = min(log_cost(X[:7] / 16, y, e, ratio).min() for e in np.linspace(-20, 20, 81))
    assert lowest < fit.cost * (1 - 1e-6)


def test_no_data_raise() -> None:
    """Floors, growth, exact curves, rounding, single seeds, gross scatter: a status and ordered intervals, always."""
    for i in range(24):  # every third is robust, every eighth rounded
        rng = np.random.default_rng((11, i))
        x = np.repeat(np.exp(rng.uniform(-3, 8, rng.integers(3, 12))), rng.integers(1, 9))
        y = x ** rng.uniform(-3, 3) + rng.choice([0.0, 1e-3, 0.1, 30.0])
        y = y * np.exp(rng.choice([0.0, 1e-12, 1e-6, 0.1, 3.0]) * rng.standard_normal(x.size))
        law = fit_power_law(x, np.round(y, 1) if i % 8 == 0 else y, robust=i % 3 == 0)
        assert law.status in (
            "ok",
            "broken",
            "not converged",
            "constant y",
            "no points",
            "one x",
            "two x: law untested",
        )
        for fit in law.alternatives:
            assert fit.interval[0] <= fit.exponent <= fit.interval[1]
            assert (not fit.converged) or abs(fit.exponent) < logcurves.STEEPEST


def test_y_without_a_logarithm_is_dropped_and_counted() -> None:
    x, y, _ = draw(HALF, 7)
    bad_x = np.append(x, [20.0, 30.0, 40.0, 50.0])
    law, clean = fit_power_law(bad_x, np.append(y, [0.0, -1.0, np.nan, np.inf])), fit_power_law(x, y)
    assert (law.dropped_nonpositive, law.dropped_nonfinite, law.n_points) == (2, 2, x.size)
    assert law.exponent == clean.exponent
    assert len(law.notes) == len(clean.notes) + 2
    assert_no_law(fit_power_law(X, np.full(8, np.nan)), "no points")


@pytest.mark.parametrize("bad", [0.0, -2.0, np.nan, np.inf])
def test_an_impossible_x_names_its_row(bad: float) -> None:
    x = X.copy()
    x[5] = bad
    with pytest.raises(ValueError, match="row 5"):
        fit_power_law(x, X)


def test_shapes_and_level_are_checked() -> None:
    with pytest.raises(ValueError, match="shape"):
        fit_power_law(X, X[:-1])
    with pytest.raises(ValueError, match="shape"):
        fit_power_law(X, X, cluster=[1, 2])
    with pytest.raises(ValueError, match="level"):
        fit_power_law(X, X, level=95.0)
    with pytest.raises(ValueError, match="row 1"):
        fit_power_law(X, X**2).predict([1.0, 0.0])
