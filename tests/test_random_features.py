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


@pytest.mark.parametrize(("n", "m", "d"), [(8, 8, 3), (8, 12, 2), (8, 8, 16), (16, 17, 3)])
def test_from_m_equal_n_on_the_active_units_alone_decide(n, m, d):
    """Dead and doubled units take the rank, or samples that are seen alike: never conditioning."""
    rows = trained("random_features", seeds(family.Cell(m=m, n=n, d=d), 300)).values()
    assert all((row["outcome"] == "fit") == (row["full_pattern"] == 1) == (row["rank"] == n) for row in rows)
    lost = sum(row["outcome"] == "unfit" for row in rows)
    assert 0 < lost < 300
    if (n, m, d) == (8, 8, 3):
        assert abs(lost / 300 - 0.193) < 4 * (0.193 * 0.807 / 300) ** 0.5  # 386 of 2,000 other draws


def test_the_generic_rank_of_patterns_one_can_count():
    rng = torch.Generator().manual_seed(0)
    full = torch.ones(6, 9, dtype=torch.bool)
    assert family.generic_rank(full, 4, rng) == 4, "all units linear: rank d"
    assert family.generic_rank(torch.eye(6, dtype=torch.bool), 2, rng) == 6
    unseen, alike = full.triu().clone(), torch.eye(6, dtype=torch.bool)
    unseen[0] = False
    assert family.generic_rank(unseen, 9, rng) == 5
    alike[0, 1], alike[1] = True, False  # the first two units see the first sample alone
    assert family.generic_rank(alike, 6, rng) == 5


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
