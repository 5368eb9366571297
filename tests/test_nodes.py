"""Nodes that are taken back and others that come, and the MLflow server for those who come from elsewhere."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import chaos
import pytest
import stage as world
from hosts import run, skip_unless, wait
from playwright.sync_api import sync_playwright
from stage import Stage, gather, hosted, kill, missing, processes

from infra.store import records

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    skip_unless(missing())
    with hosted(tmp_path_factory.mktemp("nodes")) as built:
        gather(built)
        yield built


def test_a_pack_of_a_node_that_is_taken_back_goes_on_elsewhere_from_its_last_block(stage):
    """Its seconds count what the lost node did, so that they are more than from when the other one took it up."""
    out = stage.out.parent / "spot"
    line = f"{chaos.sys.executable} {chaos.ROOT}/sweeps/width_vs_n.py --n=64 --m=16 --d=8 --seeds=2 --step_size=0.05"
    line += f" --tolerance=1e-9 --max_steps=320000 --budget=1000 --to-the-end --out={out} --address={stage.address}"
    driver = world.launch(stage.head, line, stage.folder / "spot.log")
    (place,) = wait(lambda: [node for node in stage.nodes if processes(node, chaos.TRAINING)], "a pack")
    written = set()
    look = lambda: written.update(path.stat().st_mtime_ns for path in out.glob("tune/*/pack-0.pt"))  # noqa: E731
    wait(lambda: look() or len(written) > 2, "a third checkpoint")
    kill(place, "ray")
    assert driver.wait(timeout=400) == 0, (stage.folder / "spot.log").read_text()
    (row, _) = records.read_rows(str(out))[0].to_pylist()
    span = datetime.fromisoformat(row["finished"]) - datetime.fromisoformat(row["started"])
    assert row["pack_seconds"] > span.total_seconds() + 3, "three blocks of two seconds, less what reports take"
    assert row["host"] != place.name


def test_a_node_that_joins_later_and_does_not_see_the_results_ends_the_sweep_and_loses_no_row(stage):
    """In the place of one that is lost."""
    (_, seeing, blind), out, disk = stage.nodes, stage.out.parent / "late", stage.out.parent
    line = f"{chaos.sys.executable} {chaos.ROOT}/sweeps/width_vs_n.py --n=64 --m=16:415:+1 --d=8 --seeds=2"
    line += f" --max_steps=5000 --to-the-end --out={out} --address={stage.address}"
    kill(seeing, "ray")
    kill(blind, "ray")
    world.join(stage, seeing)
    run(blind, f"mount -t tmpfs none {disk}")  # in the place of the results, a disk of its own
    driver = world.launch(stage.head, line, stage.folder / "late.log")
    try:
        wait(lambda: list(out.glob("rows/*.parquet")), "rows")
        kill(seeing, "ray")
        world.join(stage, blind)
        assert driver.wait(timeout=400) == 2
        assert not run(blind, f"find {disk} -type f")
    finally:
        kill(stage.head, chaos.DRIVER)
        driver.wait()
        run(blind, f"umount -l {disk}")
    log = (stage.folder / "late.log").read_text()
    assert f"width_vs_n: --out {out}: host {blind.name} does not see it and would lose its rows" in log, log
    assert "Traceback" not in log


@contextmanager
def browser(host, folder):
    """Chromium in the network of a host, where ``head`` and ``another`` are names of 10.77.0.2."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program, "make test installs chromium where it is missing"
    script = folder / "chromium"
    script.write_text(f'#!/bin/sh\nexec nsenter -t {host.pid} --net {program} "$@"\n')
    script.chmod(0o755)
    names = "--host-resolver-rules=MAP head 10.77.0.2, MAP another 10.77.0.2"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=script, args=["--no-sandbox", "--disable-gpu", names])
        yield opened
        opened.close()


def test_the_mlflow_server_lets_others_in_with_a_password_alone_and_by_its_names(stage, tmp_path):
    """On an address that others reach, over the same PostgreSQL; the password comes from the environment."""
    others = f"{world.EXPORTS}; export HOST={stage.head.address} PORT=5001 DATABASE=others ALLOWED_HOSTS=head:5001"
    script = world.MLFLOW.replace("/tmp/artifacts", "/tmp/others")
    told = run(stage.head, f"{others}; {script}", code=2)
    assert told == f"mlflow_server.sh: HOST={stage.head.address} lets others in: set MLFLOW_AUTH_ADMIN_PASSWORD too\n"
    password = "a-password-for-tests"
    run(stage.head, f"{others} MLFLOW_AUTH_ADMIN_PASSWORD={password}; setsid {script} > /tmp/others.log 2>&1 &")

    def status(node, *options, host="head"):
        ask = f"curl -s -o /dev/null -w '%{{http_code}}' {' '.join(options)} http://{host}:5001/api/2.0/mlflow/experiments"
        return run(node, f"{ask}/search?max_results=1", code=None)

    admin, worker = f"-u admin:{password}", stage.nodes[1]
    wait(lambda: status(worker, admin) == "200", "the server")
    assert status(worker) == "401" and status(worker, "-u admin:password1234") == "401"
    assert status(worker, admin, host=stage.head.address) == "403", "not one of its names"
    with browser(worker, tmp_path) as chromium:
        page = chromium.new_context(http_credentials={"username": "admin", "password": password}).new_page()
        asked = []
        page.on("response", lambda answer: asked.append((answer.status, "experiments/search" in answer.url)))
        assert page.goto("http://head:5001/#/experiments").status == 200
        page.get_by_role("link", name="Default").wait_for(timeout=60_000)
        assert (200, True) in asked and not [code for code, _ in asked if code in (401, 403)]
        assert page.goto("http://another:5001/").status == 403, "not one of its names"
    assert not [line for line in processes(stage.head, password) if "bash" not in line.name()]
