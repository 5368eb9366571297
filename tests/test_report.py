"""What the report says is what the rows hold: numbers, counts, hashes, verdicts; and it says something of any rows."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest

from analysis import report
from analysis.board.board import board
from analysis.figures import fitted
from analysis.figures.style import encoded
from analysis.pages import tables
from analysis.powerlaws.fitting import fit_power_law
from analysis.study import study
from analysis.thresholds.fitting import fit_threshold, tally
from analysis.thresholds.law import ThresholdLaw
from infra.commands import cli
from infra.store import records
from infra.store.storage import ResultsError

FULL = planted.rows()
WIDTH, FLIPS = (next(one for one in planted.CLAIMS if one["name"] == name)
                for name in ("sufficient width", "flips fall with width"))  # fmt: skip


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
    drawn = [report.phase(found), fitted.thresholds_figure(found), fitted.board_figure({"": held[:1]}, found.stamp)]
    drawn += [fitted.power_law_figure(one, ("m", "y"), found.stamp) for one in held if one.parts]
    drawn += [fitted.bound_figure(one, ("m", "y"), found.stamp) for one in held if one.cells]
    assert len(drawn) == 11 and all(sha[:12] in figure.get_supxlabel() for figure in drawn)
    captions = re.findall(r"<(?:caption|figcaption)>.*?</", html, re.S)
    assert len(captions) > 15 and html.count(f"<code>{sha[:12]}</code>") == len(captions)


def test_the_power_law_figure_draws_the_rows_and_what_the_law_leaves_over(known):
    out, *_ = known
    found = study(str(out), records.read_plans(str(out))[0])
    held = next(one for one in board(found).held if one.slug == "flips-fall-with-width")
    upper, lower = fitted.power_law_figure(held, ("m", "flips"), "").axes
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


KINDS = {
    "sufficient width", "linear rate", "distance from initialisation", "Gram drift falls with width",
    "flips fall with width",
}  # of the claims about each kind of number one  # fmt: skip
DEGENERATE = {
    "no rows": (lambda: [], "no data"),
    "all failed": (lambda: planted.rows(outcome="failed", success=None, reason="MemoryError"), "no data"),
    "none fits": (lambda: planted.rows(outcome="unfit", success=0), "all failed"),
    "all fit": (lambda: planted.rows(outcome="fit", success=1), "all succeeded"),
    "one n": (lambda: [one for one in FULL if one["n"] == 16], "one n only"),
    "one training": (lambda: FULL[:1], "all succeeded"),
    "one m": (lambda: [one for one in FULL if one["m"] == 16], ""),
    "no metric": (lambda: planted.rows(flips=None, dist_max=float("nan"), curve_loss=None, gram_drift=0.0), ""),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_any_rows_have_a_report_that_says_what_is_missing(name, tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch, "svg")
    rows, status = DEGENERATE[name]
    html = reported(tmp_path, rows(), claims=[one for one in planted.CLAIMS if one["name"] in KINDS])
    (entry,) = planted.laws(tmp_path)
    assert entry["groups"]["all"]["law"]["status"].startswith(status)
    assert entry["groups"]["all"]["law"]["status"] in html
    assert entry["counts"]["not recorded"] == 330 - len(rows())
    assert not re.search(r"\bnan\b", re.sub(r"data:[^\"]+", "", html))


def test_groups_each_have_their_law(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    axes = planted.AXES | {"d": [8, 16]}
    html = reported(tmp_path, planted.rows(axes), axes=axes)
    (entry,) = planted.laws(tmp_path)
    assert list(entry["groups"]) == ["d = 8", "d = 16"]
    assert len({group["data_sha256"] for group in entry["groups"].values()}) == 2
    assert html.count('<table class="thresholds">') == 2
    assert set(answered(tmp_path, "flips fall with width")["laws"]) >= {"d = 8, n = 8", "d = 16, n = 32"}


def test_a_claim_about_some_values_of_an_axis_is_held_against_their_groups_alone(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    claim = next(one for one in planted.CLAIMS if one.get("critical") == "m" and one.get("exponent"))
    rows = [
        planted.row(m, n, d, seed) for m in planted.AXES["m"] for n in (8, 16, 32) for d in (4, 8) for seed in range(9)
    ]
    reported(tmp_path, rows, axes=planted.AXES | {"d": [4, 8]}, claims=[{**claim, "where": {"d": 8}}])
    (entry,) = planted.laws(tmp_path)
    assert [len(group["verdicts"]) for group in entry["groups"].values()] == [0, 1]


def test_several_plans_have_a_table_of_contents(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    planted.plan(tmp_path, planted.AXES | {"n": [8, 16]}, "b" * 20)
    html = reported(tmp_path, FULL[:40])
    assert [entry["plan_id"][0] for entry in planted.laws(tmp_path)] == ["a", "b"]
    for anchor in re.findall(r'href="#([^"]+)"', html):
        assert html.count(f'id="{anchor}"') == 1
    assert len(re.findall(r'<a href="#plan-', html)) == 4  # contents and board


def test_what_others_wrote_is_text(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch, "svg")
    evil = "<script>alert(1)</script> & \\input{x} 50% _^~"
    html = reported(tmp_path, FULL[:40], claim=evil, command=evil, criterion=evil, claims=[WIDTH, FLIPS])
    assert html.count("<script") == 2, "the data of the points and the page's own"
    assert "<script>alert" not in html and html.count("&lt;script&gt;alert(1)") == 3
    tex = Path(tmp_path, "tables/planted-aaaaaa-thresholds.tex").read_text()
    assert r"\textbackslash{}input\{x\} 50\% \_\textasciicircum{}$\sim$" in tex


def test_latex_of_numbers_powers_and_symbols():
    assert tables.escaped("loose by n^4.26, m* ~ m^-0.5") == "loose by $n^{4.26}$, m* $\\sim$ $m^{-0.5}$"
    assert tables.escaped("-0.51 [-1e-05, 9.27e+07]") == r"$-0.51$ [$-1\times 10^{-5}$, $9.27\times 10^{7}$]"
    assert tables.escaped("rate_bound^k ≤ λ₀ ☃") == r"rate\_bound$^{k}$ $\le$ $\lambda$$_0$ ?"


def test_latex_compiles_or_at_least_balances(known, tmp_path):
    out, *_ = known
    names = [path.with_suffix("") for path in sorted(Path(out, "tables").glob("*.tex"))]
    assert len(names) == 3
    for name in names:
        text = name.with_suffix(".tex").read_text()
        assert text.count("{") == text.count("}") and text.count("\\begin") == text.count("\\end") == 2
        assert text.isascii()
        widths = {line.count("&") - line.count(r"\&") for line in text.splitlines() if line.endswith(r"\\")}
        columns = {"thresholds": 3, "forms": 3, "laws": 5, "verdicts": 4}
        assert widths - {0} == {columns[name.name.rpartition("-")[2]]}
    if shutil.which("pdflatex") is None:
        return
    body = "".join(f"\\input{{{name}}}\n" for name in names)
    Path(tmp_path, "t.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_end_of_a_sweep_writes_laws_and_page_of_all_plans(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    planted.plan(tmp_path, claims=[WIDTH, FLIPS])
    planted.write(tmp_path, FULL)
    summary = report.conclude(str(tmp_path), "a" * 20)
    assert planted.laws(tmp_path) == [summary.law] and summary.law["claims"]
    assert "theorem" in summary.text and "flips fall with width" in summary.text
    assert all(Path(tmp_path, name).exists() for name in summary.files)
    planted.plan(tmp_path, planted.AXES | {"n": [8]}, "b" * 20, claims=[WIDTH, FLIPS])
    report.conclude(str(tmp_path), "b" * 20)
    assert [entry["plan_id"][0] for entry in planted.laws(tmp_path)] == ["a", "b"]
    assert "plan-" + "a" * 20 in Path(tmp_path, "report.html").read_text()
    Path(tmp_path, "laws.json").write_text("{")
    report.conclude(str(tmp_path), "a" * 20)
    assert len(planted.laws(tmp_path)) == 2, "what cannot be read is written anew"


def test_a_sweep_without_a_threshold_or_without_rows_ends_in_a_page_too(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch, "svg")
    plain = {"critical": None, "over": "m", "by": "n", "metrics": ["flips"], "curves": ["loss"], "claims": [FLIPS]}
    planted.plan(tmp_path, **plain)
    empty = report.conclude(str(tmp_path), "a" * 20)
    assert "0 trainings: none" in empty.text and not empty.files
    planted.write(tmp_path, FULL)
    summary = report.conclude(str(tmp_path), "a" * 20)
    assert "share [95% interval]" in summary.text and "n = 16" in summary.text
    names = {Path(name).stem.split("-", 2)[2] for name in summary.files}
    assert names == {"metric-success", "metric-flips", "curve-loss"}
    assert "laws" not in planted.laws(tmp_path)[0] and planted.laws(tmp_path)[0]["groups"] == {}


def test_the_board_holds_the_threshold_law_against_the_width_of_the_theorem(known):
    out, *_ = known
    held = board(study(str(out), records.read_plans(str(out))[0])).held
    (width,) = [one for one in held if one.claim.name == "sufficient width"]
    assert isinstance(width.law, ThresholdLaw) and width.verdict.kind == "loose"


def test_the_command_prints_the_page_or_one_line(tmp_path, capsys, monkeypatch):
    planted.drawn_as(monkeypatch)
    planted.plan(tmp_path)
    planted.write(tmp_path, FULL[:40])
    assert cli.main(["report", str(tmp_path)]) == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": f"{tmp_path}/report.html", "laws": [f"{tmp_path}/laws.json"]}
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 2
    stderr = capsys.readouterr().err
    assert len(stderr.strip().splitlines()) == 1 and "holds no sweep" in stderr
    with pytest.raises(ResultsError, match="holds no sweep"):
        report.write_report(str(tmp_path / "nowhere"))


def test_figures_are_the_same_bytes_again(known):
    out, *_ = known
    found = study(str(out), records.read_plans(str(out))[0])
    for kind in ("svg", "pdf", "png"):
        first, second = (encoded(fitted.thresholds_figure(found), kind) for _ in range(2))
        assert first == second


def test_an_order_whose_metric_has_no_law_has_no_line_on_the_board(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    claim = next(one for one in planted.CLAIMS if one.get("metric") == "flips")
    order = {**claim, "direction": "order", "order": ["m", 4, 256], "metric": "dist_max", "exponent": None}
    html = reported(tmp_path, FULL, claims=[order])
    assert "dist_max at m = 4 below" in html and not list(tmp_path.glob("figures/*-board.png"))
