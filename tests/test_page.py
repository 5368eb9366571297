"""The page and the terminal on plans that choose by themselves, and how numbers are written there."""

import re
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest
from matplotlib.collections import PathCollection, QuadMesh

from analysis import report
from analysis.pages import choices, page
from analysis.study import study
from infra.catalogue import grid_points as catalogue
from infra.store import records

FULL = planted.rows()
ENDED = ["standard error 0.019", "5,000 trainings, and the standard error is still 0.1"]


@pytest.fixture(autouse=True)
def texts_alone(monkeypatch):
    """What is looked at here stands outside of the pictures."""
    planted.drawn_as(monkeypatch)


def concluded(out, rows, **more):
    """The page without its pictures, and the text for the terminal."""
    planted.plan(out, **({"claims": []} | more))
    planted.write(out, rows)
    text = report.conclude(str(out), "a" * 20).text
    return re.sub(r"data:[^\"]+", "", Path(out, "report.html").read_text()), text


def line(html, name):
    """A row of the table of provenance, without its tags."""
    (found,) = re.findall(rf"<tr><td>{name}</td><td>(.*?)</td></tr>", html, re.S)
    return re.sub(r"<[^>]*>", "", found)


def test_powers_are_numbers_not_hashes():
    for hashed in ("c6f53ee5ab8e24b1ee52", "8e24b1ee52", "5318e24", "12345678901234567e12", "0.1.2e3", "1e2e3"):
        assert page.powers(f"violated at {hashed}, twice") == f"violated at {hashed}, twice"
    assert page.powers("[-1e-05, 9.27e+07] 1e6.") == "[-1 × 10<sup>−5</sup>, 9.27 × 10<sup>7</sup>] 1 × 10<sup>6</sup>."
    assert page.powers("n^-0.5 < m^(a + b)") == "n<sup>−0.5</sup> &lt; m<sup>a + b</sup>"


def test_a_grid_shows_its_values_and_seeds(tmp_path):
    html, text = concluded(tmp_path, FULL)
    assert line(html, "axes").startswith("d = 8; m = 4, 6, 8, ") and line(html, "axes").endswith("32; 10 seeds")
    assert "<td>search</td>" not in html and "<td>tuned</td>" not in html and "\nsearch" not in text


def test_an_adaptive_plan_shows_what_it_chose(tmp_path):
    axes = planted.AXES | {"m": [8, 64]}
    rows = [one for one in FULL if one["m"] > 4 and (one["seed"] < 7 or one["m"] != 16)]
    search = {"target_se": 0.02, "ended": ENDED[:1], "trainings": 450, "flops": 1.2e12}
    html, text = concluded(tmp_path, rows, axes=axes, adaptive=True, search=search)
    told = line(html, "axes")
    assert told.startswith("d = 8; m chosen between 6 and 256, 10 values (first range 8 to 64); n = 8, 16, 32; seeds")
    assert told.endswith("; seeds chosen, at most 10 trainings at one grid point")
    told = f"{ENDED[0]}; target: standard error 0.02; 450 trainings; "
    assert line(html, "search") == told + "1.2 × 1012 FLOPs" and "1.2 × 10<sup>12</sup> FLOPs" in html
    assert f"\nsearch     {told}1.2e+12 FLOPs\n" in text


def test_each_setting_of_a_search_has_its_reason(tmp_path):
    search = {"target_se": 0.02, "ended": ENDED}
    axes = planted.AXES | {"d": [8, 16]}
    html, text = concluded(tmp_path, [], axes=axes, adaptive=True, search=search)
    assert f"d = 8: {ENDED[0]}; d = 16: {ENDED[1]}; target: " in text
    assert line(html, "axes").startswith("d = 8, 16; m chosen, none yet (first range 4 to 256)")
    assert line(html, "axes").endswith("; seeds chosen, at most 0 trainings at one grid point")


def test_reasons_of_settings_in_no_known_order_are_counted():
    plan = {"axes": {"d": [8, 16], "init_scale": [0.5, 1.0]}, "over": "n", "critical": "m"}
    told = choices.search(plan | {"search": {"ended": [ENDED[0], ENDED[1], ENDED[0], ENDED[0]]}})
    assert told == f"{ENDED[0]} (at 3 of 4 settings); {ENDED[1]} (at 1 of 4 settings)"
    assert choices.search(plan | {"search": {"ended": [ENDED[0]] * 4}}) == ENDED[0]
    assert choices.search(plan | {"search": {"ended": []}}) == "not ended" and choices.search(plan) == ""


def test_a_tuned_plan_tells_what_the_tuning_took(tmp_path):
    knob = {"axis": "step_size", "low": 0.1, "high": 10.0, "values": 16, "seeds": 4}
    points = [one["point_id"] for one in FULL]
    html, _ = concluded(tmp_path / "old", FULL, tuned=knob, points=points)
    told = "step_size between 0.1 and 10: at each grid point the best of 16 values, by 4 trainings each with seeds of"
    assert line(html, "tuned") == f"{told} their own"
    html, _ = concluded(tmp_path / "new", FULL, tuned=knob | {"trainings": 2112, "seconds": 61.25}, points=points)
    assert line(html, "tuned").endswith(
        "own; besides those above, the tuning took 2,112 trainings, 61.2 s of compute time"
    )


def test_widths_that_differ_from_n_to_n_are_marks_and_a_grid_is_cells(tmp_path):
    """One mark per (n, m) that was tried, the larger the more trainings, coloured by the share; no cell between."""
    some = [one for one in FULL if one["m"] >= one["n"] / 2 and one["seed"] < one["n"] / 4]
    planted.write(tmp_path, some)
    adaptive = study(str(tmp_path), planted.plan(tmp_path, adaptive=True))
    figure = report.phase(adaptive)
    axes = figure.axes[0]
    (marks,) = [one for one in axes.collections if isinstance(one, PathCollection)]
    assert not [one for one in axes.collections if isinstance(one, QuadMesh)]
    found = {(n, m): (share, size) for (n, m), share, size in
             zip(marks.get_offsets().tolist(), marks.get_array(), marks.get_sizes(), strict=True)}  # fmt: skip
    for n, m in {(one["n"], one["m"]) for one in some}:
        fits = [one["success"] for one in some if (one["n"], one["m"]) == (n, m)]
        share, size = found.pop((n, m))
        assert share == np.mean(fits) and size == np.sqrt(len(fits) / 8) * marks.get_sizes().max()
    assert not found and marks.norm.vmin == 0 and marks.norm.vmax == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1", "3", "8 trainings at one width"]
    planted.write(tmp_path, FULL)
    figure = report.phase(study(str(tmp_path), planted.plan(tmp_path)))
    assert [one for one in figure.axes[0].collections if isinstance(one, QuadMesh)] and not figure.legends


def test_the_catalogue_says_that_seeds_and_widths_were_chosen(tmp_path):
    axes = planted.AXES | {"m": [8]}
    grid = catalogue.settings(planted.plan(tmp_path, axes))
    assert (grid["seeds"], grid["m"], grid["d"]) == (10, 8, 8)
    search = catalogue.settings(planted.plan(tmp_path, axes, adaptive=True))
    assert search["seeds"] == "chosen" and "m" not in search and search["d"] == 8
    assert records.read_plans(str(tmp_path))[0]["adaptive"]
