"""What the report says is what the rows hold: numbers, counts, hashes, verdicts."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest

from analysis import report
from analysis.board.board import board
from analysis.figures.exponents import board_figure
from analysis.figures.power_laws import bound_figure, power_law_figure
from analysis.figures.style import encoded
from analysis.figures.thresholds import thresholds_figure
from analysis.pages import tables
from analysis.powerlaws.fitting import fit_power_law
from analysis.study import study
from analysis.thresholds.fitting import fit_threshold, tally
from analysis.thresholds.law import ThresholdLaw
from infra.store import records

FULL = planted.rows()


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A report of rows with known laws, a failed, a diverged and a missing training, two rows twice, a foreign file."""
    out = tmp_path_factory.mktemp("results") / "known"
    planted.plan(out)
    rows = [dict(one) for one in FULL]
    rows[0] |= {"outcome": "failed", "success": None, "reason": "MemoryError: <too large>", "flips": None}
    rows[1] |= {"outcome": "diverged", "flips": None}
    planted.write(out, rows[:-1])
    planted.write(out, rows[5:7])
    Path(out, "rows", "notes.txt").write_text("not rows")
    path = report.write_report(str(out))
    return out, Path(path).read_text(), planted.laws(out)[0], rows[:-1]


def answered(out, claim):
    (entry,) = planted.laws(out)
    return next(one for one in entry["claims"] if one["claim"] == claim)


def reported(out, rows, **more):
    planted.plan(out, **more)
    planted.write(out, rows)
    return Path(report.write_report(str(out))).read_text()


def test_thresholds_are_the_fitted_ones_everywhere(known):
    out, html, entry, rows = known
    m, n, success = (np.array([one[name] for one in rows], dtype=float) for name in ("m", "n", "success"))
    law = fit_threshold(tally(m, n, success))
    found = entry["groups"]["all"]
    assert found["law"]["exponent"] == law.exponent and found["law"]["status"] == law.status
    assert found["law"]["interval"][0] < 1 < found["law"]["interval"][1], "m* = n was planted"
    tex = Path(out, "tables/planted-aaaaaa-thresholds.tex").read_text()
    for point, shown in zip(law.points, found["thresholds"], strict=True):
        assert (shown["over"], shown["critical"], shown["interval"]) == (point.over, point.critical, [*point.interval])
        assert shown["critical"] == pytest.approx(point.over, rel=0.1)
        low, high = point.interval
        assert f"{point.over:g} & {point.critical:.3g} & [{low:.3g}, {high:.3g}] & {point.trainings} " in tex
        line = rf'<td class="n">{point.over:g}</td><td class="n">{point.critical:.3g}</td><td>\[{low:.3g}, {high:.3g}\]'
        assert re.search(line, html)


def test_an_axis_along_which_success_ends_has_the_threshold_where_half_still_succeed(tmp_path):
    found = {}
    for name, rows in {"rising": FULL, "falling": [one | {"success": 1 - one["success"]} for one in FULL]}.items():
        planted.plan(tmp_path / name, falling=name == "falling")
        planted.write(tmp_path / name, rows)
        (group,) = study(str(tmp_path / name), records.read_plans(str(tmp_path / name))[0]).groups
        found[name] = group.law
    rising, falling = found["rising"], found["falling"]
    assert (falling.exponent, falling.interval, falling.status) == (rising.exponent, rising.interval, rising.status)
    assert falling.points == rising.points


def test_a_rate_is_fitted_per_n_where_every_training_fits(known):
    out, _, _, rows = known
    held = answered(out, "flips fall with width")
    assert held["kind"] == "consistent" and held["where"] == "n = 8"
    untested = held["laws"]["n = 32"]
    assert untested["status"] == "two x: law untested" and untested["exponent"] is None
    for n in (8, 16):
        some = [one for one in rows if one["n"] == n]
        lost = {one["m"] for one in some if one["success"] == 0}
        kept = [one for one in some if one["m"] not in lost and one["flips"] is not None]
        law = fit_power_law([one["m"] for one in kept], [one["flips"] for one in kept])
        found = held["laws"][f"n = {n}"]
        assert found["exponent"] == pytest.approx(law.exponent, rel=1e-12) and found["n_points"] == len(kept)
        assert found["exponent"] == pytest.approx(-0.5, abs=0.02)
    gap = answered(out, "Gram gap falls with width")
    assert gap["laws"]["n = 32"]["n_points"] == 109, "a metric taken before the training takes every training"


def test_a_verdict_says_at_how_many_settings_it_is_so(known):
    told = {}
    for claim in known[2]["claims"]:
        kinds = [law["kind"] for law in claim.get("laws", {}).values()]
        same = kinds.count(claim["kind"])
        share = f" at {same} of {len(kinds)} settings" if 0 < same < len(kinds) else ""
        assert claim["label"].endswith(share) and ("settings" in claim["label"]) == bool(share)
        told[claim["claim"]] = share
    assert any(told.values()) and not all(told.values())


def test_inequalities_are_counted_training_by_training(tmp_path):
    rows = [dict(one) for one in FULL]
    worst = rows[7]
    worst |= {"dist_max": 6.0, "curve_loss": [1.0, 0.7, 0.9]}
    planted.write(tmp_path, rows)
    held = {one.claim.name: one.verdict for one in board(study(str(tmp_path), planted.plan(tmp_path))).held}
    distance, rate = held["distance from initialisation"], held["linear rate"]
    assert distance.label == rate.label == "violated at 1 of 330 cells"
    assert distance.cells == rate.cells == (worst["cell_id"],)
    assert distance.factor == pytest.approx(3) and rate.factor == pytest.approx(0.9 / 0.8**3)
    assert not rate.gates, "quoted from memory"


def test_hypotheses_out_of_reach_make_a_bound_vacuous_by_their_factor(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    html = reported(tmp_path, planted.rows(width_scale=256e6))
    held = answered(tmp_path, "distance from initialisation")
    assert held["kind"] == "vacuous" and held["label"].endswith("factor 1e+06")
    assert "holds all the same at 330 of 330" in held["remark"] and "1 × 10<sup>6</sup>" in html


def test_every_outcome_is_counted(known):
    _, html, entry, rows = known
    won = sum(one["outcome"] == "fit" for one in rows)
    ended = {"fit": won, "unfit": 329 - won - 2, "diverged": 1, "stalled": 0, "failed": 1}
    assert entry["counts"] == ended | {"asked for": 330, "not recorded": 1, "recorded twice": 2}
    cells = "".join(f'<td class="n">{count}</td>' for count in entry["counts"].values())
    assert cells in html
    assert "notes.txt" in html and "failed, 1: MemoryError: &lt;too large&gt;" in html
    assert "164.5 s in all" in html and "c0ffee (329 rows)" in html and "python sweeps/planted.py" in html


def test_every_figure_and_table_carries_the_hash_of_its_rows(known):
    out, html, entry, _ = known
    plan = records.read_plans(str(out))[0]
    sha = records.digest(records.plan_rows(str(out), plan))
    assert entry["data_sha256"] == sha and sha in html
    for kind in ("thresholds", "verdicts"):
        tex = Path(out, f"tables/planted-aaaaaa-{kind}.tex").read_text()
        assert f"% rows sha256 {sha}\n" in tex and f"rows sha256 {sha[:12]}.}}" in tex
    found = study(str(out), plan)
    held = board(found).held
    drawn = [
        report.phase(found),
        thresholds_figure(found),
        board_figure({"": held[:1]}, found.stamp),
    ]
    drawn += [power_law_figure(one, ("m", "y"), found.stamp) for one in held if one.parts]
    drawn += [bound_figure(one, ("m", "y"), found.stamp) for one in held if one.cells]
    assert len(drawn) == 11 and all(sha[:12] in figure.get_supxlabel() for figure in drawn)
    captions = re.findall(r"<(?:caption|figcaption)>.*?</", html, re.S)
    assert len(captions) > 15 and html.count(f"<code>{sha[:12]}</code>") == len(captions)


@pytest.mark.parametrize(
    ("envelope", "arrows"), [((0.5, 1.5), []), ((0.5, np.inf), [">"]), ((-90.0, 90.0), ["<", ">"])]
)
def test_an_envelope_that_goes_on_ends_in_an_arrow(known, envelope, arrows):
    out, *_ = known
    held = board(study(str(out), records.read_plans(str(out))[0])).held
    one = next(one for one in held if one.claim.name == "sufficient width")
    axes = board_figure({"": [replace(one, law=replace(one.law, envelope=envelope))]}, "").axes[0]
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == arrows


def test_a_metric_without_a_law_has_no_panel_of_what_it_leaves_over(known):
    out, *_ = known
    held = board(study(str(out), records.read_plans(str(out))[0])).held
    one = next(one for one in held if one.slug == "flips-fall-with-width")
    none = replace(one, parts=tuple(replace(part, law=replace(part.law, exponent=np.nan)) for part in one.parts))
    assert [len(power_law_figure(each, ("m", "flips"), "").axes) for each in (one, none)] == [2, 1]


def test_the_power_law_figure_draws_the_rows_and_what_the_law_leaves_over(known):
    out, *_ = known
    found = study(str(out), records.read_plans(str(out))[0])
    held = next(one for one in board(found).held if one.slug == "flips-fall-with-width")
    upper, lower = power_law_figure(held, ("m", "flips"), "").axes
    lines = {line.get_label(): line for line in upper.lines}
    assert list(lines["one training"].get_ydata()) == list(held.parts[0].y)
    x, y = lines["slope of the claim, $m^{-0.5}$"].get_data()
    assert np.polyfit(np.log(x), np.log(y), 1)[0] == pytest.approx(-0.5)
    residuals = lower.lines[1].get_ydata()
    assert residuals == pytest.approx(held.parts[0].y / held.parts[0].law.predict(held.parts[0].x)[0])


def test_pdf_and_png_lie_beside_the_page(known):
    out, html, *_ = known
    names = re.findall(r"<code>(figures/[^<]+\.pdf)</code>", html)
    assert len(names) == len(set(names)) == html.count("<img ") == 11
    for name in names:
        assert Path(out, name).read_bytes().startswith(b"%PDF")
        assert Path(out, name).with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_same_rows_give_the_same_page(known, tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch, "svg")
    out, html, *_ = known
    shutil.copytree(out, tmp_path / "known")
    assert (
        Path(report.write_report(str(tmp_path / "known"))).read_text().replace(str(tmp_path), str(out.parent)) == html
    )


def test_latex_of_numbers_powers_and_symbols():
    assert tables.escaped("loose by n^4.26, m* ~ m^-0.5") == "loose by $n^{4.26}$, m* $\\sim$ $m^{-0.5}$"
    assert tables.escaped("-0.51 [-1e-05, 9.27e+07]") == r"$-0.51$ [$-1\times 10^{-5}$, $9.27\times 10^{7}$]"
    assert tables.escaped("rate_bound^k ≤ λ₀ ☃") == r"rate\_bound$^{k}$ $\le$ $\lambda$$_0$ ?"


@pytest.mark.parametrize(("longest", "environments"), [(40, ["table", "tabular"]), (3, ["longtable"])])
def test_latex_compiles_or_at_least_balances(known, tmp_path, monkeypatch, longest, environments):
    out, *_ = known
    monkeypatch.setattr(tables, "LONGEST_FLOAT", longest)
    found = study(str(out), records.plans_to_report(str(out))[0])
    made = {Path(name).stem.rpartition("-")[2]: text for name, text in tables.files(found, board(found)).items()}
    columns = {"thresholds": 3, "forms": 3, "laws": 5, "verdicts": 4}
    assert len(made) == 3
    for name, text in made.items():
        within = ["longtable"] if name == "verdicts" else environments  # its lines are long
        assert text.count("{") == text.count("}") and text.isascii()
        assert re.findall(r"\\begin{(\w+)}", text) == within == re.findall(r"\\end{(\w+)}", text)[::-1]
        widths = {line.count("&") - line.count(r"\&") for line in text.splitlines() if line.endswith(r"\\")}
        assert widths - {0} == {columns[name]}
        Path(tmp_path, f"{name}.tex").write_text(text)
    assert "grid points where every training fits; at " in made["verdicts"], "what the other settings say"
    if shutil.which("pdflatex") is None:
        return
    body = "".join(f"\\input{{{name}}}\n" for name in made)
    Path(tmp_path, "t.tex").write_text(
        f"\\documentclass{{article}}{tables.PACKAGES}\\begin{{document}}{body}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_board_holds_the_threshold_law_against_the_width_of_the_theorem(known):
    out, *_ = known
    held = board(study(str(out), records.read_plans(str(out))[0])).held
    (width,) = [one for one in held if one.claim.name == "sufficient width"]
    assert isinstance(width.law, ThresholdLaw) and width.verdict.kind == "loose"


def test_figures_are_the_same_bytes_again(known):
    out, *_ = known
    found = study(str(out), records.read_plans(str(out))[0])
    for kind in ("svg", "pdf", "png"):
        first, second = (encoded(thresholds_figure(found), kind) for _ in range(2))
        assert first == second
