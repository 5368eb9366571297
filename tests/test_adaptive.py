"""Adaptive sweeps: planted outcomes lead to the planted law, seeds are fresh, and it goes on from what is recorded."""

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from searching import answered

from analysis.thresholds.fitting import fit_threshold
from infra import options
from infra.choosing import adaptive, design
from infra.choosing.adaptive import Chooser, Limits
from infra.launch import Sweep, main
from infra.plan_file import manifest
from infra.planning import costs
from infra.store import records
from sweeps import width_vs_n

GRID = {"random_features": {"n": "16,24,32,48,64,96,128,192", "m": "24,96", "d": "3"}}
SWEEP = Sweep(name="width_vs_n", claim="How wide?", critical="m", over="n", axes=GRID)
NETS = replace(SWEEP, axes={"ntk_resnet": {"n": "4,24", "m": "1,23"}})


def recipe(*arguments):
    return manifest(options.parse(SWEEP, ["--adaptive", *arguments]))


AXES = list(recipe()["axes"])


def chance(cell):
    """m* = n^1.2 / 2, from 10% to 90% over a factor of three."""
    return 1 / (1 + (0.5 * cell.n**1.2 / cell.m) ** 4)


def outcome(cell):
    rng = np.random.default_rng([cell.n, cell.m, cell.seed])
    return "f" if rng.random() < chance(cell) else "u"


def row(cell, letter):
    names = {"f": "fit", "u": "unfit", "x": "failed"}
    return {**{name: getattr(cell, name) for name in AXES}, "seed": cell.seed, "outcome": names[letter], "steps": 1}


def trained(chooser, rounds=10**6):
    """Go on with planted outcomes; all trainings in their order."""
    return answered(chooser, lambda cell: (outcome(cell), 1, 0.1), rounds)


def chooser(rows=None, **limits):
    table = pa.Table.from_pylist(rows) if rows else pa.table({})
    return Chooser("random_features", recipe(), table, Limits(**{"target_se": 0.05} | limits))


@pytest.fixture(scope="module")
def search():
    found = chooser()
    return found, trained(found)


def test_the_planted_exponent_is_found_to_the_error_asked_for(search):
    found, cells = search
    law = fit_threshold(found.settings[0].tally())
    assert found.finished() and law.trainings == len(cells) >= 300
    low, high = law.interval
    assert (high - low) / 3.92 <= 0.05
    assert abs(law.exponent - 1.2) < 4 * 0.05  # four standard errors
    assert {cell.n for cell in cells} == {16, 24, 32, 48, 64, 96, 128, 192}
    assert max(cell.m for cell in cells) > 96, "at n = 192 m* is 275: the first range was left"


def test_no_training_is_asked_for_twice_and_seeds_begin_at_0(search):
    _, cells = search
    assert len(set(cells)) == len(cells)
    taken = Counter((cell.n, cell.m) for cell in cells)
    assert all(sorted(c.seed for c in cells if (c.n, c.m) == point) == list(range(k)) for point, k in taken.items())


def test_what_is_recorded_is_where_it_goes_on(search):
    _, cells = search
    half = chooser()
    first = trained(half, rounds=3)
    again = chooser([row(cell, outcome(cell)) for cell in first])
    assert set(trained(again)) == set(cells[len(first) :]) == set(trained(half))


def test_it_ends_where_more_trainings_no_longer_help():
    """Too few n to tell a law from scatter: the interval stays wide, whatever is trained. Run again, it trains nothing:
    the plan records how the standard error went."""
    few = Chooser("random_features", recipe("--n", "16,32,64"), pa.table({}), Limits(0.02))
    cells = trained(few)
    assert 2 * design.LEAST <= len(cells) < 4_000
    assert "no longer lower" in few.settings[0].done and "no longer lower" in few.summary()["ended"][0]
    rows = pa.Table.from_pylist([row(cell, outcome(cell)) for cell in cells])
    left = {"search": few.summary()}
    again = Chooser("random_features", recipe("--n", "16,32,64") | left, rows, Limits(0.02))
    assert trained(again) == [] and again.settings[0].done == few.settings[0].done


def test_failed_trainings_say_nothing_and_are_not_asked_for_again(search):
    _, cells = search
    failed = chooser([row(cell, "x") for cell in cells[:40]])
    assert failed.settings[0].tally().trainings == 0
    assert not set(trained(failed, rounds=1)) & set(cells[:40])


def test_it_ends_with_the_trainings_the_minutes_and_the_flops():
    assert len(trained(chooser(trainings=50))) == 50
    assert trained(chooser(minutes=1e-9)) == []
    spent = chooser(flops=1.0)
    assert len(trained(spent)) <= 48 and spent.finished()


def test_what_is_recorded_counts_towards_the_limits():
    first = trained(chooser(trainings=50))
    again = chooser([row(cell, outcome(cell)) for cell in first], trainings=70)
    assert len(trained(again)) == 20
    one = costs.cost("random_features", first[0])
    assert chooser([row(first[0], "f")]).spent == one.flops_per_step  # its one step
    assert trained(chooser([row(cell, outcome(cell)) for cell in first], flops=1.0)) == []


def test_an_n_at_which_every_training_fits_gets_narrower_ones(search):
    """At m = 24 and more all of n = 4 fit, while the other n have a law already."""
    _, cells = search
    rows = [row(cell, outcome(cell)) for cell in cells]
    found = Chooser("random_features", recipe("--n", "4,16,24,32,48,64,96,128,192"), pa.table({}), Limits(0.05))
    found.read(pa.Table.from_pylist(rows + [row(replace(cells[0], n=4, m=24, seed=i), "f") for i in range(12)]))
    asked = [cell for cell in trained(found, rounds=1) if cell.n == 4]
    assert asked and all(cell.m == 6 for cell in asked)  # two octaves below


def test_where_it_may_go_is_limited_by_memory_and_flops(monkeypatch):
    """A kernel of a wide residual network holds m^2 numbers: what its narrow ones cost says little of it."""
    monkeypatch.setattr(adaptive, "LARGEST_BYTES", 2**22)
    words = ["--family", "ntk_resnet", "--n", "4,24", "--m", "1,23", "--adaptive"]
    wide = Chooser("ntk_resnet", manifest(options.parse(NETS, words)), pa.table({}), Limits(0.02))
    cells = answered(wide, lambda _: ("u", 1, 1.0), rounds=8)  # the range is left, an octave or two at a time
    widest = max(cell.m for cell in cells)
    assert widest > 200
    cost = costs.cost("ntk_resnet", wide.cell(wide.settings[0], 24, widest, 0))
    assert cost.bytes <= adaptive.LARGEST_BYTES and cost.flops_per_step * cost.steps <= adaptive.LARGEST_FLOPS
    assert wide.settings[0].space.limits[1] == widest


def test_wrong_requests_are_one_line(capsys, tmp_path):
    shares = Sweep(name="shares", claim="?", over="n", axes=GRID)
    assert main(shares, ["--adaptive", "--out", str(tmp_path)]) == 2
    assert main(SWEEP, ["--adaptive", "--target-se", "0", "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and "seeks no threshold" in lines[0] and "--target-se" in lines[1]


SCRIPT = Path(__file__).parent.parent / "sweeps" / "width_vs_n.py"


def arguments(out):
    known = ["--family", "random_features", "--n", "16,32,64", "--m", "12,96", "--adaptive", "--target-se", "0.08"]
    return [*known, "--out", str(out)]


@pytest.mark.cluster
def test_interrupted_and_taken_up_again_it_ends_with_the_law(tmp_path):
    out = tmp_path / "du"
    command = [sys.executable, str(SCRIPT), *arguments(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "standard error" in line and "gone" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=400)
    before = set(records.recorded(str(out), None)[0])
    finished = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert finished.returncode == 0, finished.stderr
    assert f"{len(before)} trainings recorded" in finished.stderr
    after, _ = records.read_rows(str(out))
    assert before <= set(after["cell_id"].to_pylist()) and records.duplicates(after) == 0
    assert "m* = " in finished.stdout
    assert main(width_vs_n.SWEEP, arguments(out)) == 0 and len(records.read_rows(str(out))[0]) == len(after)
