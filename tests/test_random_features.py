"""The known answer: random features interpolate n points iff m >= n."""

from dataclasses import replace

import pytest
import torch
from training import seeds, trained

from trainables import random_features as family

CELL = family.Cell(m=16, n=16, d=8)


@pytest.mark.parametrize("n", [16, 37, 64, 128])
def test_interpolates_from_m_equal_n_and_not_before(n):
    outcomes = {}
    for m in (n - 1, n, n + 1):
        rows = trained("random_features", seeds(replace(CELL, m=m, n=n), 10)).values()
        outcomes[m] = {row["outcome"] for row in rows}
        assert all(row["rank"] == min(m, n) and row["critical_width"] == n for row in rows)
    assert outcomes == {n - 1: {"unfit"}, n: {"fit"}, n + 1: {"fit"}}


def test_the_solve_is_the_least_squares_solution():
    state = family.draw(replace(CELL, m=7))
    theta = torch.linalg.lstsq(state.Phi, state.y[:, None]).solution[:, 0]
    torch.testing.assert_close(family.step(state).r, state.Phi @ theta - state.y, rtol=1e-10, atol=1e-12)


def test_residual_variance_is_the_share_of_missing_dimensions():
    """E |r|^2 / n = 1 - m / n for labels N(0, 1): the projection onto n - m dimensions."""
    rows = trained("random_features", seeds(replace(CELL, m=10, n=40), 400)).values()
    mean = torch.tensor([row["mean_squared_residual"] for row in rows])
    # chi-squared with 30 degrees of freedom over 40: standard deviation sqrt(60) / 40, over 400 trainings
    assert abs(mean.mean() - 30 / 40) < 4 * (60**0.5 / 40) / 400**0.5


def test_one_step_is_the_whole_training():
    (row,) = trained("random_features", [CELL]).values()
    assert row["steps"] == 1
    assert row["curve_step"] == [0.0, 1.0]
