"""Which trainings of a grid point the page names, how much of a sweep it holds, and where a figure's points lie."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest

from analysis import report
from analysis.figures import lines, timeline
from analysis.figures.power_laws import FARTHEST, bound_figure
from analysis.figures.thresholds import thresholds_figure
from analysis.pages import cells, spots
from analysis.study import study
from infra.store import records
from infra.store.schema import OUTCOMES


def test_failed_trainings_come_first_then_the_rarest_outcome_and_no_outcome_crowds_out_the_others():
    rng = np.random.default_rng(0)
    number, outcome = rng.integers(0, 30, 2000), rng.choice(6, 2000, p=[0.6, 0.3, 0.04, 0.03, 0.02, 0.01])
    seed = rng.permutation(2000)
    chosen = cells.some(number, outcome, seed, 20)
    assert number[chosen].tolist() == sorted(number[chosen])
    for point in range(30):
        of = chosen[number[chosen] == point]
        every, named = Counter(outcome[number == point].tolist()), Counter(outcome[of].tolist())
        assert len(of) == min(20, sum(every.values()))
        assert all(named[kind] == every[kind] for kind in range(2, 6)), "of few all"
        assert abs(named[0] - named[1]) <= 10 and named[1] >= 10 - sum(named[kind] for kind in range(2, 6))
        first = OUTCOMES.index("failed")
        assert (outcome[of][: named[first]] == first).all()
        for kind in every:  # of one outcome the smallest seeds
            least = sorted(seed[(number == point) & (outcome == kind)])[: named[kind]]
            assert sorted(seed[of][outcome[of] == kind]) == least


def test_a_curve_keeps_its_ends_and_few_moments_between():
    step = np.arange(1000.0)
    k, y = cells.thinned(step, 10 ** (-step / 100))
    assert len(k) == cells.LOOKS and (k[0], k[-1], y[0], y[-1]) == (0, 999, 0, -999) and y == [-one for one in k]
    assert cells.thinned([0, 1, 2, 3, np.inf], [1.0, np.nan, np.inf, -1.0, 1.0]) == ([0], [0])
    assert cells.thinned(None, [1.0]) == cells.thinned([1.0, 2.0], [1.0]) == ([], [])


def test_a_training_that_is_named_has_its_own_curve(tmp_path):
    axes = {"m": [4, 8], "n": [8, 16], "d": [8]}
    told = planted.plan(tmp_path, axes, claims=[])
    rows = planted.rows(axes)[::-1]
    planted.write(tmp_path, [one | {"curve_loss": [1.0, 0.5, 10.0 ** -(one["seed"] + 1)]} for one in rows])
    named = [one for point in cells.cells(study(str(tmp_path), told), str(tmp_path)).points for one in point.cells]
    assert len(named) == 40
    assert all(one.curve == ([0, 1, 3], [0, -30, -100 * (int(one.seed) + 1)]) for one in named)


def test_of_a_large_sweep_the_page_names_little_and_says_so(tmp_path, monkeypatch):
    planted.plan(tmp_path, claims=[])
    planted.write(tmp_path, planted.rows())
    monkeypatch.setattr(cells, "POINTS", 20)
    monkeypatch.setattr(cells, "CELLS", 66)
    monkeypatch.setattr(cells, "CURVES", 33)
    page = Path(report.write_report(str(tmp_path))).read_text()
    assert "names at most 2 of its trainings" in page and "13 further grid points are not listed" in page
    told = json.loads(page.split('class="trainings">')[1].split("</script>")[0])
    assert len(told["points"]) == 20 and all(i < 20 for spots in told["figures"].values() for *_, i in spots)
    for _, counts, _, named in told["points"]:
        assert sum(counts) == 10 and len(named) == 2 and [bool(one[5][0]) for one in named] == [True, False]


def test_the_medians_of_a_power_law_lead_to_their_own_grid_points(tmp_path):
    planted.plan(tmp_path, claims=[one for one in planted.CLAIMS if one["name"] == "Gram gap falls with width"])
    planted.write(tmp_path, planted.rows())
    (section,) = report.sections_of(str(tmp_path), records.plans_to_report(str(tmp_path)))
    (held,) = section.board.held
    spots = section.pictures[held.slug].spots
    values = [dict(zip(section.cells.names, section.cells.points[i].values, strict=True)) for *_, i in spots]
    assert [one["m"] for one in values] == [str(m) for m in planted.AXES["m"]]
    assert {f"n = {one['n']}" for one in values} == {held.where}
    x = np.array([x for x, *_ in spots])
    assert np.corrcoef(x, np.log(planted.AXES["m"]))[0, 1] > 1 - 1e-6, "a logarithmic axis"


def test_a_critical_width_leads_to_the_tested_width_nearest_to_it(tmp_path):
    planted.write(tmp_path, planted.rows())
    found = study(str(tmp_path), planted.plan(tmp_path))
    every = cells.cells(found, "du")
    figure = thresholds_figure(found)
    marks = [one for one in spots.on_thresholds(found, every, figure) if one.transform != figure.axes[1].transData]
    points = [point for group in found.groups for point in group.law.points]
    assert [(one.x, one.y) for one in marks] == [(point.over, pytest.approx(point.critical)) for point in points]
    for one in marks:
        near = dict(zip(every.names, every.keys[one.point], strict=True))
        tried = [dict(zip(every.names, key, strict=True)) for key in every.keys]
        tried = [key["m"] for key in tried if all(key[name] == near[name] for name in near if name != "m")]
        assert near["n"] == one.x
        assert near["m"] == min(tried, key=lambda m: abs(math.log(m / one.y)))


def test_a_local_exponent_leads_where_the_critical_width_that_it_begins_at_does(tmp_path):
    planted.write(tmp_path, planted.rows())
    found = study(str(tmp_path), planted.plan(tmp_path))
    every = cells.cells(found, "du")
    figure = thresholds_figure(found)
    marks = list(spots.on_thresholds(found, every, figure))
    above = {one.x: one.point for one in marks if one.transform == figure.axes[0].transData}
    below = [one for one in marks if one.transform == figure.axes[1].transData]
    (group,) = found.groups
    assert [one.y for one in below] == [local.exponent for local in group.law.local] and len(below) > 1
    assert [one.point for one in below] == [above[local.over[0]] for local in group.law.local]


def test_a_pack_leads_to_the_grid_point_of_its_first_training(tmp_path):
    recipe = planted.plan(tmp_path)
    when = {"worker": 7, "finished": "2026-01-01T00:01:00.000+00:00"}
    planted.write(tmp_path, [one | when | {"started": f"2026-01-01T00:00:{one['n'] % 60:02}.000+00:00"}
                             for one in planted.rows()])  # fmt: skip
    found = study(str(tmp_path), recipe)
    every = cells.cells(found, "du")
    packs = timeline.timeline(found.rows, "n")
    marks = list(spots.on_timeline(every, timeline.timeline_figure(packs, "n", ""), packs))
    assert [dict(zip(every.names, every.keys[one.point], strict=True))["n"] for one in marks] == packs.values
    assert len(marks) == len(planted.AXES["n"])


def test_trainings_beside_a_bound_lead_to_their_own_grid_point(tmp_path):
    planted.plan(tmp_path, claims=[one for one in planted.CLAIMS if one["direction"] == "inequality"])
    planted.write(tmp_path, planted.rows())
    (section,) = report.sections_of(str(tmp_path), records.plans_to_report(str(tmp_path)))
    held = next(one for one in section.board.held if one.cells is not None and one.cells.x.size)
    figure = bound_figure(held, ("", ""), "")
    marks = list(spots.on_bound(section.cells, figure, held))
    assert len(marks) == len(section.cells.points)
    for one in marks:
        of = section.cells.number[held.cells.row] == one.point
        assert dict(zip(section.cells.names, section.cells.keys[one.point], strict=True))[held.claim.over] == one.x
        assert np.isclose(one.y, np.median(held.cells.ratio[of]))
    far = replace(held, cells=replace(held.cells, ratio=np.full_like(held.cells.ratio, 1e306)))
    figure = bound_figure(far, ("", ""), "")  # around 1e306 itself matplotlib's margins overflow, with a warning
    assert {one.y for one in spots.on_bound(section.cells, figure, far)} == {FARTHEST}
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any(text.startswith("beyond 1e+100, drawn there: ") for text in told)


def test_a_curve_leads_to_the_grid_point_it_is_drawn_of(tmp_path):
    recipe = planted.plan(tmp_path, curves=["loss"], by="d")
    planted.write(tmp_path, [one | {"curve_step": [0.0, 1.0, 100.0 * one["m"] + one["n"]]} for one in planted.rows()])
    found = study(str(tmp_path), recipe)
    every = cells.cells(found, "du")
    marks = list(spots.on_curve(found, every, lines.training_figure(found, "loss")))
    reached = [dict(zip(every.names, every.keys[one.point], strict=True)) for one in marks]
    assert [one.x for one in marks] == [100 * values["m"] + values["n"] for values in reached]
    assert len(marks) == lines.ROWS * len(planted.AXES["n"])


def test_a_tuned_sweep_leads_from_its_diagram_too(tmp_path):
    rows = planted.rows()
    knob = {"axis": "lambda0", "low": 0.1, "high": 10.0, "values": 16, "seeds": 4}  # any number of a row
    recipe = planted.plan(tmp_path, tuned=knob, points=[one["point_id"] for one in rows])
    planted.write(tmp_path, [one | {"lambda0": 1.0 / one["m"]} for one in rows])
    found = study(str(tmp_path), recipe)
    every = cells.cells(found, "du")
    assert every.names == ["n", "m", "lambda0"] and every.points[0].values == ("8", "4", "0.25")
    marks = list(spots.on_phase(found, every, report.phase(found)))
    assert [every.points[one.point].values[:2] for one in marks] == [(f"{one.x:g}", f"{one.y:g}") for one in marks]
    assert len(marks) == 33


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028"])
def test_no_text_ends_the_data(tmp_path, text):
    found = study(str(tmp_path / "none"), planted.plan(tmp_path / "none"))
    told = cells.told(cells.cells(found, text), {})
    assert not set("<>&\u2028") & set(told) and text in json.loads(told)["replay"]
