"""Points of the page's figures, in a real browser: hovered, reached by keys, kept, and a training of one done again."""

import dataclasses
import io
import json
import re
import shlex
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import planted_rows as planted
import pytest
from browsing import visited
from PIL import Image
from playwright.sync_api import expect

import trainables
from analysis import report
from infra.commands import cli
from infra.packing import pack
from infra.planning import plan
from infra.store import records, schema

FAMILY, AXES, SEEDS = "random_features", {"m": [3, 6, 10], "n": [4, 6, 8]}, 4
EVIL, IMAGE = "</script><script>evil=1</script>", "<img src=x onerror=evil=1>"


def trained():
    """Rows of every cell; the fit of seed 3 at m = n = 6 is said to have failed."""
    module, rows = trainables.load(FAMILY), []
    for m in AXES["m"]:
        for n in AXES["n"]:
            cells = [dataclasses.replace(module.SMALL, m=m, n=n, seed=seed) for seed in range(SEEDS)]
            run = pack.start(FAMILY, cells)
            while not pack.finished(run):
                pack.advance(run)
            rows += pack.rows(run)
    (one,) = [row for row in rows if (row["m"], row["n"], row["seed"]) == (6, 6, 3)]
    return [row | {"outcome": "failed", "success": None} if row is one else row for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trained, not planted: a phase diagram, and a sweep of the same rows without a critical axis."""
    out = tmp_path_factory.mktemp("page") / "my results"
    told = {"family": FAMILY, "numerics": trainables.load(FAMILY).VERSION, "seeds": SEEDS, "axes": AXES, "claims": []}
    planted.plan(out, **told)
    planted.plan(out, **told, plan_id="b" * 20, critical=None, over="m", by="n", metrics=["rank"])
    records.write_shard(str(out), trained(), plan.row_schema(FAMILY))
    with pytest.MonkeyPatch.context() as patched:
        planted.drawn_as(patched, "svg")
        report.write_report(str(out))
    return out


@pytest.fixture
def page(browser, folder):
    for opened, _ in seen(browser, folder / "report.html", 1200):
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield opened


def seen(browser, path, width):
    """The page at a window's width; at the end nothing was asked for and no error told, also none of the policy."""
    address = path.resolve().as_uri()
    for page, requests, errors in visited(browser, address, width):
        yield page, errors
        assert errors == [] and {url for url in requests if not url.startswith("data:")} == {address}


def placed(page, key):
    """The figure of a key, and its points: pixels from the left and top of the window, and the values of the axes."""
    figure = page.locator(f"figure[data-key='{key}']").first
    figure.evaluate("one => one.scrollIntoView()")
    box = figure.locator(".picture").bounding_box()
    told = json.loads(figure.locator("xpath=ancestor::section").locator("script.trainings").text_content())
    spots = {tuple(told["points"][i][0]): (box["x"] + x * box["width"], box["y"] + y * box["height"])
             for x, y, i in told["figures"][key]}  # fmt: skip
    return figure, spots


def test_hovering_a_point_tells_what_its_colour_shows(page):
    """The colour is matplotlib's: the words beside it must give the same share."""
    figure, spots = placed(page, "phase")
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(float)
    shares = {}
    for values, (x, y) in spots.items():
        apart = []
        for across, down in product((-35, 35), (-38, 38)):  # corners of the cell; the law and its band hide some
            page.mouse.move(x + across, y + down)
            assert figure.locator(".panel strong").inner_text() == "n = {}, m = {}".format(*values)
            told = figure.locator(".panel .head").inner_text()
            shares[values] = float(re.search(r"share that fits ([\d.]+) \[", told)[1])
            colour = np.array(mpl.colormaps["cividis"](shares[values])[:3]) * 255
            apart.append(np.abs(image[int(y + down), int(x + across)] - colour).max())
        assert min(apart) < 6, (values, told)
    assert len(spots) == 9 and {0.0, 1.0} < set(shares.values())
    page.mouse.move(*spots["6", "6"])
    told = figure.locator(".panel .head").inner_text()
    assert "4 trainings: 1 fit, 2 unfit, 1 failed; share that fits 0.33 [0.06, 0.79]" in told
    assert figure.locator(".panel tbody td:nth-child(2)").all_inner_texts() == ["failed", "fit", "unfit", "unfit"]
    assert figure.locator(".panel path.curve").count() == 4
    assert figure.locator(".said").inner_text().startswith("n = 6, m = 6: 4 trainings")


def test_the_command_of_a_point_reproduces_its_row(page, folder, capsys):
    figure, spots = placed(page, "phase")
    page.mouse.click(*spots["8", "10"])
    figure.locator(".panel .address").nth(2).click()
    assert figure.locator(".panel tr.chosen, .panel path.chosen").count() == 2
    figure.locator(".panel .replay button").click()
    expect(figure.locator(".panel .replay button")).to_have_text("copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == figure.locator(".panel code").inner_text()
    program, *arguments = shlex.split(command)
    assert program == "widthlaw" and arguments[:2] == ["replay", str(folder)]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.endswith("fit: reproduced bit for bit\n")
    row = next(row for row in records.read_rows(str(folder))[0].to_pylist() if row["cell_id"] == arguments[2])
    assert (row["n"], row["m"], row["seed"]) == (8, 10, 2)


def test_keys_move_and_keep_and_let_go(page):
    figure, spots = placed(page, "phase")
    mark, shown = figure.locator(".mark"), figure.locator(".panel strong")
    mark.focus()
    assert shown.inner_text() == "n = 4, m = 3" and mark.get_attribute("aria-expanded") == "true"
    for key, n, m in (("Right", 6, 3), ("Up", 6, 6), ("Up", 6, 10), ("Up", 6, 10), ("Left", 4, 10), ("Down", 4, 6)):
        page.keyboard.press(f"Arrow{key}")
        assert shown.inner_text() == f"n = {n}, m = {m}"
    page.keyboard.press("Enter")
    page.mouse.move(*spots["8", "3"])
    assert shown.inner_text() == "n = 4, m = 6", "kept"
    page.mouse.click(*spots["8", "3"])
    assert shown.inner_text() == "n = 8, m = 3"
    page.mouse.click(*spots["8", "3"])
    page.mouse.move(*spots["8", "6"])
    assert shown.inner_text() == "n = 8, m = 6", "let go by a second click"
    page.keyboard.press("Escape")
    assert not figure.locator(".panel").is_visible()


def test_escape_lets_go_of_what_the_mouse_has_reached(page):
    figure, spots = placed(page, "phase")
    for reach in (page.mouse.move, page.mouse.click):
        page.mouse.move(1, 1)
        reach(*spots["8", "3"])
        assert figure.locator(".panel").is_visible()
        page.keyboard.press("Escape")
        assert not figure.locator(".panel").is_visible()


def test_points_of_a_metric_lead_to_their_trainings(page):
    figure, spots = placed(page, "metric-rank")
    assert len(spots) == 9
    page.mouse.click(*spots["10", "8"])
    assert figure.locator(".panel strong").inner_text() == "m = 10, n = 8"
    assert "4 trainings: 4 fit" in figure.locator(".panel .head").inner_text()


@pytest.mark.parametrize("width", [1200, 400])
def test_an_open_panel_stays_inside_the_window_and_off_the_paper(browser, folder, width):
    for page, _ in seen(browser, folder / "report.html", width):
        figure, spots = placed(page, "phase")
        page.mouse.click(*spots["6", "6"])
        panel = figure.locator(".panel").bounding_box()
        assert panel["x"] >= 0 and panel["x"] + panel["width"] <= width and panel["y"] + panel["height"] <= 901
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.emulate_media(media="print")
        assert not page.locator(".panel, .mark, .hint").filter(visible=True).count()


@pytest.mark.parametrize("top", [20, 140, 250])
def test_the_panel_of_a_point_leaves_the_other_points_in_reach(browser, folder, top):
    """In a laptop's window, wherever the picture stands in it."""
    for page, _ in seen(browser, folder / "report.html", 1400):
        page.set_viewport_size({"width": 1400, "height": 700})
        placed(page, "phase")
        page.evaluate(f"scrollBy(0, -{top})")
        figure = page.locator("figure[data-key='phase']").first
        box = figure.locator(".picture").bounding_box()
        assert box["y"] == pytest.approx(top, abs=30)
        told = json.loads(figure.locator("xpath=ancestor::section").locator("script.trainings").text_content())
        for x, y, i in told["figures"]["phase"]:
            if 0 < box["y"] + y * box["height"] < 700:
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                shown = figure.locator(".panel strong").inner_text()
                assert shown == "n = {}, m = {}".format(*told["points"][i][0])
                panel = figure.locator(".panel").bounding_box()
                assert panel["y"] >= 0 and panel["y"] + panel["height"] <= 700 and panel["height"] >= 136


def test_without_the_script_a_table_names_every_training(browser, folder):
    page = browser.new_page(java_script_enabled=False)
    page.goto((folder / "report.html").resolve().as_uri())
    assert page.locator(".mark, .panel, .hint").count() == 0
    rows = page.locator("details table.points").first.locator("tbody tr")
    assert rows.count() == 9 and not rows.first.is_visible()
    page.locator("details summary").first.click()
    assert rows.first.is_visible()
    assert set(rows.locator("code").all_text_contents()) == set(
        records.read_rows(str(folder))[0]["cell_id"].to_pylist()
    )
    page.close()


def test_a_crafted_folder_runs_nothing_in_the_page(browser, tmp_path):
    axes = {"m": [4, 8], "n": [8], "d": [8], "start": [EVIL, IMAGE]}
    planted.plan(tmp_path, axes, critical=None, over="m", by="start", metrics=["loss"], claims=[], meanings={"m": EVIL})
    rows = [
        planted.row(m, 8, 8, seed) | {"start": start, "cell_id": f"{seed} {m} {start}", "outcome": EVIL + IMAGE}
        for m in axes["m"] for start in axes["start"] for seed in range(3)
    ]  # fmt: skip
    columns = [schema.Column(name, "int", name, "1") for name in ("m", "n", "d", "seed")]
    columns.append(schema.Column("start", "str", EVIL, "1"))
    numbers = [schema.Column(name, "float", EVIL, "1") for name in planted.METRICS]
    records.write_shard(str(tmp_path), rows, schema.of_rows(columns, numbers))
    for page, errors in seen(browser, Path(report.write_report(str(tmp_path))), 1200):
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        figure, spots = placed(page, "metric-loss")
        page.mouse.click(*spots["4", EVIL])
        told = figure.locator(".panel").inner_text()
        assert f"start = {EVIL}" in told and "3 trainings: 3 other" in told
        assert "no address" in told and not figure.locator(".replay").is_visible(), "no command of somebody's making"
        assert errors == []
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'evil = 1'}))"
        )
        assert page.evaluate("window.evil") is None
        assert any("Content Security Policy" in error for error in errors)
        errors.clear()
