"""A results folder of real rows with an empty MLflow store, and what MLflow then says of it."""

import hashlib
import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from infra.store import records  # what loads torch or SciPy is imported where it is used: every test loads this

FAMILY, SEEDS = "two_layer_relu", 5
AXES = {"n": [4, 6], "m": [2, 4, 16], "d": [4], "tolerance": [1e-2], "max_steps": [300]}
LAW = {"all": {"law": {"exponent": 1.25, "interval": [1.0, None], "status": "power law"}}, "rows_sha256": "0"}


def write_rows(out: str, axes: dict[str, list[Any]], seeds: range) -> None:
    """Train and record, one shard a pack."""
    from infra.packing import pack
    from infra.planning import plan

    cells = [cell for cell in plan.grid(FAMILY, axes, seeds.stop) if cell.seed in seeds]
    origin = {"finished": "2026-01-02T03:04:05+00:00", "pack_seconds": 1.5, "host": "here", "threads": 1}
    for job in plan.packs(FAMILY, cells):
        run = pack.start(FAMILY, plan.from_columns(FAMILY, job.columns, job.size))
        while not pack.finished(run):
            pack.advance(run)
        records.write_shard(out, [row | origin for row in pack.rows(run)], plan.row_schema(FAMILY))


def write_plan(out: str, axes: dict[str, list[Any]], seeds: int) -> dict[str, Any]:
    import trainables

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


@pytest.fixture(scope="session")
def tracked_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with rows, a plan and an empty store (which MLflow takes seconds to make)."""
    from infra.catalogue import tracking

    out = tmp_path_factory.mktemp("tracking") / "results of a sweep"
    write_rows(str(out), AXES, range(SEEDS))
    write_plan(str(out), AXES, SEEDS)
    (out / "figures").mkdir()
    (out / "figures" / "phase.png").write_bytes(b"a figure")
    tracking.check(tracking.default_uri(str(out)))
    return out


@pytest.fixture
def tracked(tracked_once: Path, tmp_path: Path) -> str:
    """A copy of it."""
    return str(copytree(tracked_once, tmp_path / "results of a sweep"))


def table(uri: str) -> dict[str, Any]:
    """All live runs by name; two of one name fail."""
    from infra.catalogue import tracking

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
            {key: run.data.tags.get(key) for key in ("widthlaw.point", "mlflow.note.content")},
        )
        for name, run in table(uri).items()
    }


def point_rows(out: str, **axes: Any) -> list[dict[str, Any]]:
    rows, _ = records.read_rows(out)
    return [row for row in rows.to_pylist() if all(row[name] == value for name, value in axes.items())]
