"""What is recorded is not planned again, and packs hold every cell once."""

import dataclasses
import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import trainables
from infra import estimate
from infra.planning import costs, plan
from infra.planning.axes import PlanError
from infra.store import schema

RELAXED = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def toy(monkeypatch):
    """The family in families/toy.py, found like any other."""
    monkeypatch.setattr(trainables, "__path__", [*trainables.__path__, str(Path(__file__).parent / "families")])
    return trainables.load("toy")


def test_the_grid_is_the_product_of_the_axes_and_the_seeds(toy):
    cells = plan.grid("toy", {"n": [2, 4], "m": [8, 16, 32]}, seeds=5)
    assert len(set(cells)) == len(cells) == 2 * 3 * 5
    assert {cell.seed for cell in cells} == set(range(5))
    assert {cell.scale for cell in cells} == {toy.Cell(m=1).scale}, "an axis that is not given keeps its default"


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("axes", "seeds", "advice"),
    [
        ({"m": [1]}, 0, "--seeds: 0"),
        ({"m": [1]}, 10**12, "--seeds"),
        ({"m": range(1, 10**4), "n": range(1, 10**4)}, 1, "axis"),
    ],
)
def test_a_grid_without_trainings_or_with_too_many_is_refused_before_it_is_made(axes, seeds, advice):
    tracemalloc.start()
    try:
        with pytest.raises(PlanError, match=advice):
            plan.grid("toy", axes, seeds)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_extending_an_axis_or_the_seeds_plans_only_what_is_new(toy):
    def addresses(cells):
        return {schema.cell_id("toy", toy.VERSION, dataclasses.asdict(cell)) for cell in cells}

    first = plan.grid("toy", {"m": [4, 8], "n": [2]}, seeds=3)
    more = plan.grid("toy", {"n": [3, 2], "m": [8, 4]}, seeds=4)
    new = plan.unrecorded("toy", more, addresses(first))
    assert set(new) == set(more) - set(first)
    assert len(new) == 2 * 2 * 4 - 2 * 1 * 3
    assert plan.unrecorded("toy", first, addresses(more)) == []


def test_another_numerics_version_plans_everything_again(toy, monkeypatch):
    cells = plan.grid("toy", {"m": [4]}, seeds=3)
    known = {schema.cell_id("toy", toy.VERSION, dataclasses.asdict(cell)) for cell in cells}
    monkeypatch.setattr(toy, "VERSION", "2")
    assert plan.unrecorded("toy", cells, known) == cells


def toy_cells(toy):
    """Strategy: distinct toy cells of a few shapes, over every type of axis."""
    axes = {
        "m": st.sampled_from([4, 8, 64]),
        "n": st.sampled_from([2, 4]),
        "scale": st.floats(0, 100),
        "length": st.sampled_from([0.0, 10.0, 1000.0]),
        "labels": st.sampled_from(["gauss", "sign"]),
        "bias": st.booleans(),
        "seed": st.integers(0, 3),
    }
    return st.lists(st.builds(toy.Cell, **axes), min_size=1, max_size=24, unique=True)


@RELAXED
@given(data=st.data(), at_least=st.integers(1, 5))
def test_packs_hold_every_cell_once_in_equal_shapes_longest_first(toy, data, at_least):
    cells = data.draw(toy_cells(toy))
    packs = plan.packs("toy", cells, at_least=at_least)
    parts = [plan.from_columns("toy", pack.columns, pack.size) for pack in packs]
    assert sorted((cell for part in parts for cell in part), key=repr) == sorted(cells, key=repr)
    assert all(len({(cell.m, cell.n) for cell in part}) == 1 for part in parts)
    assert [pack.size for pack in packs] == [len(part) for part in parts]
    assert [pack.seconds for pack in packs] == sorted((pack.seconds for pack in packs), reverse=True)
    for pack, part in zip(packs, parts, strict=True):
        flops = [(4 * c.n * c.n * c.m + c.n * c.m + 1) * c.length for c in part]  # two products, one for each number
        assert pack.flops == sum(flops)
        assert pack.steps == max(c.length for c in part)
        assert pack.bytes == 8 * (part[0].n * part[0].m + 1) * len(part)


@RELAXED
@given(data=st.data())
def test_columns_are_the_cells_with_their_types(toy, data):
    cells = data.draw(toy_cells(toy))
    back = plan.from_columns("toy", plan.to_columns(cells), len(cells))
    assert back == cells
    assert [list(map(type, dataclasses.astuple(cell))) for cell in back] == [
        list(map(type, dataclasses.astuple(cell))) for cell in cells
    ]


def test_columns_say_once_what_all_cells_share(toy):
    cells = [toy.Cell(m=4, bias=True, seed=seed) for seed in range(3)]
    columns = plan.to_columns(cells)
    assert (columns["m"], columns["bias"], columns["labels"], columns["seed"]) == (4, True, "sign", [0, 1, 2])
    assert not any(isinstance(value, list) for value in plan.to_columns(cells[:1]).values())


@pytest.mark.parametrize(("device", "most"), [("cpu", 8 * 2**20), ("cuda", 4 * 2**30)])
def test_a_pack_fits_the_working_set_and_is_no_smaller_than_it_must(toy, device, most, monkeypatch):
    monkeypatch.setattr(plan, "SHORTEST", 0.0)
    cells = [toy.Cell(m=512, n=512, seed=seed) for seed in range(40)]  # 2 MiB each and a few bytes
    packs = plan.packs("toy", cells, device)
    assert all(pack.bytes <= most for pack in packs)
    assert len(packs) == {"cpu": math.ceil(40 / 3), "cuda": 1}[device]  # three cells in 8 MiB
    assert max(pack.size for pack in packs) - min(pack.size for pack in packs) <= 1


def test_packs_that_would_be_over_in_no_time_are_larger_than_the_cache(toy):
    packs = plan.packs("toy", [toy.Cell(m=512, n=512, seed=seed) for seed in range(40)])
    assert all(pack.size > 3 and pack.seconds >= plan.SHORTEST for pack in packs)  # three are in the cache


def test_a_cell_larger_than_the_working_set_still_finds_a_pack(toy):
    packs = plan.packs("toy", [toy.Cell(m=1024, n=2048, seed=seed) for seed in range(4)])
    assert [pack.size for pack in packs] == [2, 2], "a pack of one would be padded to two anyway"


def test_no_pack_is_larger_than_the_largest(toy):
    packs = plan.packs("toy", [toy.Cell(m=1, n=1, seed=seed) for seed in range(1025)])
    assert sorted(pack.size for pack in packs) == [341, 342, 342]


def test_a_lone_group_is_split_over_the_cores(toy):
    cells = [toy.Cell(m=4, seed=seed) for seed in range(12)]
    assert [pack.size for pack in plan.packs("toy", cells, at_least=4)] == [3, 3, 3, 3]
    assert [pack.size for pack in plan.packs("toy", cells[:3], at_least=16)] in ([1, 2], [2, 1])
    assert [pack.size for pack in plan.packs("toy", cells, at_least=1)] == [12]
    assert plan.packs("toy", []) == []


@pytest.mark.parametrize(
    ("widths", "side_by_side", "sizes"),
    [
        ([64], 1, [40, 40, 40]),
        ([64], 2, [20, 20, 40, 40]),  # the other two are short: one core would be idle for most of the time
        ([64, 63], 2, [40, 40, 40, 40]),  # two of a length
        ([64, 63, 62, 61], 2, [40] * 6),
    ],
)
def test_a_pack_is_cut_where_a_core_would_be_idle_for_long_at_the_end(toy, widths, side_by_side, sizes):
    cells = [toy.Cell(m=m, n=64, length=1000.0, seed=seed) for m in widths for seed in range(40)]
    cells += [toy.Cell(m=m, n=2, length=10.0, seed=seed) for m in (1, 2) for seed in range(40)]
    packs = plan.packs("toy", cells, at_least=side_by_side)
    assert sorted(pack.size for pack in packs) == sizes
    assert sum(pack.flops for pack in packs) == sum(pack.flops for pack in plan.packs("toy", cells))
    assert [pack.size for pack in plan.packs("toy", cells, "cuda", side_by_side)] == [40] * (len(widths) + 2)


def test_cells_that_cannot_be_drawn_are_packed_with_the_rest(toy):
    cells = [toy.Cell(m=4, scale=scale, seed=seed) for scale in (1000.0, 1.0) for seed in range(3)]
    (pack,) = plan.packs("toy", cells)
    assert pack.size == 6
    assert pack.flops == 3 * 10 * (4 * 4 * 4 * 4 + 4 * 4 + 1)
    (lost,) = plan.packs("toy", cells[:3])
    assert (lost.size, lost.flops) == (3, 0)


def test_a_cell_larger_than_the_memory_is_refused_in_one_line(toy):
    with pytest.raises(PlanError, match=r"^--m 1000000000000 --n 1000: a training is too large .* memory$"):
        plan.packs("toy", [toy.Cell(m=10**12, n=1000)])
    with pytest.raises(PlanError, match="too large"):
        plan.packs("toy", [toy.Cell(m=2**62, n=2**62)])


def test_every_pack_of_the_families_says_what_it_costs():
    relu = trainables.load("two_layer_relu")
    price = costs.cost("two_layer_relu", relu.Cell(m=32, n=8, d=4))  # n <= 2 d: the Gram form, G C of 2 n^2 m flops
    state = relu.draw(relu.Cell(m=32, n=8, d=4))
    assert price.flops_per_step == 2 * 8 * 8 * 32 + sum(tensor.numel() for tensor in state)
    assert price.steps == int(state.budget)


def test_a_dry_run_counts_trains_a_sample_and_plans_nothing_twice():
    cells = plan.grid("random_features", {"n": [4, 8], "m": [4, 8, 16]}, seeds=4)
    text = estimate.dry_run("random_features", cells, cells[:8])
    assert "24 asked for, 16 recorded, 8 to train" in text and "GPUs" not in text
    assert "for this machine's CPUs" in estimate.dry_run("random_features", cells, cells[:8], gpus=True)
    assert f"packs      {len(plan.packs('random_features', cells[:8], at_least=os.cpu_count()))}\n" in text
    numbers = [float(word) for line in text.splitlines() for word in line.split() if word.replace(".", "").isdigit()]
    assert all(number > 0 for number in numbers)
    assert "packs      0" in estimate.dry_run("random_features", cells, [])
    assert "stops" not in text + estimate.dry_run("random_features", cells, cells[:8], to_the_end=False)
    told = plan.grid("two_layer_relu", {"n": [4], "m": [8]}, seeds=2)
    assert "--to-the-end stops none" in estimate.dry_run("two_layer_relu", told, told, to_the_end=False)
    assert "stops" not in estimate.dry_run("two_layer_relu", told, told)


def test_a_grid_of_which_nothing_can_be_drawn_is_refused_and_a_part_is_not():
    cells = plan.grid("shortcut_cnn", {"k": [1], "p": [6], "s": [0.5, 2.0]}, 3)
    with pytest.raises(PlanError, match=r"no training of this grid can be drawn: .*k"):
        plan.check("shortcut_cnn", cells)
    plan.check("shortcut_cnn", cells + plan.grid("shortcut_cnn", {"k": [4], "p": [6], "s": [1.0]}, 1))


def test_convolutions_are_counted_as_torch_counts_them():
    module = trainables.load("perturbed_dcnn")
    state = module.draw(module.SMALL)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.step(state)
    numbers = sum(tensor.numel() for tensor in state)
    assert costs.cost("perturbed_dcnn", module.SMALL).flops_per_step == counter.get_total_flops() + numbers > numbers


def test_a_plan_is_priced_without_the_compiler_of_torch():
    """Whose import costs two seconds."""
    code = "import sys; from infra.planning import costs; from trainables import two_layer_relu as family; "
    code += "costs.price('two_layer_relu', [family.SMALL]); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
