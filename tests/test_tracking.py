"""The catalogue against the rows it is made of: real shards, a real SQLite store and a real MLflow server."""

import contextlib
import json
import sqlite3
import statistics
import threading
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest
from catalogued import AXES, FAMILY, LAW, SEEDS, point_rows, table, write_rows

from infra.catalogue import grid_points as catalogue
from infra.catalogue import new_runs, runs, tracking
from infra.catalogue.tracking import Synced
from infra.store import records
from infra.store.storage import ResultsError

FOUR_DIGITS = 5e-4  # relative, of what is shown of a number


def test_a_point_says_what_its_rows_say(tracked: str) -> None:
    uri = tracking.default_uri(tracked)
    assert tracking.sync(tracked, uri) == Synced(created=6)
    runs = table(uri)
    assert set(runs) == {f"n={n} m={m}" for n in (4, 6) for m in (2, 4, 16)} | {f"{FAMILY} n=4..6 m=2..16, 5 seeds"}
    outcomes = set()
    for n in (4, 6):
        for m in (2, 4, 16):
            rows, run = point_rows(tracked, n=n, m=m), runs[f"n={n} m={m}"]
            fit = sum(row["outcome"] == "fit" for row in rows)
            outcomes |= {row["outcome"] for row in rows}
            metrics = run.data.metrics
            assert len(rows) == metrics["trainings"] == SEEDS
            assert metrics["fit"] == fit
            assert metrics["unfit"] == SEEDS - fit
            assert metrics["success rate"] == fit / SEEDS
            assert 0 <= metrics["success rate low"] <= metrics["success rate"] <= metrics["success rate high"] <= 1
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


def test_runs_written_at_once_are_those_that_mlflows_own_calls_write(
    tracked: str, tracked_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row of every table, but for ids that MLflow draws and the time of writing."""
    called = str(copytree(tracked_once, tmp_path / "called"))
    assert tracking.sync(tracked, tracking.default_uri(tracked)) == Synced(created=6)
    monkeypatch.setattr(new_runs, "database", lambda _: None)
    assert tracking.sync(called, tracking.default_uri(called)) == Synced(created=6)
    assert stored(tracked) == stored(called)


def stored(out: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of MLflow's tables, runs by name, without the plan's own run (which has times of its own)."""
    with contextlib.closing(sqlite3.connect(f"file:{out}/mlflow.db?mode=ro", uri=True)) as store:
        runs = dict(store.execute("SELECT run_uuid, name FROM runs WHERE name LIKE 'n=%'").fetchall())
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for table in tables:
            names = [column[1] for column in store.execute(f"PRAGMA table_info({table})")]
            if "run_uuid" in names:
                rows = [dict(zip(names, row, strict=True)) for row in store.execute(f"SELECT * FROM {table}")]
                found[table] = sorted(
                    tuple(
                        runs[value]
                        if name == "run_uuid"
                        else str(value).replace(row["run_uuid"], "").replace(Path(out).as_uri(), "")
                        for name, value in row.items()
                        if name != "timestamp" and row.get("key") != "mlflow.parentRunId"
                    )
                    for row in rows
                    if row["run_uuid"] in runs
                )
    assert {name for name, rows in found.items() if rows} == {"runs", "tags", "params", "metrics", "latest_metrics"}
    return found


def test_the_loss_curve_is_the_median_over_seeds_at_steps_that_were_looked_at(tracked: str) -> None:
    uri = tracking.default_uri(tracked)
    tracking.sync(tracked, uri)
    run = table(uri)["n=6 m=4"]
    history = tracking.client(uri).get_metric_history(run.info.run_id, "median loss")
    curves = [dict(zip(row["curve_step"], row["curve_loss"], strict=True)) for row in point_rows(tracked, n=6, m=4)]
    assert len({len(curve) for curve in curves}) > 1
    looked, told = sorted({step for curve in curves for step in curve}), sorted(entry.step for entry in history)
    assert set(told) <= set(looked) and len(told) == min(len(looked), catalogue.CURVE)
    for entry in history:
        latest = [curve[max(step for step in curve if step <= entry.step)] for curve in curves]
        assert entry.value == pytest.approx(statistics.median(latest), rel=FOUR_DIGITS)


def test_a_second_sync_changes_no_byte(tracked: str) -> None:
    uri = tracking.default_uri(tracked)
    more = {"artifacts": ["figures/phase.png"], "law": LAW}
    tracking.sync(tracked, uri, **more)
    before = {path: path.read_bytes() for path in Path(tracked).rglob("*") if path.is_file()}
    assert tracking.sync(tracked, uri, **more) == Synced(unchanged=6)
    assert tracking.sync(tracked, uri) == Synced(unchanged=6)
    assert {path: path.read_bytes() for path in Path(tracked).rglob("*") if path.is_file()} == before


def test_the_plan_carries_totals_law_figure_and_rows(tracked: str) -> None:
    uri = tracking.default_uri(tracked)
    tracking.sync(tracked, uri, artifacts=["figures/phase.png"], law=LAW)
    run = table(uri)[f"{FAMILY} n=4..6 m=2..16, 5 seeds"]
    rows, _ = records.read_rows(tracked)
    ended = {name: rows["outcome"].to_pylist().count(name) for name in ("fit", "unfit", "stalled")}
    expected = {"trainings": 30, "planned": 30, **ended, "exponent": 1.25, "exponent low": 1.0}
    assert run.data.metrics.items() >= expected.items()
    assert "exponent high" not in run.data.metrics
    for text in ("m of order n^6 is enough", "python sweeps/width_vs_n.py --n 4,6", "1.250", "[1.000, ?]"):
        assert text in run.data.tags[runs.NOTE]
    mlflow = tracking.client(uri)
    folder = Path(tracked) / "mlartifacts" / run.info.run_id / "artifacts"
    assert {file.path for file in mlflow.list_artifacts(run.info.run_id)} == {"phase.png", "laws.json", "rows.parquet"}
    assert (folder / "phase.png").read_bytes() == b"a figure"
    assert json.loads((folder / "laws.json").read_text()) == LAW
    assert records.digest(pq.read_table(folder / "rows.parquet")) == records.digest(rows.sort_by("cell_id"))
    kind = mlflow.get_experiment_by_name("width_vs_n").tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"
    with pytest.raises(ResultsError, match=r"cannot read figures/none\.png"):
        tracking.sync(tracked, uri, artifacts=["figures/none.png"])


def test_a_point_that_grew_is_written_anew(tracked: str) -> None:
    uri = tracking.default_uri(tracked)
    for path in Path(tracked, "rows").iterdir():
        path.unlink()
    write_rows(tracked, AXES, range(3))
    assert tracking.sync(tracked, uri) == Synced(created=6)
    mlflow = tracking.client(uri)
    mlflow.set_tag(table(uri)["n=4 m=4"].info.run_id, "note", "look here")
    write_rows(tracked, AXES | {"n": [4]}, range(3, SEEDS))
    assert tracking.sync(tracked, uri) == Synced(updated=3, unchanged=3)
    run = table(uri)["n=4 m=4"]
    assert run.data.metrics["trainings"] == SEEDS
    assert run.data.tags["note"] == "look here"
    steps = [entry.step for entry in mlflow.get_metric_history(run.info.run_id, "median loss")]
    assert len(steps) == len(set(steps))
    assert table(uri)[f"{FAMILY} n=4..6 m=2..16, 5 seeds"].data.metrics["trainings"] == 3 * SEEDS + 3 * 3


def test_while_the_sweep_goes_on_a_point_is_written_anew_only_when_much_is_new(tracked: str) -> None:
    """One training of five, two, three, five: the third is not yet twice as many as two."""
    uri, going_on = tracking.default_uri(tracked), threading.Event()
    for path in Path(tracked, "rows").iterdir():
        path.unlink()
    for seeds, expected in (
        (range(1), Synced(created=1)),
        (range(1, 2), Synced(updated=1)),
        (range(2, 3), Synced()),
        (range(3, SEEDS), Synced(updated=1)),
        (range(SEEDS), Synced(unchanged=1)),
    ):
        write_rows(tracked, AXES | {"n": [4], "m": [4]}, seeds)
        assert tracking.sync(tracked, uri, over=going_on) == expected, seeds
    assert tracking.sync(tracked, uri) == Synced(unchanged=1)
    assert table(uri)["n=4 m=4"].data.metrics["trainings"] == SEEDS
