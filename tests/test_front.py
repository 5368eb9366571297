"""The verdict board over several results folders: every claim once, with what each sweep says of it."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import planted_rows as planted
import pytest

from analysis import report
from analysis.figures.exponents import board_figure
from analysis.pages import front, spots
from infra.commands import cli
from infra.store import records

OLDER = {"family": "older", "paper": ["An older law", "Somebody 2015, arXiv 1503.00001."]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two sweeps of one family and one of an older paper."""
    out = tmp_path_factory.mktemp("claims")
    for name, letter, more in (("one", "a", {}), ("two", "b", {}), ("three", "c", OLDER)):
        planted.plan(out / name, plan_id=letter * 20, **more)
        planted.write(out / name, planted.rows()[:60] if name == "two" else planted.rows())
    return [str(out / name) for name in ("one", "two", "three")]


@pytest.fixture(scope="module")
def papers(folders):
    with pytest.MonkeyPatch.context() as patched:
        planted.drawn_as(patched)
        return front.papers([part for out in folders for part in report.sections_of(out, records.read_plans(out))])


def test_papers_stand_in_the_order_of_their_arxiv_numbers(papers):
    assert [paper.family for paper in papers] == ["older", planted.FAMILY]
    assert [len(paper.sections) for paper in papers] == [1, 2]


def test_every_claim_stands_once_with_what_each_sweep_says(papers):
    paper = papers[1]
    names = [told.claim.name for told in paper.claims]
    assert len(names) == len(set(names)) and {claim["name"] for claim in planted.CLAIMS} == {
        *names, *(claim.name for claim, _ in paper.silent)
    }  # fmt: skip
    held = [one for part in paper.sections for one in part.board.held]
    assert sorted(map(id, held)) == sorted(
        id(one.held) for told in paper.claims for one in (*told.answers, *told.others)
    )
    first = [answer for told in paper.claims for answer in told.answers]
    assert sum(paper.kinds.values()) == len(first) and all(one.key in one.section.pictures for one in first)


def test_the_sweep_with_most_trainings_comes_first_and_before_it_the_one_that_asks(papers):
    paper = papers[1]
    assert {answer.section.found.plan["plan_id"][0] for told in paper.claims for answer in told.answers} == {"a"}
    told = next(one for one in paper.claims if one.claim.metric == "flips" and one.others)
    few = told.others[0].section
    asking = replace(few, found=replace(few.found, plan={**few.found.plan, "metrics": ["flips"]}))
    answers = [*told.answers, *(replace(other, section=asking) for other in told.others)]
    assert all(answer.section is asking for answer in front.told(answers).answers)


def test_the_page_says_what_the_board_holds_and_leads_to_the_reports(folders, papers, capsys):
    target = Path(folders[0]).parent / "verdicts.html"
    assert cli.main(["report", *folders, "--page", str(target), "--json"]) == 0
    laws = [f"{out}/laws.json" for out in folders]
    assert json.loads(capsys.readouterr().out) == {"page": str(target), "laws": laws} and Path(laws[2]).exists()
    text = unescape(target.read_text())
    for paper in papers:
        assert paper.title in text and paper.source in text
        for told in paper.claims:
            assert told.claim.name in text and all(one.picture.source in text for one in told.answers)
    links = re.findall(r'<a href="(\w+/report\.html)#(plan-\w+)"', text)
    assert {link for link, _ in links} == {"one/report.html", "two/report.html", "three/report.html"}
    assert all(anchor in Path(target.parent, link).read_text() for link, anchor in links)
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert {*anchors} <= {*re.findall(r'id="([^"]+)"', text)}
    assert target.with_suffix(".pdf").read_bytes()[:4] == b"%PDF" and target.with_suffix(".png").exists()


def test_the_lines_of_the_board_lie_where_its_claims_are_drawn(papers):
    (answers,) = front.exponents(papers).values()  # the older law has no rows
    held = [one.held for one in answers]
    groups = {"first": held[1:], "second": held[:1]}
    figure = board_figure(groups, "stamp")
    axes, dots = figure.axes[0], [line.get_ydata() for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    drawn = [1 - axes.transData.transform((0, y[0]))[1] / figure.bbox.height for y in dots if len(y)]
    lines = spots.on_board(groups, figure)
    claims = zip(lines, held[1:] + held[:1], strict=True)
    measured = [top + height / 2 for (top, height), one in claims if np.isfinite(one.law.exponent)]
    assert len(measured) > 2 and measured == pytest.approx(drawn, abs=1e-3)  # rounded to 1e-4


def test_several_folders_need_a_page(folders, capsys):
    assert cli.main(["report", *folders]) == 2
    assert "--page" in capsys.readouterr().err
