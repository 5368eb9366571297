"""Stalled trainings: what a kernel leaves in closed form, stopped alone or in a pack, audited, trained on request."""

from dataclasses import asdict, replace

import pyarrow as pa
import pytest
import torch
from planted_rows import FAMILY

import trainables
from infra import pack, plan, records, stalls
from trainables import two_layer_relu as family

# Narrow networks: some sample soon has no active unit, and H(k) an eigenvalue near 0 along it.
CELLS = [family.Cell(n=12, m=4, d=8, max_steps=2000, seed=seed) for seed in range(24)]


@pytest.fixture(autouse=True)
def not_audited(monkeypatch):
    monkeypatch.setattr(stalls, "AUDIT", 0.0)


def trained(cells):
    run = pack.start("two_layer_relu", cells, stop_hopeless=True)
    while not pack.finished(run):
        pack.advance(run)
    return [{k: v for k, v in row.items() if k != "compute_seconds"} for row in pack.rows(run)]


@pytest.fixture(scope="module")
def whole():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stalls, "AUDIT", 1.0)
        return trained(CELLS)


def test_what_the_kernel_leaves_is_what_linear_descent_leaves():
    """With activations held fixed, 300 steps of r <- r - eta H r; the margin taken as 1."""
    state = family.draw(replace(CELLS[0], n=8, m=64))
    kernel, r = family.gram(state.G, state.Z), state.r.clone()
    for _ in range(300):
        r = r - state.eta * kernel @ r
    left = float((r**2).mean())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "SAFETY", 1.0)
        for factor, out_of_reach in ((0.99, True), (1.01, False)):
            at = state._replace(tolerance=torch.tensor(left * factor, dtype=torch.float64))
            assert bool(family.out_of_reach(at, torch.tensor(300.0))) is out_of_reach


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
    run = pack.start("two_layer_relu", CELLS, stop_hopeless=True)
    while run.k < 70:  # between the two looks
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


def test_nothing_is_stopped_or_looked_at_unasked():
    run = pack.start("two_layer_relu", CELLS[:4])
    while not pack.finished(run):
        pack.advance(run)
    assert all(row["outcome"] != "stalled" and row["stalled_at"] is None for row in pack.rows(run))


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
