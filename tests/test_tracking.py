"""The catalogue against the rows it is made of: real shards, a real SQLite store and a real MLflow server."""

import hashlib
import http.server
import itertools
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import trainables
from infra.catalogue import apart, mlflow_calls, runs, tracking, views
from infra.catalogue import grid_points as catalogue
from infra.catalogue.tracking import Synced, TrackingError
from infra.packing import pack
from infra.planning import plan
from infra.store import records
from infra.store.storage import ResultsError

FAMILY, SEEDS = "two_layer_relu", 5
FOUR_DIGITS = 5e-4  # relative, of what is shown of a number
AXES = {"n": [4, 6], "m": [2, 4, 16], "d": [4], "tolerance": [1e-2], "max_steps": [300]}
LAW = {"all": {"law": {"exponent": 1.25, "interval": [1.0, None], "status": "power law"}}, "rows_sha256": "0"}


def write_rows(out: str, axes: dict[str, list[Any]], seeds: range) -> None:
    """Train and record, one shard a pack."""
    cells = [cell for cell in plan.grid(FAMILY, axes, seeds.stop) if cell.seed in seeds]
    origin = {"finished": "2026-01-02T03:04:05+00:00", "pack_seconds": 1.5, "host": "here", "threads": 1}
    for job in plan.packs(FAMILY, cells):
        run = pack.start(FAMILY, plan.from_columns(FAMILY, job.columns, job.size))
        while not pack.finished(run):
            pack.advance(run)
        records.write_shard(out, [row | origin for row in pack.rows(run)], plan.row_schema(FAMILY))


def write_plan(out: str, axes: dict[str, list[Any]], seeds: int) -> dict[str, Any]:
    recipe = {
        "plan_id": hashlib.sha256(json.dumps([FAMILY, axes, seeds]).encode()).hexdigest()[:20],
        "sweep": "width_vs_n",
        "claim": "m of order n^6 is enough",
        "family": FAMILY,
        "numerics": trainables.load("two_layer_relu").VERSION,
        "axes": axes,
        "seeds": seeds,
        "critical": "m",
        "over": "n",
        "level": 0.5,
        "command": "python sweeps/width_vs_n.py --n 4,6",
        "created": "2026-01-02T03:00:00+00:00",
    }
    records.write_plan(out, recipe)
    return recipe


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with rows, a plan and an empty store (which MLflow takes seconds to make)."""
    out = tmp_path_factory.mktemp("tracking") / "results of a sweep"
    write_rows(str(out), AXES, range(SEEDS))
    write_plan(str(out), AXES, SEEDS)
    (out / "figures").mkdir()
    (out / "figures" / "phase.png").write_bytes(b"a figure")
    tracking.check(tracking.default_uri(str(out)))
    return out


@pytest.fixture
def out(template: Path, tmp_path: Path) -> str:
    return str(copytree(template, tmp_path / "results of a sweep"))


def table(uri: str) -> dict[str, Any]:
    """All live runs by name; two of one name fail."""
    mlflow = tracking.client(uri)
    found = mlflow.get_experiment_by_name("width_vs_n")
    runs = mlflow.search_runs([found.experiment_id], max_results=1000)
    assert len({run.info.run_name for run in runs}) == len(runs)
    assert {run.info.status for run in runs} <= {"FINISHED"}
    return {run.info.run_name: run for run in runs}


def content(uri: str) -> dict[str, Any]:
    """What the catalogue says, without the ids that MLflow draws and the times of writing."""
    return {
        name: (
            run.data.params,
            run.data.metrics,
            {key: run.data.tags.get(key) for key in ("widthlaw.point", runs.NOTE)},
        )
        for name, run in table(uri).items()
    }


def point_rows(out: str, **axes: Any) -> list[dict[str, Any]]:
    rows, _ = records.read_rows(out)
    return [row for row in rows.to_pylist() if all(row[name] == value for name, value in axes.items())]


def test_a_point_says_what_its_rows_say(out: str) -> None:
    uri = tracking.default_uri(out)
    assert tracking.sync(out, uri) == Synced(created=6)
    runs = table(uri)
    assert set(runs) == {f"n={n} m={m}" for n in (4, 6) for m in (2, 4, 16)} | {f"{FAMILY} n=4..6 m=2..16, 5 seeds"}
    outcomes = set()
    for n in (4, 6):
        for m in (2, 4, 16):
            rows, run = point_rows(out, n=n, m=m), runs[f"n={n} m={m}"]
            fit = sum(row["outcome"] == "fit" for row in rows)
            outcomes |= {row["outcome"] for row in rows}
            metrics = run.data.metrics
            assert len(rows) == metrics["trainings"] == SEEDS
            assert metrics["fit"] == fit
            assert metrics["unfit"] == SEEDS - fit
            assert metrics["success_rate"] == fit / SEEDS
            assert 0 <= metrics["success_rate_low"] <= metrics["success_rate"] <= metrics["success_rate_high"] <= 1
            for name in ("steps", "loss", "dist_max", "lambda0", "gram_drift", "compute_seconds"):
                assert metrics[f"median {name}"] == pytest.approx(
                    statistics.median(row[name] for row in rows), rel=FOUR_DIGITS
                )
            assert not {f"median {name}" for name in ("seed", "success", "pack_seconds", "threads", "n")} & set(metrics)
            expected = {"n": str(n), "m": str(m), "d": "4", "init_scale": "1.0", "labels": "sign", "tolerance": "0.01"}
            assert run.data.params.items() >= expected.items()
            assert run.data.tags["widthlaw.point"] == rows[0]["point_id"]
            sure = "fits" if fit == SEEDS else "does not fit" if not fit else "undecided"  # 5 of 5: [0.57, 1]
            assert run.data.tags["verdict"] == sure
            assert run.info.end_time - run.info.start_time == 1500
    assert outcomes == {"fit", "unfit"}


def test_the_loss_curve_is_the_median_over_seeds_at_steps_that_were_looked_at(out: str) -> None:
    uri = tracking.default_uri(out)
    tracking.sync(out, uri)
    run = table(uri)["n=6 m=4"]
    history = tracking.client(uri).get_metric_history(run.info.run_id, "median loss")
    curves = [dict(zip(row["curve_step"], row["curve_loss"], strict=True)) for row in point_rows(out, n=6, m=4)]
    assert len({len(curve) for curve in curves}) > 1
    looked, told = sorted({step for curve in curves for step in curve}), sorted(entry.step for entry in history)
    assert set(told) <= set(looked) and len(told) == min(len(looked), catalogue.CURVE)
    for entry in history:
        latest = [curve[max(step for step in curve if step <= entry.step)] for curve in curves]
        assert entry.value == pytest.approx(statistics.median(latest), rel=FOUR_DIGITS)


def test_a_curve_by_hand() -> None:
    rows = pa.table(
        {
            "curve_step": [[0.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0], None],
            "curve_loss": [[4.0, 2.5], [3, 2, 1], [9, 7, float("nan")], None],
        }
    )
    assert catalogue.loss_curve(rows) == [(0, 4.0), (1, 2.5), (2, 2.5)]
    assert catalogue.loss_curve(rows.slice(2)) == [(0, 9.0), (1, 7.0)]  # the median diverges: nothing to draw
    assert catalogue.loss_curve(rows.slice(3)) == []


def test_of_a_long_curve_some_steps_are_kept_with_the_first_and_the_last() -> None:
    steps = list(range(100))
    curve = catalogue.loss_curve(pa.table({"curve_step": [steps], "curve_loss": [[100.0 - step for step in steps]]}))
    assert len(curve) == catalogue.CURVE and (curve[0], curve[-1]) == ((0, 100.0), (99, 1.0))
    assert {later - step for (step, _), (later, _) in itertools.pairwise(curve)} == {4, 5}, "99 / 23, rounded"
    assert all(value == 100 - step for step, value in curve)


def test_the_order_of_points_is_that_of_their_values() -> None:
    values = [-2, -0.5, 0.0, 1e-12, 0.5, 3, 16, 200.5, 1e9]
    assert sorted(values, key=views.sortable) == values
    plan = {"m": 16, "labels": "sign", "n": 4}
    assert views.order(plan, ["n", "m"]) < views.order(plan | {"m": 128}, ["n", "m"]) < views.order({"n": 5}, ["n"])


@pytest.mark.parametrize(
    ("fit", "unfit", "failed", "verdict"),
    [(4, 0, 0, "fits"), (3, 0, 1, "undecided"), (0, 4, 3, "does not fit"), (0, 0, 2, "failed"), (30, 10, 0, "fits")],
)
def test_a_verdict_needs_the_whole_interval(fit: int, unfit: int, failed: int, verdict: str) -> None:
    """Wilson's 95% interval of 4 of 4 is [0.51, 1], of 3 of 3 [0.44, 1]."""
    counts = catalogue.outcome_counts(["fit"] * fit + ["unfit"] * unfit + ["failed"] * failed)
    assert views.verdict(counts, 0.5) == verdict


def test_texts_of_a_plan_stay_texts() -> None:
    """A claim or a command made by somebody else brings no link, image or HTML into MLflow's pages."""
    hostile = "![x](http://a/x.png) <img src=x> `` ` ![y](z)"
    plan = {"plan_id": "a" * 20, "family": "f", "axes": {"n": [1, 2]}, "over": "n", "seeds": 1, "level": 0.5}
    text = views.description(plan | {"claim": hostile, "command": hostile}, None, "1", "r", ["figure.png"])
    claim, command = text.splitlines()[0], text.splitlines()[-1]
    assert claim == "**!\\[x\\](http://a/x.png) &lt;img src=x> `` ` !\\[y\\](z)**"
    assert command == f"``` {hostile} ```"


def test_a_sweep_of_more_points_than_the_charts_draw_says_so() -> None:
    plan = {"plan_id": "a", "family": "f", "axes": {"n": [*range(10)], "m": [*range(10)]}, "over": "n", "seeds": 1}
    plan |= {"level": 0.5, "claim": "", "command": ""}
    assert "charts" not in views.description(plan, None, "1", "r").partition("interval")[2]
    plan["axes"]["n"].append(10)
    assert "first 100 of 110 grid points" in views.description(plan, None, "1", "r")


def test_failed_trainings_count_but_do_not_enter_the_rate() -> None:
    outcomes, losses = ["fit", "fit", "failed", "diverged"], [1.0, 3.0, None, float("nan")]
    rows = pa.table({"outcome": outcomes, "success": [1, 1, None, 0], "loss": losses})
    point = catalogue.Point("", "", {}, catalogue.outcome_counts(outcomes), rows)
    numbers = catalogue.numbers(point)
    assert (numbers["trainings"], numbers["failed"], numbers["diverged"]) == (4, 1, 1)
    assert numbers["success_rate"] == 2 / 3
    assert numbers["median loss"] == 3.0  # of 1, 3 and infinity


def test_a_second_sync_changes_no_byte(out: str) -> None:
    uri = tracking.default_uri(out)
    more = {"artifacts": ["figures/phase.png"], "law": LAW}
    tracking.sync(out, uri, **more)
    before = {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()}
    assert tracking.sync(out, uri, **more) == Synced(unchanged=6)
    assert tracking.sync(out, uri) == Synced(unchanged=6)
    assert {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()} == before


def test_the_plan_carries_totals_law_figure_and_rows(out: str) -> None:
    uri = tracking.default_uri(out)
    tracking.sync(out, uri, artifacts=["figures/phase.png"], law=LAW)
    run = table(uri)[f"{FAMILY} n=4..6 m=2..16, 5 seeds"]
    rows, _ = records.read_rows(out)
    ended = {name: rows["outcome"].to_pylist().count(name) for name in ("fit", "unfit", "stalled")}
    expected = {"trainings": 30, "planned": 30, **ended, "exponent": 1.25, "exponent_low": 1.0}
    assert run.data.metrics.items() >= expected.items()
    assert "exponent_high" not in run.data.metrics
    for text in ("m of order n^6 is enough", "python sweeps/width_vs_n.py --n 4,6", "1.250", "[1.000, ?]"):
        assert text in run.data.tags[runs.NOTE]
    mlflow = tracking.client(uri)
    folder = Path(out) / "mlartifacts" / run.info.run_id / "artifacts"
    assert {file.path for file in mlflow.list_artifacts(run.info.run_id)} == {"phase.png", "laws.json", "rows.parquet"}
    assert (folder / "phase.png").read_bytes() == b"a figure"
    assert json.loads((folder / "laws.json").read_text()) == LAW
    assert records.digest(pq.read_table(folder / "rows.parquet")) == records.digest(rows.sort_by("cell_id"))
    kind = mlflow.get_experiment_by_name("width_vs_n").tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    with pytest.raises(ResultsError, match=r"cannot read figures/none\.png"):
        tracking.sync(out, uri, artifacts=["figures/none.png"])


def test_a_point_that_grew_is_written_anew(out: str) -> None:
    uri = tracking.default_uri(out)
    for path in Path(out, "rows").iterdir():
        path.unlink()
    write_rows(out, AXES, range(3))
    assert tracking.sync(out, uri) == Synced(created=6)
    mlflow = tracking.client(uri)
    mlflow.set_tag(table(uri)["n=4 m=4"].info.run_id, "note", "look here")
    write_rows(out, AXES | {"n": [4]}, range(3, SEEDS))
    assert tracking.sync(out, uri) == Synced(updated=3, unchanged=3)
    run = table(uri)["n=4 m=4"]
    assert run.data.metrics["trainings"] == SEEDS
    assert run.data.tags["note"] == "look here"
    steps = [entry.step for entry in mlflow.get_metric_history(run.info.run_id, "median loss")]
    assert len(steps) == len(set(steps))
    assert table(uri)[f"{FAMILY} n=4..6 m=2..16, 5 seeds"].data.metrics["trainings"] == 3 * SEEDS + 3 * 3


def test_while_the_sweep_goes_on_a_point_is_written_anew_only_when_much_is_new(out: str) -> None:
    """One training of five, two, three, five: the third is not yet twice as many as two."""
    uri, going_on = tracking.default_uri(out), threading.Event()
    for path in Path(out, "rows").iterdir():
        path.unlink()
    for seeds, expected in (
        (range(1), Synced(created=1)),
        (range(1, 2), Synced(updated=1)),
        (range(2, 3), Synced()),
        (range(3, SEEDS), Synced(updated=1)),
        (range(SEEDS), Synced(unchanged=1)),
    ):
        write_rows(out, AXES | {"n": [4], "m": [4]}, seeds)
        assert tracking.sync(out, uri, over=going_on) == expected, seeds
    assert tracking.sync(out, uri) == Synced(unchanged=1)
    assert table(uri)["n=4 m=4"].data.metrics["trainings"] == SEEDS


def test_a_deleted_store_is_made_again_without_a_word(out: str, capfd: pytest.CaptureFixture[str]) -> None:
    uri = tracking.default_uri(out)
    tracking.sync(out, uri, law=LAW)
    before = content(uri)
    assert not tracking.lacking(out, uri)
    moved = str(Path(out).rename(Path(out).with_name("moved")))
    Path(moved, "mlflow.db").unlink()
    assert len(tracking.lacking(moved, tracking.default_uri(moved))) == 1
    assert tracking.sync(moved, tracking.default_uri(moved), law=LAW) == Synced(created=6)
    assert content(tracking.default_uri(moved)) == before
    assert capfd.readouterr() == ("", "")


def test_a_killed_sync_is_completed_without_duplicates(template: Path, tmp_path: Path) -> None:
    """Killed at the fourth point, between the calls that write it: in copies of one process, which loads MLflow."""
    folders = {call: str(copytree(template, tmp_path / call)) for call in ("log_batch", "set_terminated")}
    code = f"""
    import os, signal
    from itertools import count
    from mlflow import MlflowClient
    from infra.catalogue import tracking
    def killed(call, out):
        whole, calls = getattr(MlflowClient, call), count(1)
        def until_the_fourth(*given):
            if next(calls) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*given)
        setattr(MlflowClient, call, until_the_fourth)
        tracking.sync(out, tracking.default_uri(out))
    for call, out in {folders!r}.items():
        if not (copy := os.fork()):
            try:
                killed(call, out)
            finally:
                os._exit(1)
        print(call, os.WTERMSIG(os.waitpid(copy, 0)[1]))
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert told.stdout.split() == ["log_batch", "9", "set_terminated", "9"], told.stderr
    for out in folders.values():
        uri = tracking.default_uri(out)
        assert tracking.sync(out, uri) == Synced(created=2, updated=1, unchanged=3)
        assert len(table(uri)) == 7
        assert tracking.sync(out, uri) == Synced(unchanged=6)


@pytest.mark.parametrize("killed", [False, True])
def test_many_points_are_written_by_another_process_while_the_block_works(
    out: str, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    uri, (recipe,) = tracking.default_uri(out), records.read_plans(out)
    with apart.syncing(out, uri, recipe["plan_id"]):
        assert not multiprocessing.active_children(), "six points are not worth a process"
    monkeypatch.setattr(apart, "MANY", 6)
    with apart.syncing(out, uri, recipe["plan_id"]):
        (other,) = multiprocessing.active_children()
        if killed:
            other.kill()
    assert not multiprocessing.active_children()
    assert tracking.sync(out, uri, law=LAW) == (Synced(created=6) if killed else Synced(unchanged=6))
    assert len(table(uri)) == 7


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(out: str, port: int, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """What ``ui_command`` says, started in a shell, and refusing any host name but 127.0.0.1."""
    command = tracking.ui_command(tracking.default_uri(out), port) + f" --allowed-hosts 127.0.0.1:{port}"
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


def test_the_server(out: str, server: "subprocess.Popen[bytes]", port: int) -> None:
    """Pages and artifacts are served, HTTP says the same, a wrong host name is refused, a dead server is told."""
    uri = f"http://127.0.0.1:{port}"
    before = dict(os.environ)
    assert tracking.sync(out, uri, artifacts=["figures/phase.png"], law=LAW) == Synced(created=6)
    assert tracking.sync(out, uri, artifacts=["figures/phase.png"], law=LAW) == Synced(unchanged=6)
    assert tracking.sync(out, tracking.default_uri(out)) == Synced(unchanged=6)
    (parent,) = [run for run in table(uri).values() if "planned" in run.data.metrics]
    for path, start in (
        ("/", b"<!doctype html>"),
        (f"/get-artifact?path=phase.png&run_uuid={parent.info.run_id}", b"a figure"),
    ):
        with urllib.request.urlopen(uri + path, timeout=10) as answer:
            assert answer.read().startswith(start)
    (recipe,) = records.read_plans(out)
    here = f"{uri}/#/experiments/{parent.info.experiment_id}/runs"
    shown = f"workflowType=machine_learning&viewStateShareKey=widthlaw-{recipe['plan_id']}"
    assert tracking.pages(tracking.default_uri(out), recipe, port) == {
        "plan": f"{here}/{parent.info.run_id}?workflowType=machine_learning",
        "table": f"{here}?{shown}",
        "charts": f"{here}?{shown}-charts&compareRunsMode=CHART",
    }

    with pytest.raises(TrackingError, match=r"localhost:\d+ refuses \(403\): .*--allowed-hosts"):
        tracking.check(f"http://localhost:{port}")
    lines: list[str] = []
    with tracking.following(out, uri, lines.append, every=0.05):
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
        tracking.sync(out, uri)
    assert time.monotonic() - began < 10
    assert dict(os.environ) == before


def test_a_hung_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries of CHECK_SECONDS and a pause between them, here of a second each."""
    assert 1 < mlflow_calls.CHECK_SECONDS <= 5
    monkeypatch.setattr(mlflow_calls, "CHECK_SECONDS", 1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        began = time.monotonic()
        with pytest.raises(TrackingError, match=r"no answer in time") as caught:
            tracking.check(f"http://me:secret@127.0.0.1:{listening.getsockname()[1]}")
    assert time.monotonic() - began < 2 * 1 + 4
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_credentials_are_named() -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match=r"refuses \(401\): set MLFLOW_TRACKING_USERNAME"):
            tracking.check(f"http://127.0.0.1:{refusing.server_port}")
        refusing.shutdown()


@pytest.mark.parametrize(
    "uri", ["sqlite:////proc/nowhere/mlflow.db", "postgresql://me:secret@127.0.0.1:1/x", "file:///tmp"]
)
def test_a_store_that_cannot_be_opened_is_told_at_once(uri: str) -> None:
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        tracking.check(uri)
    assert time.monotonic() - began < 10
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_default_uri() -> None:
    assert tracking.default_uri("/a/b") == "sqlite:////a/b/mlflow.db"
    assert tracking.default_uri("s3://bucket/a") == f"sqlite:///{Path.cwd()}/mlflow.db"


def test_a_store_that_writes_its_files_elsewhere_is_refused_in_a_line(out: str, tmp_path: Path) -> None:
    """As after a folder was moved, or where somebody made one up: nothing comes to be in the other place."""
    tracking.sync(out, tracking.default_uri(out), artifacts=["figures/phase.png"])
    Path(out).rename(tmp_path / "moved")
    moved = str(tmp_path / "moved")
    with pytest.raises(TrackingError, match=r"was made in another place.*move .*mlflow\.db away") as caught:
        tracking.sync(moved, tracking.default_uri(moved), artifacts=["figures/phase.png"])
    assert len(str(caught.value).splitlines()) == 1 and not Path(out).exists()


@pytest.mark.parametrize(
    "form", ["file://{}", "FILE://{}", "{}", "elsewhere", "s3://elsewhere/x", "mlflow-artifacts://h/x"]
)
def test_a_crafted_store_writes_nowhere_else(out: str, tmp_path: Path, form: str) -> None:
    uri, place = tracking.default_uri(out), tmp_path / "elsewhere"
    tracking.sync(out, uri)
    with sqlite3.connect(Path(out, "mlflow.db")) as store:
        store.execute("update runs set artifact_uri = ?", [form.format(place)])
        store.execute("delete from tags where key like '%digest%'")
    store.close()
    with pytest.raises(TrackingError, match=r"was made in another place"):
        tracking.sync(out, uri, artifacts=["figures/phase.png"])
    assert not place.exists() and not Path("elsewhere").exists()
