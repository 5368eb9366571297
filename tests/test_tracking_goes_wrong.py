"""The catalogue where a store is moved, crafted or deleted, and a sync or a server killed."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from catalogued import LAW, content, table

from infra.catalogue import tracking
from infra.catalogue.tracking import Synced, TrackingError
from infra.store import records


def test_a_deleted_store_is_made_again_without_a_word(tracked: str, capfd: pytest.CaptureFixture[str]) -> None:
    uri = tracking.default_uri(tracked)
    tracking.sync(tracked, uri, law=LAW)
    before = content(uri)
    assert not tracking.lacking(tracked, uri)
    moved = str(Path(tracked).rename(Path(tracked).with_name("moved")))
    Path(moved, "mlflow.db").unlink()
    assert len(tracking.lacking(moved, tracking.default_uri(moved))) == 1
    assert tracking.sync(moved, tracking.default_uri(moved), law=LAW) == Synced(created=6)
    assert content(tracking.default_uri(moved)) == before
    assert capfd.readouterr() == ("", "")


def test_a_killed_sync_is_completed_without_duplicates(tracked_once: Path, tmp_path: Path) -> None:
    """Killed at the fourth point, in copies of one process, which loads MLflow: between the calls that write it, as to
    a server; and in the middle of a transaction of three points, as in a database."""
    left = {"log_batch": (2, 1, 3), "set_terminated": (2, 1, 3), "INSERT INTO metrics": (3, 0, 3)}
    folders = {where: str(copytree(tracked_once, tmp_path / where)) for where in left}
    code = f"""
    import os, signal
    from itertools import count
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event
    from infra.catalogue import new_runs, tracking
    def at(number, calls):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
    def killed(where, tracked):
        calls = count(1)
        if where.startswith("INSERT"):
            new_runs.AT_ONCE = 3
            event.listen(Engine, "before_cursor_execute", lambda *given: given[2].startswith(where) and at(2, calls))
        else:
            new_runs.database = lambda _: None
            whole = getattr(MlflowClient, where)
            setattr(MlflowClient, where, lambda *given: (at(4, calls), whole(*given))[1])
        tracking.sync(tracked, tracking.default_uri(tracked))
    for where, tracked in {folders!r}.items():
        if not (copy := os.fork()):
            try:
                killed(where, tracked)
            finally:
                os._exit(1)
        print(os.WTERMSIG(os.waitpid(copy, 0)[1]))
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert told.stdout.split() == ["9"] * len(left), told.stderr
    for where, tracked in folders.items():
        uri = tracking.default_uri(tracked)
        assert tracking.sync(tracked, uri) == Synced(*left[where]), where
        assert len(table(uri)) == 7
        assert tracking.sync(tracked, uri) == Synced(unchanged=6)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(tracked: str, port: int, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """What ``ui_command`` says, started in a shell, and refusing any host name but 127.0.0.1."""
    command = tracking.ui_command(tracking.default_uri(tracked), port) + f" --allowed-hosts 127.0.0.1:{port}"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, shell=True, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_server(tracked: str, server: "subprocess.Popen[bytes]", port: int) -> None:
    """Pages and artifacts are served, HTTP says the same, a wrong host name is refused, a dead server is told."""
    uri = f"http://127.0.0.1:{port}"
    before = dict(os.environ)
    assert tracking.sync(tracked, uri, artifacts=["figures/phase.png"], law=LAW) == Synced(created=6)
    assert tracking.sync(tracked, uri, artifacts=["figures/phase.png"], law=LAW) == Synced(unchanged=6)
    assert tracking.sync(tracked, tracking.default_uri(tracked)) == Synced(unchanged=6)
    (parent,) = [run for run in table(uri).values() if "planned" in run.data.metrics]
    for path, start in (
        ("/", b"<!doctype html>"),
        (f"/get-artifact?path=phase.png&run_uuid={parent.info.run_id}", b"a figure"),
    ):
        with urllib.request.urlopen(uri + path, timeout=10) as answer:
            assert answer.read().startswith(start)
    (recipe,) = records.read_plans(tracked)
    here = f"{uri}/#/experiments/{parent.info.experiment_id}/runs"
    shown = f"workflowType=machine_learning&viewStateShareKey=widthlaw-{recipe['plan_id']}"
    assert tracking.pages(tracking.default_uri(tracked), recipe, port) == {
        "plan": f"{here}/{parent.info.run_id}?workflowType=machine_learning",
        "table": f"{here}?{shown}",
        "charts": f"{here}?{shown}-charts&compareRunsMode=CHART",
    }

    with pytest.raises(TrackingError, match=r"localhost:\d+ refuses \(403\): .*--allowed-hosts"):
        tracking.check(f"http://localhost:{port}")
    lines: list[str] = []
    with tracking.following(tracked, uri, lines.append, every=0.05):
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        deadline = time.monotonic() + 30
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
    assert len(lines) == 1
    assert "\n" not in lines[0]
    began = time.monotonic()
    with pytest.raises(TrackingError, match=rf"MLflow at {uri}: cannot be reached"):
        tracking.sync(tracked, uri)
    assert time.monotonic() - began < 10
    assert dict(os.environ) == before


def test_a_store_that_writes_its_files_elsewhere_is_refused_in_a_line(tracked: str, tmp_path: Path) -> None:
    """As after a folder was moved, or where somebody made one up: nothing comes to be in the other place."""
    tracking.sync(tracked, tracking.default_uri(tracked), artifacts=["figures/phase.png"])
    Path(tracked).rename(tmp_path / "moved")
    moved = str(tmp_path / "moved")
    with pytest.raises(TrackingError, match=r"was made in another place.*move .*mlflow\.db away") as caught:
        tracking.sync(moved, tracking.default_uri(moved), artifacts=["figures/phase.png"])
    assert len(str(caught.value).splitlines()) == 1 and not Path(tracked).exists()


@pytest.mark.parametrize(
    "form", ["file://{}", "FILE://{}", "{}", "elsewhere", "s3://elsewhere/x", "mlflow-artifacts://h/x"]
)
def test_a_crafted_store_writes_nowhere_else(tracked: str, tmp_path: Path, form: str) -> None:
    uri, place = tracking.default_uri(tracked), tmp_path / "elsewhere"
    tracking.sync(tracked, uri)
    with sqlite3.connect(Path(tracked, "mlflow.db")) as store:
        store.execute("update runs set artifact_uri = ?", [form.format(place)])
        store.execute("delete from tags where key like '%digest%'")
    store.close()
    with pytest.raises(TrackingError, match=r"was made in another place"):
        tracking.sync(tracked, uri, artifacts=["figures/phase.png"])
    assert not place.exists() and not Path("elsewhere").exists()
