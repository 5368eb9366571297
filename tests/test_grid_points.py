"""What MLflow is told of a grid point and a plan, by hand."""

import itertools

import pyarrow as pa
import pytest

from infra.catalogue import grid_points as catalogue
from infra.catalogue import views


def test_a_curve_by_hand() -> None:
    rows = pa.table(
        {
            "curve_step": [[0.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0], None],
            "curve_loss": [[4.0, 2.5], [3, 2, 1], [9, 7, float("nan")], None],
        }
    )
    assert catalogue.loss_curve(rows) == [(0, 4.0), (1, 2.5), (2, 2.5)]
    assert catalogue.loss_curve(rows.slice(2)) == [(0, 9.0), (1, 7.0)]  # the median diverges: nothing to draw
    assert catalogue.loss_curve(rows.slice(3)) == []


def test_of_a_long_curve_some_steps_are_kept_with_the_first_and_the_last() -> None:
    steps = list(range(100))
    curve = catalogue.loss_curve(pa.table({"curve_step": [steps], "curve_loss": [[100.0 - step for step in steps]]}))
    assert len(curve) == catalogue.CURVE and (curve[0], curve[-1]) == ((0, 100.0), (99, 1.0))
    assert {later - step for (step, _), (later, _) in itertools.pairwise(curve)} == {4, 5}, "99 / 23, rounded"
    assert all(value == 100 - step for step, value in curve)


def test_the_order_of_points_is_that_of_their_values() -> None:
    values = [-2, -0.5, 0.0, 1e-12, 0.5, 3, 16, 200.5, 1e9]
    assert sorted(values, key=views.sortable) == values
    plan = {"m": 16, "labels": "sign", "n": 4}
    assert views.order(plan, ["n", "m"]) < views.order(plan | {"m": 128}, ["n", "m"]) < views.order({"n": 5}, ["n"])


@pytest.mark.parametrize(
    ("fit", "unfit", "failed", "verdict"),
    [(4, 0, 0, "fits"), (3, 0, 1, "undecided"), (0, 4, 3, "does not fit"), (0, 0, 2, "failed"), (30, 10, 0, "fits")],
)
def test_a_verdict_needs_the_whole_interval(fit: int, unfit: int, failed: int, verdict: str) -> None:
    """Wilson's 95% interval of 4 of 4 is [0.51, 1], of 3 of 3 [0.44, 1]."""
    counts = catalogue.outcome_counts(["fit"] * fit + ["unfit"] * unfit + ["failed"] * failed)
    assert views.verdict(counts, 0.5) == verdict


def test_texts_of_a_plan_stay_texts() -> None:
    """A claim or a command made by somebody else brings no link, image or HTML into MLflow's pages."""
    hostile = "![x](http://a/x.png) <img src=x> `` ` ![y](z)"
    plan = {"plan_id": "a" * 20, "family": "f", "axes": {"n": [1, 2]}, "over": "n", "seeds": 1, "level": 0.5}
    text = views.description(plan | {"claim": hostile, "command": hostile}, None, "1", "r", ["figure.png"])
    claim, command = text.splitlines()[0], text.splitlines()[-1]
    assert claim == "**!\\[x\\](http://a/x.png) &lt;img src=x> `` ` !\\[y\\](z)**"
    assert command == f"``` {hostile} ```"


def test_a_sweep_of_more_points_than_the_charts_draw_says_so() -> None:
    plan = {"plan_id": "a", "family": "f", "axes": {"n": [*range(10)], "m": [*range(10)]}, "over": "n", "seeds": 1}
    plan |= {"level": 0.5, "claim": "", "command": ""}
    assert "charts" not in views.description(plan, None, "1", "r").partition("interval")[2]
    plan["axes"]["n"].append(10)
    assert "first 100 of 110 grid points" in views.description(plan, None, "1", "r")


def test_failed_trainings_count_but_do_not_enter_the_rate() -> None:
    outcomes, losses = ["fit", "fit", "failed", "diverged"], [1.0, 3.0, None, float("nan")]
    rows = pa.table({"outcome": outcomes, "success": [1, 1, None, 0], "loss": losses})
    point = catalogue.Point("", "", {}, catalogue.outcome_counts(outcomes), rows)
    numbers = catalogue.numbers(point)
    assert (numbers["trainings"], numbers["failed"], numbers["diverged"]) == (4, 1, 1)
    assert numbers["success rate"] == 2 / 3
    assert numbers["median loss"] == 3.0  # of 1, 3 and infinity
