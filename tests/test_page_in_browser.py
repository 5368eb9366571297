"""The page in a real browser: complete by itself, quiet, and as wide as the window."""

import shutil
from pathlib import Path

import planted_rows as planted
import pytest
from playwright.sync_api import sync_playwright

from analysis import report

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "browsed"
    planted.plan(out)
    planted.plan(out, planted.AXES | {"n": [8, 16]}, "b" * 20, command="python sweeps/planted.py " + 60 * "--long ")
    planted.write(out, planted.rows())
    return Path(report.write_report(str(out))).resolve().as_uri()


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "make test installs chromium where it is missing"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=[1200, 600])
def opened(request, browser, address):
    """The page at a window's width, with the requests made and the errors told."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    requests, errors = [], []
    page.on("request", lambda asked: requests.append(asked.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    yield page, requests, errors
    page.close()


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
    assert len(widths) == 22 and all(natural > 0 and shown > 200 for natural, shown in widths)


def test_nothing_is_wider_than_the_window(opened):
    page, *_ = opened
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    outside = "all => all.filter(one => one.getBoundingClientRect().right > window.innerWidth + 1).length"
    assert page.eval_on_selector_all("body > *, section > *, figure, img, p, pre", outside) == 0


def test_the_contents_lead_to_the_sections(opened):
    page, *_ = opened
    page.locator("nav a").nth(1).click()
    assert page.evaluate("Math.abs(document.querySelector('[id^=plan-bbb]').getBoundingClientRect().top) < 60")
