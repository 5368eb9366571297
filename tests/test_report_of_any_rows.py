"""A report says something of any rows and plans: several, hostile, without a threshold, without rows."""

import json
import re
from pathlib import Path

import planted_rows as planted
import pytest
from test_report import FULL, answered, reported

from analysis import report
from infra.commands import cli
from infra.store.storage import ResultsError

WIDTH, FLIPS = (next(one for one in planted.CLAIMS if one["name"] == name)
                for name in ("sufficient width", "flips fall with width"))  # fmt: skip
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


def test_an_order_whose_metric_has_no_law_has_no_line_on_the_board(tmp_path, monkeypatch):
    planted.drawn_as(monkeypatch)
    claim = next(one for one in planted.CLAIMS if one.get("metric") == "flips")
    order = {**claim, "direction": "order", "order": ["m", 4, 256], "metric": "dist_max", "exponent": None}
    html = reported(tmp_path, FULL, claims=[order])
    assert "dist_max at m = 4 below" in html and not list(tmp_path.glob("figures/*-board.png"))
