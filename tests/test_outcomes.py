"""The tally: what is refused, what is dropped, what does not matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from analysis.thresholds.outcomes import Contradiction, Tally, tally, tally_counts


def same(a: Tally, b: Tally) -> bool:
    arrays = ("over", "critical", "successes", "trials")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


def test_counts_single_trainings() -> None:
    data = tally([8, 4, 4, 4, 8], [16, 16, 16, 32, 16], [1, 0, 1, 0, 1])
    assert_array_equal(data.over, [16, 16, 32])
    assert_array_equal(data.critical, [4, 8, 4])
    assert_array_equal(data.successes, [1, 2, 0])
    assert_array_equal(data.trials, [2, 2, 1])
    assert data.trainings == 5
    assert data.shared is None


def test_counts_and_single_trainings_agree() -> None:
    single = tally([8, 4, 4, 4, 8], [16, 16, 16, 32, 16], [1, 0, 1, 0, 1])
    assert same(single, tally_counts([4, 8, 4, 4], [16, 16, 16, 32], [0, 2, 1, 0], [1, 2, 1, 1]))
    assert tally_counts([4, 8], [16, 16], [0, 0], [0, 3]).trainings == 3  # a cell never tried is no cell


def test_row_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    m, n, y = rng.integers(1, 9, 200), rng.integers(1, 5, 200), rng.integers(0, 2, 200)
    order = rng.permutation(200)
    assert same(tally(m, n, y), tally(m[order], n[order], y[order]))


@pytest.mark.parametrize(
    "outcomes", [[1.0, np.nan, 0.0, np.nan], [True, None, False, None], pd.array([1, pd.NA, 0, pd.NA], dtype="Int8")]
)
def test_missing_outcomes_are_dropped_and_counted(outcomes: object) -> None:
    data = tally([1, 2, 3, 4], [5, 5, 5, 5], outcomes)  # type: ignore[arg-type]
    assert (data.dropped, data.trainings) == (2, 2)
    assert_array_equal(data.critical, [1, 3])


def test_missing_counts_are_dropped_and_counted() -> None:
    data = tally_counts([1, 2, 3], [5, 5, 5], [1, np.nan, 2], [2, 7, np.nan])
    assert (data.dropped, data.trainings) == (8, 2)


def test_one_training_recorded_twice_counts_once() -> None:
    data = tally([4, 4, 4], [16, 16, 16], [1, 1, 0], seed=[0, 0, 1])
    assert (data.repeated, data.trainings) == (1, 2)
    assert tally([4, 4, 4], [16, 16, 16], [1, 1, 0]).trainings == 3  # without seeds: independent trainings
    with pytest.raises(Contradiction, match=r"row 2: one training is recorded with both outcomes, .* in row 0"):
        tally([4, 8, 4], [16, 16, 16], [1, 1, 0], seed=[0, 0, 0])


def test_seeds_may_tell_repeated_records_only() -> None:
    data = tally([4, 4, 8, 8, 8], [16] * 5, [1, 1, 0, 1, 1], seed=[0, 0, 0, np.nan, np.nan], clustered=False)
    assert (data.repeated, data.trainings, data.shared) == (1, 4, None)
    with pytest.raises(ValueError, match="row 1: seed is missing"):
        tally([4, 4], [16, 16], [1, 1], seed=["a", None])


def test_clusters_only_where_a_seed_meets_several_widths() -> None:
    fresh = tally([4, 8, 4, 8], [16, 16, 16, 16], [0, 1, 0, 1], seed=["a", "b", "c", "d"])
    assert fresh.shared is None
    reused = tally([4, 8, 4, 8], [16, 16, 32, 32], [0, 1, 0, 1], seed=[7, 7, 7, 7])
    assert reused.shared is not None
    assert_array_equal(reused.shared.cluster, [0, 0, 1, 1])  # one seed, two n: two clusters
    kept = reused.where(reused.over == 32)
    assert kept.shared is not None
    assert_array_equal(kept.shared.cell, [0, 1])
    assert_array_equal(kept.shared.cluster, [0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([4, 0], [1, 1], [0, 1]), "row 1: m must be positive and finite, got 0"),
        (([4, 4], [1, -2], [0, 1]), "row 1: n must be positive and finite, got -2"),
        (([4, np.nan], [1, 1], [0, 1]), "row 1: m must be positive and finite, got nan"),
        (([4, 4, 4], [1, 1, 1], [0, 1, 2]), "row 2: success must be 0, 1 or NaN, got 2"),
        (([4, 4], [1, 1], [0.5, 1]), "row 0: success must be 0, 1 or NaN, got 0.5"),
        (([4, 4], [1, 1], [0, np.inf]), "row 1: success must be 0, 1 or NaN, got inf"),
        (([4, 4], [1, 1], ["0", "yes"]), "row 1: success is not a number: 'yes'"),
        (([4, 4], [1], [0, 1]), "over has 1 rows where the first column has 2"),
    ],
)
def test_wrong_trainings_are_refused_by_row(arguments: tuple[list, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tally(*arguments)


@pytest.mark.parametrize(
    ("k", "trials", "message"),
    [
        ([1, 5], [2, 4], "row 1: more successes than trials: k = 5 of N = 4"),
        ([-1, 5], [2, 5], "row 0: successes must be a whole number >= 0, got -1"),
        ([1, 2], [2, 2.5], "row 1: trials must be a whole number >= 0, got 2.5"),
    ],
)
def test_wrong_counts_are_refused_by_row(k: list, trials: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tally_counts([4, 8], [1, 1], k, trials)


def test_names_travel() -> None:
    data = tally([1], [2], [1], critical_name="d", over_name="N")
    assert (data.critical_name, data.over_name) == ("d", "N")
    assert replace(data, dropped=3).dropped == 3
