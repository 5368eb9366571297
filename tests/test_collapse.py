"""Two axes: the form is compared along the axis onto which m* collapses, and its status is the plane's."""

import numpy as np
import pytest
from test_forms import two_axes

from analysis.thresholds.collapse import along, collapse_of
from analysis.thresholds.forms import SINGLE
from analysis.thresholds.outcomes import Tally
from analysis.thresholds.plane import CURVED, fit_plane


def flat_then_rising(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 8 * np.maximum(1.0, n / (2 * d))


def test_a_flat_part_and_a_rise_along_n_over_d_are_told_apart() -> None:
    law = fit_plane(two_axes(flat_then_rising, 6.0, 3))
    assert law.status == "crossover: no single exponent"
    assert law.axis == "n/d"
    assert "m* collapses onto n/d" in law.notes
    p, q = law.exponents
    assert p == pytest.approx(1.0, abs=0.15)  # 12 points beyond the break at error .07: .03, and the break's own
    assert q == -p
    assert law.intervals[0][0] < 1.0 < law.intervals[0][1]
    assert law.envelope[0] <= law.intervals[0][0] < law.intervals[0][1] <= law.envelope[1]
    assert 1.0 <= law.over_range[0] <= 4.0
    assert law.over_range[1] == 32.0
    assert law.summary().startswith("m* = ") and "(n/d)^" in law.summary()


def test_a_plain_power_law_keeps_its_exponents_and_gets_an_envelope() -> None:
    law = fit_plane(two_axes(lambda n, d: 3 * n**1.5 / d**0.5, 5.0, 0))
    assert (law.status, law.form) == ("ok", SINGLE)
    low, high = law.envelope
    assert low <= law.intervals[0][0] < 1.5 < law.intervals[0][1] <= high
    assert high - low < 1.0


def test_a_surface_that_collapses_onto_nothing_has_no_exponents() -> None:
    law = fit_plane(two_axes(lambda n, d: 20 * np.exp(np.log(n / 64) ** 2 / 2 + np.log(d / 23) * 0.7), 6.0, 2))
    assert law.status == CURVED
    assert np.isnan(law.exponents).all()
    assert law.envelope == (-np.inf, np.inf)


def test_few_pairs_leave_the_form_untested_and_say_so() -> None:
    data = two_axes(lambda n, d: n / d * 8, 5.0, 1)
    law = fit_plane(data.where((data.over < 100) & (data.over > 20) & (data.second < 30)))
    assert law.envelope == (-np.inf, np.inf)
    assert "form untested: 4 (n, d) crossed, 9 needed" in law.notes


def test_trainings_are_counted_along_the_ratio() -> None:
    n, d = np.repeat([3.0, 6.0, 12.0], 2), np.tile([0.1, 0.2], 3)
    data = Tally(n, np.full(6, 5.0), np.arange(6.0), np.full(6, 6.0), d)
    line = along(data, 1.0)
    np.testing.assert_allclose(line.over, [15, 30, 60, 120], rtol=1e-11)  # 3/.1 and 6/.2 are one
    np.testing.assert_array_equal(line.successes, [1, 0 + 3, 2 + 5, 4])
    assert (line.over_name, line.second) == ("n/d", None)
    assert along(data, -0.5).over_name == "n*d^0.50"
    assert collapse_of(()) is None
