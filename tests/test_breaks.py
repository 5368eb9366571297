"""Power laws that break: the headline is the last part, both slopes and the break are named."""

from dataclasses import replace

import numpy as np
import pytest
from planted_curves import (
    STEEPENS,
    X,
    assert_at_least,
    draw,
)
from scipy import stats

from analysis.powerlaws.fitting import fit_power_law

RUNS = 16


def test_a_broken_law_is_that_of_its_last_part() -> None:
    covered = {"interval": 0, "envelope": 0}
    for i in range(RUNS):
        law = fit_power_law(*draw(STEEPENS, i)[:2])
        assert law.broken is not None
        assert law.exponent == law.broken.after
        assert law.over_range == (law.broken.at, X[-1])
        assert law.envelope[0] <= law.interval[0] < law.exponent < law.interval[1] <= law.envelope[1]
        for name in covered:
            low, high = getattr(law, name)
            covered[name] += low <= -1.0 <= high
        at = np.array([law.broken.at, 1000.0])
        y, lo, hi = law.predict(at)
        np.testing.assert_allclose(y, law.prefactor * at**law.exponent, rtol=1e-9)
        assert np.all((lo < y) & (y < hi))
    assert_at_least(covered["interval"], RUNS, 0.9)
    assert_at_least(covered["envelope"], RUNS, 0.93)


def test_the_last_slopes_interval_is_its_profile_over_the_break() -> None:
    """Against a search over breaks and least squares at each, written out."""
    x, y, _ = draw(STEEPENS, 4)
    law = fit_power_law(x, y)
    assert law.broken is not None
    z, v = np.log(x), np.log(y)
    limit = law.broken.cost * (1 + stats.f.ppf(0.95, 1, x.size - 4) / (x.size - 4))
    for end in law.interval:
        costs = []
        for t in np.linspace(np.log(X[1]), np.log(X[-2]), 2001):
            rows = np.column_stack([np.ones_like(z), np.minimum(z - t, 0)])
            target = v - end * np.maximum(z - t, 0)
            costs.append(np.sum((target - rows @ np.linalg.lstsq(rows, target, rcond=None)[0]) ** 2))
        assert min(costs) == pytest.approx(limit, rel=0.01)  # the breaks tried are a grid


def test_an_exact_break_and_one_under_outliers_are_found() -> None:
    y = np.where(X < 181, (X / 181) ** -1.0, (X / 181) ** -0.25)
    exact = fit_power_law(np.repeat(X, 3), np.repeat(y, 3))
    assert exact.status == "broken"
    assert exact.exponent == pytest.approx(-0.25, abs=1e-3)
    x, noisy, _ = draw(replace(STEEPENS, repeats=10, outliers=0.05), 0)
    robust = fit_power_law(x, noisy, robust=True)
    assert robust.status == "broken"
    assert robust.interval[0] < -1.0 < robust.interval[1]
