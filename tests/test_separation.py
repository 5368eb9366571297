"""The separating set against a linear programme, and brackets with open ends."""

import numpy as np
import pytest
from scipy.optimize import linprog

from analysis.outcomes import tally
from analysis.separation import brackets, corner_lines, groups, line_exponents


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
