"""--tune: a planted best step size is found at each grid point, by trainings that no law uses, and the law is stated
there."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from searching import answered

import trainables
from infra import options
from infra.choosing import tuning
from infra.launch import Sweep, main
from infra.packing import pack
from infra.plan_file import manifest
from infra.planning import plan
from infra.store import records
from sweeps import width_vs_n

GRID = {"two_layer_relu": {"n": "8,16", "m": "8,64", "d": "8", "step_size": "0.0625,16"}}
SWEEP = Sweep(name="width_vs_n", claim="How wide?", critical="m", over="n", axes=GRID)
KNOB = tuning.protocol("step_size", 1 / 16, 16.0)
CELL = trainables.load("two_layer_relu").Cell
CELLS = [CELL(n=16, m=m, d=16) for m in range(8, 24)]


def edge(cell):
    """The largest stable step size that is planted; half of what lies 4 times lower is too slow to fit."""
    return 2 * (cell.m / 20) ** 0.3


def planted(cell):
    rng = np.random.default_rng([cell.m, cell.seed])
    if cell.step_size > edge(cell):
        return "d", 10.0, math.inf
    slow = 100 / cell.step_size > 200 * rng.lognormal(0, 0.3)
    return ("u", 200.0, 0.1) if slow else ("f", 100 / cell.step_size, 1e-3)


def row(cell, result):
    outcome = {"f": "fit", "u": "unfit", "d": "diverged", "x": "failed"}[result[0]]
    axes = {name: getattr(cell, name) for name in CELL.__dataclass_fields__}
    version = trainables.load("two_layer_relu").VERSION
    return {**axes, "numerics": version, "outcome": outcome, "steps": int(result[1]), "loss": result[2]}


def start(rows=()):
    return tuning.Tuning("two_layer_relu", KNOB, CELLS, pa.Table.from_pylist(list(rows)) if rows else pa.table({}))


@pytest.fixture(scope="module")
def search():
    found = start()
    return found, answered(found, planted)


def test_the_best_stable_step_size_is_found_at_each_grid_point(search):
    """Of 200 simulated grid points 95% came to 0.57 of the edge or nearer, half to 0.79, and all to 0.44."""
    found, cells = search
    ratios = [found.best(point).step_size / edge(point.cell) for point in found.points]
    assert all(0.4 < ratio <= 1 for ratio in ratios) and np.median(ratios) > 0.65, ratios
    assert len(cells) <= len(CELLS) * tuning.VALUES * tuning.SEEDS


def test_tuning_uses_seeds_that_no_law_uses_and_no_training_twice(search):
    _, cells = search
    assert min(cell.seed for cell in cells) == records.TUNING_SEED
    assert len(set(cells)) == len(cells)


def test_what_is_recorded_is_where_it_goes_on(search):
    found, cells = search
    first = cells[: len(cells) // 3 + 1]  # in the middle of a round
    again = start([row(cell, planted(cell)) for cell in first])
    assert set(answered(again, planted)) == set(cells) - set(first)
    assert [again.best(point) for point in again.points] == [found.best(point) for point in found.points]


def test_it_is_told_how_far_it_is_where_only_the_last_grid_point_has_results(search):
    _, cells = search
    found = start([row(cell, planted(cell)) for cell in cells if cell.m == CELLS[-1].m])
    found.next_packs("cpu", 2)
    assert not found.points[0].scores and f"best from {found.best(found.points[-1]).step_size:g} to" in found.outlook()


def test_an_adaptive_law_and_a_law_at_given_step_sizes_leave_tuning_out(tmp_path):
    cells = [replace(CELLS[0], step_size=1.0, seed=seed) for seed in (0, records.TUNING_SEED)]
    run = pack.start("two_layer_relu", cells)
    while not pack.finished(run):
        pack.advance(run)
    records.write_shard(str(tmp_path), pack.rows(run), plan.row_schema("two_layer_relu"))
    words = ["--n", "16", "--m", str(CELLS[0].m), "--d", "16", "--step_size", "1"]
    for more in ([], ["--adaptive"]):
        recipe = manifest(options.parse(SWEEP, [*words, *more]))
        assert records.plan_rows(str(tmp_path), recipe)["seed"].to_pylist() == [0]
    assert set(tuning.recorded("two_layer_relu", records.read_rows(str(tmp_path))[0])) == {cells[1]}


def test_one_more_that_fits_counts_more_than_any_speed():
    fast, slow, half = [("f", 10, 0.0)] * 4, [("f", 10**9, 0.0)] * 4, [("f", 1, 0.0)] * 3 + [("u", 9, 0.1)]
    near, far, gone = [("u", 9, 0.1)] * 4, [("u", 9, 2.0)] * 4, [("d", 9, math.inf)] * 4
    scores = [tuning.score(one) for one in (fast, slow, half, near, far, gone)]
    assert scores == sorted(scores) and len(set(scores)) == len(scores)
    assert tuning.score([("x", math.nan, math.nan)] * 4) is None


def test_failed_trainings_leave_the_middle_of_the_range():
    found = start()
    answered(found, lambda _: ("x", math.nan, math.nan))
    assert {found.best(point).step_size for point in found.points} == {1.0}


def test_a_tuned_axis_is_no_axis_of_the_plan():
    recipe = manifest(options.parse(SWEEP, ["--tune", "step_size"]))
    assert "step_size" not in recipe["axes"] and "step_size" in recipe["metrics"]
    assert recipe["tuned"] == KNOB
    assert recipe["plan_id"] != manifest(options.parse(SWEEP, []))["plan_id"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tune", "learning_rate"], "'learning_rate' is no knob of the training that can be tuned"),
        (["--tune", "m"], "'m' is no knob"),
        (
            ["--tune", "noise"],
            "'noise' is no knob of the training that can be tuned here; known: init_scale, step_size",
        ),
        (["--tune", "label_noise"], "known: init_scale, step_size"),
        (["--tune", "tolerance"], "known: init_scale, step_size"),
        (["--tune", "budget"], "known: init_scale, step_size"),
        (["--tune", "step_size", "--adaptive"], "leave one of them out"),
        (["--tune", "init_scale", "--init_scale", "0,1"], "the range starts at 0"),
    ],
)
def test_wrong_requests_are_one_line(words, told, capsys, tmp_path):
    assert main(SWEEP, [*words, "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


def test_one_value_is_the_middle_of_the_range():
    request = options.parse(SWEEP, ["--tune", "step_size", "--step_size", "2"])
    assert request.axes["step_size"] == [1 / 8, 32]


SCRIPT = Path(__file__).parent.parent / "sweeps" / "width_vs_n.py"


@pytest.mark.cluster
def test_a_sweep_trains_every_grid_point_at_its_best_step_size(tmp_path, capsys):
    words = ["--n", "8,16", "--m", "8,64", "--d", "8", "--seeds", "4", "--tune", "step_size", "--step_size", "0.1,10"]
    command = [sys.executable, str(SCRIPT), *words, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    rows, _ = records.read_rows(str(tmp_path))
    (plan,) = records.read_plans(str(tmp_path))
    law = records.plan_rows(str(tmp_path), plan).to_pandas()
    assert len(law) == 16 and set(law.seed) == {0, 1, 2, 3}
    assert (law.groupby(["n", "m"]).step_size.nunique() == 1).all()
    tries = rows.to_pandas().query(f"seed >= {records.TUNING_SEED}")
    for point, part in tries.groupby(["n", "m"]):
        by_value = {v: tuning.score(outcomes(one)) for v, one in part.groupby("step_size")}
        assert by_value[law.set_index(["n", "m"]).step_size.loc[point].iloc[0]] == min(by_value.values())
    assert re.search(r"step_size: median", done.stdout)
    assert main(width_vs_n.SWEEP, [*words, "--out", str(tmp_path)]) == 0
    assert "16 recorded" in capsys.readouterr().err and len(records.read_rows(str(tmp_path))[0]) == len(rows)


def outcomes(part):
    return [(outcome[0], steps, loss) for outcome, steps, loss in zip(part.outcome, part.steps, part.loss, strict=True)]
