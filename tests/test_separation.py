"""The separating set against a linear programme, and brackets with open ends."""

import numpy as np
import pytest
from scipy.optimize import linprog

from analysis.thresholds.fitting import fit_threshold
from analysis.thresholds.outcomes import tally, tally_counts
from analysis.thresholds.separation import brackets, corner_lines, groups, line_exponents


def by_programme(over: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float] | None:
    """The same range by scipy's solver: variables (a, p)."""
    rows = np.column_stack([np.ones_like(over), np.log(over)])
    up, down = np.isfinite(high), low > 0
    limits = np.vstack([rows[up], -rows[down]])
    bounds = np.append(np.log(high[up]), -np.log(low[down]))
    ends = []
    for sign in (1.0, -1.0):
        found = linprog([0.0, sign], A_ub=limits, b_ub=bounds, bounds=(None, None))
        if found.status == 2:
            return None
        ends.append(sign * found.fun if found.status == 0 else -sign * np.inf)
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(40))
def test_range_of_exponents_is_that_of_the_linear_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    over = 2.0 ** np.sort(rng.choice(12, rng.integers(2, 7), replace=False))
    middle = over ** rng.uniform(-1, 3) * np.exp(rng.normal(0, 0.4, over.size))
    width = np.exp(rng.uniform(0.1, 1.5, over.size))
    low, high = middle / width, middle * width
    low[rng.random(over.size) < 0.15], high[rng.random(over.size) < 0.15] = 0.0, np.inf
    ours, theirs = line_exponents(over, low, high), by_programme(over, low, high)
    if theirs is None:
        assert ours is None
    else:
        assert ours == pytest.approx(theirs, abs=1e-6)  # the solver's own feasibility tolerance is 1e-7


def test_corner_lines_span_the_range() -> None:
    over, low = np.array([10.0, 100.0, 1000.0]), np.array([8.0, 90.0, 900.0])
    high = 1.5 * low
    exponents = corner_lines(over, low, high)[:, 1]
    assert (exponents.min(), exponents.max()) == pytest.approx(line_exponents(over, low, high))


def test_brackets_of_a_step_and_of_what_never_changes() -> None:
    m, n = np.array([2.0, 4, 8, 2, 4, 8, 2, 4, 8]), np.repeat([1.0, 2.0, 3.0], 3)
    data = tally(m, n, [0, 0, 1, 0, 0, 0, 1, 1, 1])
    found = brackets(data, groups(data).of, 3)
    np.testing.assert_array_equal(found.low, [4, 8, 0])
    np.testing.assert_array_equal(found.high, [8, np.inf, 2])
    assert found.clean.all()


def test_a_failure_above_a_success_is_not_separated() -> None:
    data = tally([2, 4, 8, 4], [1, 1, 1, 1], [0, 1, 0, 0])
    assert not brackets(data, groups(data).of, 1).clean[0]


def test_steps_with_a_few_lapses_bound_the_exponent_by_their_brackets() -> None:
    """m* = n, a step at every n, and a few draws that fail from m = n on, as in an adaptive search of random features.
    No line parts the outcomes then, and between the widths tried the likelihood is flat."""
    cells = np.array([
        (8, 6, 0, 41), (8, 10, 11, 11), (8, 11, 27, 27), (8, 23, 2, 2), (8, 91, 32, 32), (16, 13, 0, 18),
        (16, 19, 31, 32), (16, 23, 27, 27), (16, 128, 16, 16), (32, 11, 0, 2), (32, 29, 0, 8), (32, 31, 0, 348),
        (32, 32, 165, 171), (32, 45, 2, 2), (64, 32, 0, 36), (64, 54, 0, 6), (64, 64, 14, 14), (64, 91, 43, 43),
    ])  # fmt: skip
    law = fit_threshold(tally_counts(cells[:, 1], cells[:, 0], cells[:, 2], cells[:, 3]))
    least, most = np.log(54 / 10) / np.log(8), np.log(64 / 6) / np.log(8)  # lines through the outer brackets
    assert law.status == "grid too coarse" and law.interval[0] < 1 < law.interval[1]
    assert law.interval[1] - law.interval[0] < 2 * (most - least)
    assert law.envelope[0] <= law.interval[0] and law.envelope[1] - law.envelope[0] < 2
    low, high = law.curve.at(np.array([16.0]))[1:]
    assert 10 < low[0] < high[0] < 25
