"""Steps on a GPU: captured once, replayed, written into the same tensors. The capture itself needs a GPU."""

import dataclasses

import pytest
import torch
from training import assert_same_bits, by_id, seeds

import trainables
from infra.packing import halving, pack, steps

FAMILIES = trainables.names()
SOLVING = {"ntk_resnet", "random_features", "resnet_vs_linear"}  # families with a solver in their step
SOLVING_ON_A_GPU = {"random_features"}  # the others find eigenvalues by products there
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def stacked(family, device="cpu"):
    module = trainables.load(family)
    states = [module.draw(cell) for cell in seeds(module.SMALL, 3)]
    return module.State(*(torch.stack(tensors).to(device) for tensors in zip(*states, strict=True)))


def copied(state):
    return type(state)(*(tensor.clone() for tensor in state))


def assert_equal(state, expected):
    for name, one, other in zip(state._fields, state, expected, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num()), name


def test_steps_written_into_the_same_tensors_are_the_steps(family):
    state = stacked(family)
    with torch.no_grad():
        expected = steps.stepped(family, copied(state), 5)
        for _ in range(5):
            steps.in_place(family, state)
    assert_equal(state, expected)


def test_fields_that_move_on_to_another_are_read_before_they_are_written_over(monkeypatch):
    state = stacked("two_layer_relu")
    shifted = state._replace(r0=state.r, r=state.r0 + 1)  # each is made of the other
    expected = copied(shifted)
    monkeypatch.setattr(steps, "stepped", lambda *_: shifted)
    steps.in_place("two_layer_relu", state)
    assert_equal(state, expected)


def test_on_a_cpu_nothing_is_captured(family):
    state = stacked(family)
    with torch.no_grad():
        moved, graph = steps.replayed(family, copied(state), 3, 10**6, None)
        assert graph is None
        assert_equal(moved, steps.stepped(family, state, 3))


def test_a_step_with_a_solver_is_seen(family):
    state = stacked(family)
    with torch.no_grad(), steps.Solvers() as solvers:
        steps.stepped(family, state, 1)
    assert solvers.seen == (family in SOLVING)


def rows(family, cells, device):
    """Rows by cell, and whether a step was captured."""
    run, graphs = pack.start(family, cells, device), []
    while not pack.finished(run):
        pack.advance(run)
        graphs.append(run.graph)
    return by_id(pack.rows(run)), any(graphs)


def usual(family):
    """A cell of odd dimensions, above the smallest."""
    module = trainables.load(family)
    names = {field.name for field in dataclasses.fields(module.Cell)}
    sizes = {"m": 37, "n": 45} if family != "perturbed_dcnn" else {}
    return dataclasses.replace(module.SMALL, **{name: value for name, value in sizes.items() if name in names})


@on_a_gpu
def test_a_replayed_training_is_the_same_bits(family, monkeypatch):
    cells = seeds(usual(family), 6)
    monkeypatch.setattr(steps, "WORTH", 2)
    replayed, captured = rows(family, cells, "cuda")
    monkeypatch.setattr(steps, "WORTH", 10**9)
    plain, none = rows(family, cells, "cuda")
    assert not none
    assert captured == (family not in SOLVING_ON_A_GPU)
    assert_same_bits(replayed, plain)


@on_a_gpu
def test_a_cells_row_is_the_same_to_rounding_in_every_pack_on_a_gpu_and_on_a_cpu(family):
    """A GPU's kernels depend on the pack's size; what their rounding grows to along these trainings is below 1e-5."""
    cells = seeds(usual(family), 40)
    whole, _ = rows(family, cells, "cuda")
    for part in (
        rows(family, cells[:1], "cuda")[0],
        rows(family, cells[3:20], "cuda")[0],
        rows(family, cells, "cpu")[0],
    ):
        for identity, row in part.items():
            other = whole[identity]
            assert (row["outcome"], row["steps"]) == (other["outcome"], other["steps"])
            assert row["curve_loss"] == pytest.approx(other["curve_loss"], rel=1e-5, abs=1e-9 * row["curve_loss"][0])


@on_a_gpu
def test_interrupted_and_resumed_on_a_gpu_equals_uninterrupted(family):
    cells = seeds(usual(family), 5)
    whole, _ = rows(family, cells, "cuda")
    packed = halving.start(family, cells, "cuda")
    blocks = 0
    while not halving.finished(packed):
        halving.advance(packed)
        blocks += 1
        if blocks in (3, 12):
            packed = halving.resume(halving.save(packed), cells, "cuda")
    assert_same_bits(by_id(pack.rows(packed.whole)), whole)
