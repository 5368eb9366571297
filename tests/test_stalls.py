"""Stalled trainings: losses in closed form, stopped alone or in a pack, audited, trained on request."""

import math
from dataclasses import asdict

import pyarrow as pa
import pytest
from planted_rows import FAMILY

import trainables
from analysis.study import false_stops
from infra.packing import pack, stalls
from infra.planning import plan
from infra.store import records
from trainables import two_layer_relu as family

# Too narrow for most; a few fit. The losses at which they rest are those of more than 16 samples.
CELLS = [family.Cell(n=64, m=6, d=8, tolerance=0.22, max_steps=2000, seed=seed) for seed in range(24)]
FIRST = 64


@pytest.fixture(autouse=True)
def not_audited(monkeypatch):
    """And looked at early: these trainings are short."""
    monkeypatch.setattr(stalls, "AUDIT", 0.0)
    monkeypatch.setattr(stalls, "FIRST", FIRST)


def trained(cells):
    run = pack.start("two_layer_relu", cells, to_the_end=False)
    while not pack.finished(run):
        pack.advance(run)
    return [{k: v for k, v in row.items() if k != "compute_seconds"} for row in pack.rows(run)]


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stalls, "AUDIT", 1.0)
        patch.setattr(stalls, "FIRST", FIRST)
        return trained(CELLS)


def reach(goal, plateau=0.0, unit=1.0):
    return {"goal": goal, "plateau": plateau, "unit": unit}


def curve(rates, weights, budget):
    """Steps of the grid and losses sum_i w_i exp(-2 rate_i k) / 2, as of linear descent on a fixed kernel."""
    steps = [k for k in pack.GRID if k <= budget]
    return steps, [sum(w * math.exp(-2 * rate * k) for rate, w in zip(rates, weights, strict=True)) / 2 for k in steps]


@pytest.mark.parametrize(("rates", "weights"), [((0.01,), (1.0,)), ((0.02, 0.001), (1.0, 0.05)), ((0.1, 0.0), (2, 1))])
def test_on_a_fixed_kernel_only_what_cannot_fit_is_out_of_reach(monkeypatch, rates, weights):
    """Its log loss is convex: going on at a rate of the past is never too slow. With one mode it is exact."""
    budget = 1024  # on the grid
    monkeypatch.setattr(stalls, "MARGIN", 1.0)
    steps, losses = curve(rates, weights, budget)
    for factor in (0.5, 0.999, 1.001, 2.0):
        goal = losses[-1] * factor
        told = [stalls.out_of_reach(steps[:i], losses[:i], reach(goal), budget) for i in range(2, len(steps))]
        assert not any(told) or factor < 1
        if factor < 1:
            assert told[-1]
            first = told.index(True)
            assert all(told[first:]) and steps[first + 1] >= FIRST
            assert len(rates) > 1 or steps[first + 1] == FIRST


def test_the_rate_is_that_of_the_last_octave():
    steps, losses = [0, 256, 384, 512], [1.0, 0.5, 0.3, 0.25]  # halved in 256 steps, so a quarter after 512 more
    end = 0.0625 / stalls.MARGIN
    assert stalls.out_of_reach(steps, losses, reach(end - 1e-4), 1024)
    assert not stalls.out_of_reach(steps, losses, reach(end + 1e-4), 1024)
    assert not stalls.out_of_reach(steps, losses, reach(end - 1e-4, unit=8.01), 1024), "too early"


def test_a_loss_that_rises_is_out_of_reach_and_one_that_is_low_enough_is_not():
    steps = [k for k in pack.GRID if k <= 512]
    assert stalls.out_of_reach(steps, [1.0 + k for k in steps], reach(0.9), 10_000)
    assert not stalls.out_of_reach(steps, [0.5 for _ in steps], reach(0.9), 10_000)
    assert not stalls.out_of_reach(steps, [0.5 for _ in steps], reach(0.0), 10_000), "no goal, no verdict"


def test_a_loss_as_low_as_a_plateau_is_never_stopped():
    steps = [k for k in pack.GRID if k <= 8192]
    for loss in (0.3, 0.4):
        assert not stalls.out_of_reach(steps, [loss for _ in steps], reach(0.1, plateau=0.4), 10_000)
    assert stalls.out_of_reach(steps, [0.41 for _ in steps], reach(0.1, plateau=0.4), 10_000)


def test_steps_are_counted_in_those_of_the_usual_size_and_a_plateau_is_a_few_samples():
    cells = [family.Cell(n=12, m=4, d=8, step_size=size) for size in (0.1, 1.0, 2.0)]
    told = [family.reach(family.draw(cell)) for cell in cells]
    assert [float(one["unit"]) for one in told] == pytest.approx([10, 1, 1], rel=1e-12)
    assert all(float(one["plateau"]) == 8 for one in told), "labels are +-1"


def test_only_trainings_that_do_not_fit_are_stopped_and_early(whole):
    stopped = trained(CELLS)
    flagged = [row for row in stopped if row["outcome"] == "stalled"]
    assert len(flagged) > 4
    for row, to_the_end in zip(stopped, whole, strict=True):
        assert row["success"] == to_the_end["success"]
        if row["outcome"] == "stalled":
            assert row["steps"] == row["stalled_at"] == to_the_end["stalled_at"] < to_the_end["steps"]
            assert row["reason"] == stalls.REASON and to_the_end["outcome"] == "unfit"
        else:
            assert row == to_the_end


def test_a_stalled_training_is_the_same_alone_and_after_an_interruption():
    together = trained(CELLS)
    for i in (0, 5, 11):
        assert trained([CELLS[i]]) == [together[i]]
    run = pack.start("two_layer_relu", CELLS, to_the_end=False)
    while run.k < 70:  # between two looks
        pack.advance(run)
    again = pack.resume(pack.save(run), CELLS)
    while not pack.finished(again):
        pack.advance(again)
    assert [{k: v for k, v in row.items() if k != "compute_seconds"} for row in pack.rows(again)] == together


def test_audited_trainings_go_on_with_the_step_in_their_row(monkeypatch, whole):
    monkeypatch.setattr(stalls, "AUDIT", 0.5)
    version, chosen = trainables.load("two_layer_relu").VERSION, 0
    for row, cell, to_the_end in zip(trained(CELLS), CELLS, whole, strict=True):
        if stalls.audited(pack.cell_id("two_layer_relu", version, asdict(cell))):
            chosen += row["stalled_at"] is not None
            assert row == to_the_end
        else:
            assert (row["outcome"] == "stalled") == (row["stalled_at"] is not None)
    assert chosen


def test_the_share_that_is_audited_is_as_declared():
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(stalls, "AUDIT", 0.05)
        share = sum(stalls.audited(pack.cell_id(FAMILY, "1", {"seed": i})) for i in range(20_000)) / 20_000
    assert abs(share - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5  # four standard errors


def test_to_the_end_nothing_is_stopped_and_rows_are_those_of_audited_trainings(whole):
    run = pack.start("two_layer_relu", CELLS)
    while not pack.finished(run):
        pack.advance(run)
    assert [{k: v for k, v in row.items() if k != "compute_seconds"} for row in pack.rows(run)] == whole


def test_to_the_end_trains_the_stalled_again_and_then_counts_the_whole_training(tmp_path, whole):
    schema, out = plan.row_schema("two_layer_relu"), str(tmp_path)
    stopped = trained(CELLS)
    records.write_shard(out, stopped, schema)
    flagged = {row["cell_id"] for row in stopped if row["outcome"] == "stalled"}
    assert flagged and not flagged - records.recorded(out)[0]
    missing = {row["cell_id"] for row in stopped} - records.recorded(out, to_the_end=True)[0]
    assert missing == flagged
    records.write_shard(out, [row for row in whole if row["cell_id"] in flagged], schema)
    rows, _ = records.read_rows(out)
    assert pa.compute.all(pa.compute.not_equal(rows["outcome"], "stalled")).as_py()


def test_false_stops_are_told_with_what_is_known_of_them(whole):
    stopped = trained(CELLS)
    count = sum(row["outcome"] == "stalled" for row in stopped)

    def told(rows, critical="m"):
        return false_stops({"critical": critical}, pa.Table.from_pylist(rows, plan.row_schema("two_layer_relu")))

    early = f"{count} trainings stopped early as out of reach (--to-the-end goes on with them)"
    assert told(stopped) == f"{early}; none went on as a check"
    high = 1 - 0.025 ** (1 / count)  # Clopper, Pearson at 0 of count
    end = f"of {count} found out of reach and trained to the end 0 fit: false stops 0 [0, {high:.2g}]"
    assert told(whole) == end and told([*stopped, *whole]) == f"{early}; {end}"
    wrong = [row | {"outcome": "fit"} if row["stalled_at"] else row for row in whole]
    assert f"{count} fit: false stops 1 [" in told(wrong)
    assert told(whole, critical=None) == told([row for row in whole if not row["stalled_at"]]) == ""
