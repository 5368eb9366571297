"""What one does in a notebook: a results folder -> rows, law, verdicts, each with what a notebook shows of it."""

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import planted_rows as planted
import pytest
from matplotlib.figure import Figure

import analysis
from analysis import DataError, draw, fit_plane, fit_power_law, fit_threshold, law, plot, read, studies, tally, verdicts
from infra.store.storage import ResultsError

PNG = b"\x89PNG"
CRAFTED = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Two values of d, so two laws; the question is one of somebody else's folder."""
    out = tmp_path_factory.mktemp("notebook") / "planted"
    axes = planted.AXES | {"d": [8, 16]}
    planted.plan(out, axes, claim=f"How wide? {CRAFTED}", criterion=f"`loss` {CRAFTED}")
    planted.write(out, planted.rows(axes))
    return out


def texts(html):
    """The texts of a fragment of HTML, whose tags must be closed in order."""
    found, opened = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, _):
            assert tag in ("div", "b", "br", "table", "thead", "tbody", "tr", "th", "td"), tag
            opened.extend([tag] if tag != "br" else [])

        def handle_endtag(self, tag):
            assert opened.pop() == tag

        def handle_data(self, data):
            found.append(data)

    Parser().feed(html)
    assert not opened
    return found


def test_every_public_name_is_there_and_none_is_imported_before_it_is_asked_for():
    assert all(getattr(analysis, name) is not None for name in analysis.__all__)
    assert sorted(analysis.__all__) == sorted(name for names in analysis.HOMES.values() for name in names)
    with pytest.raises(ImportError, match="fit_threshhold"):
        from analysis import fit_threshhold  # noqa: F401
    code = "import sys, analysis; assert not {'numpy', 'pandas', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_are_a_data_frame(out):
    assert len(read(out)) == 2 * len(read(out, d=16)) == 2 * planted.SEEDS * 33
    several = read(out, n=[16, 32])
    assert set(several["n"]) == {16, 32} and len(several) == len(read(out, n=16)) + len(read(out, n=32))
    with pytest.raises(DataError, match="d takes 8, 16"):
        read(out, d=3)


def test_the_law_is_that_of_its_rows_and_shows_itself(out):
    found, rows = law(out, d=16), read(out, d=16)
    same = fit_threshold(tally(rows["m"], rows["n"], rows["success"]))
    assert found.exponent == same.exponent and found.interval[0] < 1 < found.interval[1], "m* = n was planted"
    told = texts(found._repr_html_())
    head, status = found.summary().split("\n")
    assert told[:3] == [
        head,
        f"95% envelope of the exponent {analysis.notebook_tables.bracket(found.envelope)}",
        status,
    ]
    for point in found.points:
        assert f"{point.over:g}" in told and analysis.notebook_tables.number(point.critical) in told
    assert plot(found)._repr_png_().startswith(PNG)


def test_several_laws_are_named_and_none_is_said(out, tmp_path):
    with pytest.raises(DataError, match=r"2 laws at all settings.*d = 8.*d = 16"):
        law(out)
    planted.plan(tmp_path, critical=None)
    with pytest.raises(DataError, match="no sweep there seeks a threshold"):
        law(tmp_path)
    with pytest.raises(ResultsError):
        studies(tmp_path / "nothing")


def test_verdicts_and_studies_show_themselves_and_their_figures(out, tmp_path):
    board = verdicts(out)
    told = texts(board._repr_html_())
    for held in board.held:
        assert {held.claim.name, held.label, held.measured} <= set(told)
        assert held.verdict.sentence in texts(held._repr_html_()) and held.verdict.label in held.verdict._repr_html_()
    assert all(why in told for _, why in board.unanswered) and board.unanswered
    one_each = {held.claim.direction: held for held in board.held}
    assert set(one_each) >= {"sufficient", "rate", "inequality"}
    assert all(plot(held)._repr_png_().startswith(PNG) for held in one_each.values())
    (study,) = studies(out)
    assert f"How wide? {CRAFTED}" in texts(study._repr_html_()), "escaped: text, no tag"
    assert CRAFTED not in study._repr_html_()
    plot(study).save(tmp_path / "phase.pdf")
    assert (tmp_path / "phase.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(DataError, match=r"\.pdf, \.png or \.svg"):
        plot(study).save(tmp_path / "phase.doc")


def test_plans_that_differ_in_an_axis_that_does_not_vary_are_told_apart_by_it(tmp_path):
    for plan_id, d in (("p", 8), ("q", 16)):
        axes = planted.AXES | {"d": [d]}
        planted.plan(tmp_path, axes, plan_id=plan_id)
        planted.write(tmp_path, planted.rows(axes))
    with pytest.raises(DataError, match=r"2 laws at all settings, name one of: d = 8, plan = p; d = 16, plan = q$"):
        law(tmp_path)
    assert law(tmp_path, d=16).exponent == law(tmp_path, plan="q").exponent


def test_a_law_of_ones_own_data_is_drawn_into_ones_own_axes():
    x = np.geomspace(2, 64, 6)
    found, axes = fit_power_law(x, 3 * x**-0.5), Figure().subplots()
    axes.plot(x, 3 * x**-0.5, "o")
    draw(found, axes)
    assert axes.get_xscale() == axes.get_yscale() == "log" and len(axes.lines) == 2
    assert "y = 3 x^-0.500" in texts(found._repr_html_())[0]
    nothing = fit_power_law([1.0], [1.0])
    assert texts(nothing._repr_html_())[0].startswith("no exponent") and plot(nothing)._repr_png_().startswith(PNG)
    with pytest.raises(TypeError, match="no law to draw in str"):
        draw("law", axes)


def test_a_law_over_two_axes_shows_both():
    grid = np.array([(m, n, d) for n in (8, 16, 32) for d in (2, 4) for m in (2, 4, 8, 16, 32, 64, 128) for _ in "ab"])
    m, n, d = grid.T
    told = texts(fit_plane(tally(m, n, m * d >= n, second=d))._repr_html_())
    assert told.index("m*") - told.index("n") == 2 and "d" in told
