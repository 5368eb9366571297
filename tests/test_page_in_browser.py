"""The page in a real browser: complete by itself, quiet, and as wide as the window."""

from pathlib import Path

import planted_rows as planted
import pytest
from browsing import visited

from analysis import report


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "browsed"
    planted.plan(out)
    long = "python sweeps/planted.py " + 60 * "--long "
    planted.plan(out, planted.AXES | {"n": [8, 16]}, "b" * 20, command=long, claims=planted.CLAIMS[:1])
    planted.write(out, planted.rows())
    with pytest.MonkeyPatch.context() as patched:
        planted.drawn_as(patched, "svg")
        return Path(report.write_report(str(out))).resolve().as_uri()


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    out = tmp_path_factory.mktemp("boards")
    planted.plan(out / "one", claims=planted.CLAIMS[5:8])
    planted.write(out / "one", planted.rows())
    with pytest.MonkeyPatch.context() as patched:
        planted.drawn_as(patched, "svg")
        return Path(report.write_board([str(out / "one")], str(out / "verdicts.html"))).resolve().as_uri()


@pytest.fixture(params=[1200, 600], scope="module")
def opened(request, browser, address):
    yield from visited(browser, address, request.param)


@pytest.fixture
def opened_board(browser, board):
    yield from visited(browser, board, 1200)


def test_no_request_leaves_the_page_and_nothing_is_wrong(opened, address):
    _, requests, errors = opened
    assert address in requests
    assert [url for url in requests if url != address and not url.startswith("data:")] == []
    assert errors == []


def test_tables_and_figures_are_seen(opened):
    page, *_ = opened
    table = page.locator("table.thresholds").first
    assert table.is_visible() and "32" in table.inner_text()
    assert page.locator("table.board .kind.consistent").first.is_visible()
    widths = page.eval_on_selector_all("img", "all => all.map(one => [one.naturalWidth, one.clientWidth])")
    assert len(widths) == 14 and all(natural > 0 and shown > 200 for natural, shown in widths)


def test_nothing_is_wider_than_the_window(opened):
    page, *_ = opened
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    outside = "all => all.filter(one => one.getBoundingClientRect().right > window.innerWidth + 1).length"
    assert page.eval_on_selector_all("body > *, section > *, figure, img, p, pre", outside) == 0


def test_the_contents_lead_to_the_sections(opened):
    page, *_ = opened
    page.locator("nav a").nth(1).click()
    assert page.evaluate("Math.abs(document.querySelector('[id^=plan-bbb]').getBoundingClientRect().top) < 60")


def test_a_figure_of_the_board_is_enlarged_by_a_click_and_closed_by_another(opened_board, board):
    page, requests, errors = opened_board
    assert errors == [] and [url for url in requests if url != board and not url.startswith("data:")] == []
    image = page.locator(".figure img").first
    small = image.bounding_box()
    image.click()
    large = image.bounding_box()
    assert large["width"] > 2 * small["width"] and 0 <= large["y"] < 100
    assert page.locator(".figure .large").first.is_visible()
    page.locator(".figure .close").first.click()
    assert image.bounding_box()["width"] == small["width"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("kind", ["report", "verdict board"])
def test_a_line_of_the_board_leads_to_its_figure(browser, address, board, kind):
    for page, *_ in visited(browser, address if kind == "report" else board, 1200):
        lines = page.locator(".picture .line")
        for i in range(lines.count()):
            line, image = lines.nth(i), lines.nth(i).locator("xpath=../img")
            box, around = line.bounding_box(), image.bounding_box()
            assert around["y"] < box["y"] and box["y"] + box["height"] < around["y"] + around["height"]
            line.click()
            shown = page.locator(":target")
            assert shown.bounding_box()["y"] < 100 and shown.locator("img").first.is_visible()
            if shown.locator(".close").count():
                shown.locator(".close").click()
        assert lines.count() >= 2
