"""MLflow's pages in a real browser, as somebody sees them who opens a sweep of 200 grid points for the first time.

Screenshots go to the folder that WIDTHLAW_SCREENSHOTS names, or to a temporary one.
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from catalogued import write_plan, write_rows
from matplotlib.figure import Figure
from playwright.sync_api import expect, sync_playwright

from infra.catalogue import tracking
from infra.store import records

pytestmark = pytest.mark.cluster
AXES = {
    "n": [3, 4, 5, 16], "m": [1, 2, 4, 8, 16], "init_scale": [0.5, 1.0, 1.5, 2.0, 4.0], "noise": [0.0, 0.5],
    "d": [4], "tolerance": [1e-2], "max_steps": [60],
}  # fmt: skip
SEEDS, NAMING = 4, ("n", "m", "init_scale", "noise")
LAW = {"all": {"law": {"exponent": 1.25, "interval": [1.0, None], "status": "power law"}}}
PATIENCE = 60_000  # ms; a page takes 2 s on an idle machine


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    folder = Path(os.environ.get("WIDTHLAW_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A results folder with 800 trainings, a figure and a report, in the catalogue."""
    out = tmp_path_factory.mktemp("browsed") / "results"
    write_rows(str(out), AXES, range(SEEDS))
    write_plan(str(out), AXES, SEEDS)
    (out / "report.html").write_text("<!doctype html><title>Laws</title><h1>Laws of the sweep</h1>")
    (out / "figures").mkdir()
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([3, 5], [1, 16])
    for name in ("phase.png", "thresholds.png"):
        figure.savefig(out / "figures" / name)
    uri = tracking.default_uri(str(out))
    tracking.sync(str(out), uri, artifacts=["figures/phase.png", "figures/thresholds.png", "report.html"], law=LAW)
    return str(out)


@pytest.fixture(scope="module")
def pages(out, tmp_path_factory):
    """What ``widthlaw ui`` prints, while MLflow serves it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri, here = tracking.default_uri(out), tmp_path_factory.mktemp("server")
    (plan,) = records.read_plans(out)
    found = tracking.pages(uri, plan, port)
    with (here / "log").open("wb") as log:
        command = tracking.ui_command(uri, port)
        server = subprocess.Popen(command, shell=True, cwd=here, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (here / "log").read_text()
                time.sleep(0.1)
        yield found
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def visitor(pages):
    """A browser whose user has opened MLflow once and closed the assistant that opens by itself."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "make test installs chromium where it is missing"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page = context.new_page()
        page.goto(pages["table"])
        page.get_by_role("button", name="Close", exact=True).last.click()
        in_order(page)  # a page closed before leaves MLflow's own columns to the next
        page.close()
        yield context
        browser.close()


@pytest.fixture
def page(visitor):
    page = visitor.new_page()
    yield page
    for one in visitor.pages:
        one.close()


@pytest.fixture(scope="module")
def expected(out):
    """Each grid point's columns, from the rows, in the order of the table."""
    rows, _ = records.read_rows(out)
    groups: dict[tuple, list] = {}
    for row in rows.to_pylist():
        groups.setdefault(tuple(row[name] for name in NAMING), []).append(row)
    assert len(groups) == 200
    table = []
    for values, group in sorted(groups.items()):
        fits = sum(row["outcome"] == "fit" for row in group)
        verdict = "fits" if fits == SEEDS else "undecided" if fits else "does not fit"
        table.append((*values, fits / SEEDS, statistics.median(row["loss"] for row in group), verdict))
    assert {row[-1] for row in table} == {"fits", "undecided", "does not fit"}
    return table


def cells(page, column, count):
    """The first texts of a column of the table, from above."""
    found = page.locator(f'.ag-center-cols-container .ag-row [col-id="{column}"]')
    expect(found.nth(count - 1)).to_be_visible()
    texts = found.evaluate_all("all => all.map(one => [+one.parentElement.getAttribute('row-index'), one.innerText])")
    return [text.strip() for _, text in sorted(texts)][:count]


def headers(page):
    """The headings of the table as they are seen, from the left; their order in the document is another."""
    found = page.locator(".ag-header-cell")
    texts = found.evaluate_all("all => all.map(one => [one.getBoundingClientRect().x, one.innerText.trim()])")
    return [text for _, text in sorted(texts) if text]


def in_order(page):
    """Wait for the columns of the view, which come a moment after the table; the headings then."""
    expected, deadline = ["Run Name", "Created", *NAMING], time.monotonic() + PATIENCE / 1000
    while (found := headers(page))[: len(expected)] != expected and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    return found


def drawn(page, number, lines):
    """A chart's scale and traces, once it has so many of different names."""
    names = "new Set(document.querySelectorAll('.js-plotly-plot')[number]?.data?.map(one => one.name)).size"
    page.wait_for_function(f"([number, lines]) => {names} >= lines", arg=[number, lines])
    script = "(all, number) => ({y: all[number].layout.yaxis?.type, data: all[number].data.map("
    script += "one => ({name: one.name, type: one.type, x: [...(one.x || [])]}))})"
    return page.eval_on_selector_all(".js-plotly-plot", script, number)


def test_the_table_reads_like_the_sweep(page, pages, expected, shots):
    page.goto(pages["table"])
    count = 12
    first = [cells(page, f"params.`{name}`", count) for name in NAMING]
    first += [cells(page, f"metrics.`{name}`", count) for name in ("success rate", "median loss")]
    verdicts = cells(page, "tags.`verdict`", count)
    seen = [(*map(float, numbers), text) for *numbers, text in zip(*first, verdicts, strict=True)]
    for one, row in zip(seen, expected[:count], strict=True):
        assert one == (*(pytest.approx(float(number), rel=5e-4) for number in row[:-1]), row[-1])  # four digits
    assert in_order(page)[:9] == ["Run Name", "Created", *NAMING, "success rate", "median loss", "verdict"]
    names = page.locator(".ag-pinned-left-cols-container .ag-row a").all_inner_texts()
    assert "n=3 m=1 init_scale=0.5 noise=0" in [name.strip() for name in names]
    expect(page.get_by_role("link", name="Evaluation runs")).to_have_count(0)  # the view for LLM applications
    page.screenshot(path=shots / "table.png")


def test_a_plain_visit_leads_to_the_table(page, pages, shots):
    """Without the address MLflow opens its view for LLM applications; the note above it leads on."""
    page.goto(pages["table"].split("#")[0] + "#/experiments")
    sweep = page.get_by_role("link", name="width_vs_n").first
    expect(sweep).to_be_visible()
    page.screenshot(path=shots / "experiments.png")
    sweep.click()
    page.get_by_role("button", name="Got it").click()
    page.screenshot(path=shots / "plain-visit.png")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="table", exact=True).click()
    expect(opened.value.locator('.ag-header-cell[col-id="tags.`verdict`"]')).to_be_visible()


def test_the_plan_has_claim_law_command_figure_and_report(page, pages, shots):
    page.goto(pages["plan"])
    for text in ("m of order n^6 is enough", "About this run"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    page.get_by_text("Show more").first.click()
    for text in ("exponent 1.250", "python sweeps/width_vs_n.py --n 4,6"):
        expect(page.get_by_text(text)).to_be_visible()
    page.screenshot(path=shots / "plan.png")
    with page.expect_popup() as figure:
        page.get_by_role("link", name="figure", exact=True).click()
    image = figure.value.locator("img[src^=blob], img[src*=artifact], img[src^=data]").first
    expect(image).to_be_visible()
    assert image.evaluate("one => one.naturalWidth") == 400
    figure.value.screenshot(path=shots / "figure.png")
    with page.expect_popup() as every:
        page.get_by_role("link", name="all figures", exact=True).click()
    for name in ("phase.png", "thresholds.png"):
        expect(every.value.get_by_text(name)).to_be_visible()
    every.value.screenshot(path=shots / "figures.png")
    with page.expect_popup() as report:
        page.get_by_role("link", name="report", exact=True).click()
    expect(report.value.frame_locator("iframe").get_by_role("heading", name="Laws of the sweep")).to_be_visible()
    report.value.screenshot(path=shots / "report.png")


def test_the_charts_need_no_set_up(page, pages, shots):
    page.goto(pages["charts"])
    loss, rate = drawn(page, 0, 100), drawn(page, 1, 1)
    assert len({one["name"] for one in loss["data"]}) == 100  # as many as MLflow loads at first
    assert loss["y"] == "log" and max(max(one["x"]) for one in loss["data"]) == 60
    assert set(map(float, rate["data"][0]["x"])) == set(AXES["m"])
    expect(page.locator(".parcoords")).to_be_visible()
    page.screenshot(path=shots / "charts.png")


def test_the_loss_curves_of_a_slice_compare(page, pages, shots):
    page.goto(pages["slice"])
    names = [f"n={n} m={m} init_scale=1.5 noise=0.5" for n in AXES["n"] for m in AXES["m"]]
    loss = drawn(page, 0, len(names))
    assert {one["name"] for one in loss["data"]} == set(names) and loss["y"] == "log"
    assert drawn(page, 2, 1)["data"][0]["type"] == "contour"
    page.screenshot(path=shots / "slice.png")


def test_selected_points_are_compared(page, pages, shots):
    page.goto(pages["table"])
    cells(page, "params.`m`", 5)
    for row in (0, 10, 20):
        page.locator(f'.ag-pinned-left-cols-container .ag-row[row-index="{row}"] .ag-checkbox-input').check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("Comparing 3 Runs")).to_be_visible()
    assert drawn(page, 0, 1)["data"][0]["type"] == "parcoords"
    expect(page.get_by_text("success rate", exact=True).first).to_be_visible()
    page.screenshot(path=shots / "compare.png")
    near = page.get_by_role("link", name="median budget_steps").get_attribute(
        "href"
    )  # the list is long, its end unseen
    page.evaluate("address => location.assign(address)", near.replace("budget_steps", "loss"))
    page.get_by_role("radio", name="Step").check()
    assert {one["name"] for one in drawn(page, 0, 3)["data"]} == {
        f"n=3 m={m} init_scale=0.5 noise=0" for m in (1, 2, 4)
    }
    page.screenshot(path=shots / "metric.png")
