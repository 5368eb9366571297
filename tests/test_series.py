"""What a sweep without a threshold shows: shares, metrics, curves and maps, from rows written without training."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from analysis import series
from analysis.figures import lines, maps
from analysis.pages import sweep_in_words
from analysis.series import along, panels

PLAN = {
    "over": "s", "by": "start", "critical": None, "family": "planted", "metrics": ["loss"],
    "axes": {"s": [1.0, 4.0, 16.0], "start": ["a", "b"], "d": [2, 3]},
    "claims": [
        {"name": "chance", "statement": "p", "source": ["P", "", ""], "tag": "derived", "direction": "probability",
         "over": "s", "bound": "p", "where": {"start": "b"}},
    ],
}  # fmt: skip


def frame():
    parts = []
    for d in (2, 3):
        for start in "ab":
            for s in PLAN["axes"]["s"]:
                won = 1 if start == "a" else 0
                seeds = range(4)
                parts += [
                    {"s": s, "start": start, "d": d, "seed": i, "success": won, "loss": s * (i + 1), "p": 0.25}
                    for i in seeds
                ]
    return pd.DataFrame(parts)


def test_panels_hold_every_other_axis_and_series_the_compared_one():
    found = panels(PLAN, frame(), "success")
    assert [panel.title for panel in found] == ["d = 2", "d = 3"]
    assert [one.label for one in found[0].series] == ["start = a", "start = b"]
    a, b = found[0].series
    assert a.middle.tolist() == [1, 1, 1] and b.middle.tolist() == [0, 0, 0]
    assert a.low[0] == pytest.approx(4 / (4 + 1.959964**2))  # Wilson's lower end for 4 of 4
    assert np.isnan(a.predicted).all() and b.predicted.tolist() == [0.25] * 3


def test_a_metric_is_the_median_with_its_quartiles():
    (one, _), _ = (panel.series for panel in panels(PLAN, frame(), "loss"))
    assert one.middle.tolist() == [2.5, 10, 40] and one.low[0] == 1.75 and one.high[0] == 3.25
    assert one.trainings.tolist() == [4, 4, 4]


def test_success_is_shown_unless_it_is_the_same_everywhere():
    assert series.shown(PLAN, frame()) == ["success", "loss"]
    assert series.shown(PLAN, frame().assign(success=1)) == ["loss"]
    assert series.shown(PLAN | {"metrics": ["nowhere"]}, pd.DataFrame()) == []


def test_a_table_in_words_has_a_line_per_value_and_the_prediction():
    text = "\n".join(sweep_in_words.of_panel(panels(PLAN, frame(), "success")[0], "s", "success"))
    assert "start = a" in text and "predicted" in text and "d = 2" in text
    assert len(text.splitlines()) == 2 + 3
    assert "1 [0.51, 1]" in text and "0.25" in text


def test_a_finished_training_keeps_its_last_value_along_the_training():
    rows = pd.DataFrame({"curve_step": [[0, 1, 2], [0, 1]], "curve_loss": [[4.0, 2.0, 1.0], [4.0, 0.0]]})
    steps, middle, *_ = along(rows, "loss")
    assert steps.tolist() == [0, 1, 2] and middle.tolist() == [4, 1, 0.5]
    assert along(rows, "nothing")[0].size == 0


def test_scaling_recovers_a_planted_plane():
    """Vectors on a half circle: 1 - cos of the angle between them, monotone along it; a line of equal steps."""
    angle = np.linspace(0, 0.4, 9)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points, stress = maps.scaled(vectors)
    apart = 1 - np.cos(angle[:, None] - angle)
    assert stress < 0.4  # 1 - cos is no metric: it cannot be embedded without stress
    order = np.argsort(points @ np.linalg.svd(points - points.mean(0))[2][0])
    assert order.tolist() in (list(range(9)), list(range(9))[::-1])
    assert np.corrcoef(squareform(pdist(points))[0], apart[0])[0, 1] > 0.9


def test_scaling_is_the_same_again_and_keeps_what_is_a_plane():
    """Orthogonal vectors are mutually 1 apart: three of them make a triangle with no stress at all."""
    points, stress = maps.scaled(np.eye(3))
    assert stress < 1e-3
    np.testing.assert_allclose(pdist(points), 1, atol=1e-3)
    again, _ = maps.scaled(np.eye(3))
    assert (points == again).all()


def test_names_are_positions():
    assert lines.positions(["x", "y"]).tolist() == [0, 1] and lines.positions([2.0, 8.0]).tolist() == [2, 8]


@pytest.mark.parametrize(
    ("fit", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(fit: int, trials: int, low: float, high: float) -> None:
    """The last two: Newcombe 1998, Stat. Med. 17, 857-872, table I, score method."""
    assert series.share(fit, trials)[1:] == pytest.approx((low, high), abs=6e-5)


def test_a_diverged_training_counts_as_infinite_along_the_training():
    curves = [[4.0, 1.0], [4.0, 3.0], [4.0, float("nan")]]
    rows = pd.DataFrame({"curve_step": [[0, 1]] * 3, "curve_loss": curves})
    _, middle, low, high = along(rows, "loss")
    assert middle.tolist() == [4, 3] and low.tolist() == [4, 2] and high.tolist() == [4, np.inf]


def test_a_claim_may_state_its_bound_as_a_number():
    told = {"name": "sure", "statement": "s", "source": ["P", "", ""], "tag": "paper", "direction": "probability",
            "over": "s", "bound": 0.75}  # fmt: skip
    found = panels(PLAN | {"claims": [told]}, frame(), "success")
    assert found[0].series[0].predicted.tolist() == [0.75] * 3
