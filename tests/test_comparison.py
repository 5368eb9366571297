"""Shares against stated probabilities, and orders between settings: each verdict reached by a planted case."""

import numpy as np
import pandas as pd
import pytest

from analysis.board import board, comparison
from analysis.claims.theory import Claim, Source

PAPER = Source("Planted 2020", "", "Theorem 1")
CHANCE = Claim("chance", "planted", "succeeds with probability p", PAPER, "derived", "probability", "k", bound="p")
ORDER = Claim("order", "planted", "b beats a", PAPER, "paper", "order", "k", order=("start", "a", "b"))


def rows(share, trainings=200, start="a", k=1, seed=0, **more):
    success = np.random.default_rng([seed, k]).random(trainings) < share
    values = {"success": success.astype(float), "point_id": f"{start}{k}", "start": start, "k": k, "p": 0.3}
    return pd.DataFrame(values | more)


@pytest.mark.parametrize(("share", "kind"), [(0.3, "consistent"), (0.5, "violated"), (0.1, "violated")])
def test_a_stated_probability(share, kind):
    frame = pd.concat([rows(share, k=k) for k in (1, 2, 3)])
    assert comparison.probability(CHANCE, frame).verdict.kind == kind


def test_at_least_lets_more_successes_pass():
    more = Claim(**{**CHANCE.__dict__, "at_least": True})
    assert comparison.probability(more, rows(0.6)).verdict.kind == "consistent"
    assert comparison.probability(more, rows(0.1)).verdict.kind == "violated"


def test_a_share_of_a_column_of_zeros_and_ones():
    claim = Claim(**{**CHANCE.__dict__, "metric": "fits", "bound": 0.9, "at_least": True})
    assert comparison.probability(claim, rows(0.1, fits=1.0)).verdict.kind == "consistent"
    assert comparison.probability(claim, rows(0.1, fits=0.0)).verdict.kind == "violated"


@pytest.mark.parametrize(
    ("a", "b", "kind"), [(0.2, 0.6, "consistent"), (0.6, 0.2, "violated"), (0.4, 0.4, "inconclusive")]
)
def test_an_order_of_shares(a, b, kind):
    frame = pd.concat([rows(share, start=start, k=k) for start, share in (("a", a), ("b", b)) for k in (1, 2)])
    held = comparison.order(ORDER, frame, ["start", "k"])
    assert held.verdict.kind == kind
    assert "2 grid points compared" in held.verdict.law


def test_an_order_of_metrics_and_one_point_the_other_way():
    claim = Claim(**{**ORDER.__dict__, "metric": "loss"})
    rng = np.random.default_rng(3)
    parts = []
    for k, shift in ((1, 1.0), (2, 1.0), (3, -1.0)):
        for start, mean in (("a", 0.0), ("b", shift)):
            parts.append(rows(0.5, 60, start, k, loss=rng.normal(mean, 0.5, 60)))
    held = comparison.order(claim, pd.concat(parts), ["start", "k"])
    assert held.verdict.kind == "violated" and held.verdict.cells == ("k = 3",)
    needing = Claim(**{**claim.__dict__, "needed": "p"})
    assert comparison.order(needing, pd.concat(parts), ["start", "k"]).remark == ""
    far = pd.concat(parts).assign(p=30.0)
    assert comparison.order(needing, far, ["start", "k"]).remark == "its hypotheses are missed by a factor 10 here"
    held = comparison.order(claim, pd.concat(parts[:4]), ["start", "k"])
    assert held.verdict.kind == "consistent" and held.verdict.label == "consistent at 2 of 2 grid points"


def test_a_true_claim_is_seldom_called_violated():
    """At level .05 over ten grid points of equal shares: at most 5% of 60 sweeps, with two standard errors."""
    wrong = 0
    for seed in range(60):
        parts = [rows(0.5, 30, start, k, seed + 1000 * (start == "b")) for start in "ab" for k in range(10)]
        wrong += comparison.order(ORDER, pd.concat(parts), ["start", "k"]).verdict.kind == "violated"
    assert wrong / 60 <= 0.025 + 2 * (0.025 * 0.975 / 60) ** 0.5


def test_a_claim_speaks_only_of_its_own_rows():
    frame = pd.concat([rows(0.5, start="a"), rows(0.5, start="b")])
    only = Claim(**{**CHANCE.__dict__, "where": {"start": "b"}})
    assert set(board.spoken_of(only, frame)["start"]) == {"b"}
    absent = Claim(**{**CHANCE.__dict__, "where": {"depth": 3}})
    assert board.unanswerable(absent, {"axes": {}}, board.spoken_of(absent, frame)) == "no rows with depth = 3"
    missing = Claim(**{**ORDER.__dict__, "order": ("start", "a", "z")})
    assert "start = z" in board.unanswerable(missing, {"axes": {"start": ["a", "b"]}}, frame)


def test_a_bound_that_is_a_number_and_a_hypothesis_without_a_factor():
    """Half of the trainings meet the hypothesis; the bound 1 fails only in others, which are not judged."""
    ratio, met = np.array([0.5, 0.9, 1.5, 2.0]), [1, 1, 0, 0]
    frame = pd.DataFrame({"ratio": ratio, "met": met, "k": 1, "cell_id": list("abcd")})
    claim = Claim("ratio", "planted", "ratio ≤ 1", PAPER, "paper", "inequality", "k", metric="ratio", bound=1.0)
    assert board.inequality(claim, frame).verdict.kind == "violated"
    under = Claim(**{**claim.__dict__, "met": "met"})
    held = board.inequality(under, frame)
    assert held.verdict.kind == "holds" and held.predicted == "ratio ≤ 1"
    assert held.cells.inside.tolist() == [1, 1, 0, 0]
    none = board.inequality(under, frame[2:])
    assert none.verdict.label == "vacuous here: hypotheses not met"


def test_a_stated_constant_is_held_where_the_hypotheses_are_met():
    """At m = k a fifth of the trainings do not meet them, and do not fit; below k none fits."""
    claim = Claim(
        "width", "planted", "m >= k", PAPER, "derived", "sufficient", "k", critical="m", bound="b", constant=1
    )
    at = rows(1.1, 100, k=8, m=8, b=8).assign(met=np.arange(100) % 5 > 0, point_id="at")
    at["success"] = at["met"].astype(float)
    frame = pd.concat([at, rows(0.0, 50, k=8, m=7, b=8, met=1).assign(point_id="below")], ignore_index=True)
    assert board.step(claim, frame).verdict.label == "violated at 1 grid points"
    held = board.step(Claim(**{**claim.__dict__, "met": "met"}), frame)
    assert held.verdict.kind == "consistent" and held.verdict.law.startswith("80 trainings at 1 grid points")
    assert held.remark == "20 of 100 trainings there do not meet its hypotheses: 0 of them fit"
    frame.loc[0, "success"] = 1.0
    held = board.step(Claim(**{**claim.__dict__, "met": "met"}), frame)
    assert held.verdict.kind == "consistent" and held.remark.endswith("1 of them fit")
    frame.loc[1, "success"] = 0.0
    assert board.step(Claim(**{**claim.__dict__, "met": "met"}), frame).verdict.kind == "violated"
    assert (
        board.step(Claim(**{**claim.__dict__, "met": "met"}), frame[frame["met"] == 0]).verdict.kind == "inconclusive"
    )
    below = Claim(**{**claim.__dict__, "direction": "necessary"})
    assert board.step(below, frame).verdict.kind == "consistent" and board.step(below, frame).remark == ""


@pytest.mark.parametrize(
    ("bend", "kind", "exponent"), [(np.inf, "consistent", 0.5), (256, "inconclusive", -0.25), (4, "violated", -0.25)]
)
def test_an_order_along_the_claims_axis_has_its_law_and_yields_to_its_end(bend, kind, exponent):
    """y = k^0.5 up to the bend and k^-0.25 beyond it, scatter 2%: y(1024) is above y(2) but for the earliest bend."""
    claim = Claim(**{**ORDER.__dict__, "metric": "loss", "order": ("k", 2, 1024)})
    rng = np.random.default_rng(8)
    parts = []
    for k in 2 ** np.arange(1, 11):
        y = min(k, bend) ** 0.5 * max(1.0, k / bend) ** -0.25
        parts.append(rows(1.1, 20, k=k, loss=y * np.exp(0.02 * rng.standard_normal(20))))
    frame = pd.concat(parts, ignore_index=True)
    held = comparison.order(claim, frame, ["k"])
    held = board.with_slopes(held, {"axes": {"k": [1, 2]}}, frame)
    assert held.verdict.kind == kind
    assert held.law.envelope[0] < exponent < held.law.envelope[1]
    assert ("yet falls at the end" in held.verdict.label) == (kind == "inconclusive")
