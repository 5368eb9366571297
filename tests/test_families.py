"""The contract that every module in trainables/ inherits."""

import copy
import dataclasses
import functools
import io
import json
import random
import time
import typing

import pytest
import torch
from torch.func import vmap
from training import assert_same_bits, by_id, seeds, trained

import trainables
from analysis.claims import theory
from infra import options
from infra.packing import pack
from infra.planning import costs, plan

FAMILIES = trainables.names()
LARGEST, FEWER = {"small": 80, "medium": 40}, 24  # cells in the largest pack compared; fewer where one is long
LONG = 5e7  # FLOPs
STEPS = 80  # a budget of more is cut to a quarter where packs are compared: bits that differ do so from the first step


def small(family):
    return briefer(family, trainables.load(family).SMALL)


def medium(family):
    """A cell of the usual size and odd dimensions, so that stacked matrices start at unaligned addresses; thinner where
    one would take more than 1 MB."""
    module = trainables.load(family)
    fields = {field.name for field in dataclasses.fields(module.Cell)}
    for m in (37, 5):
        wanted = {k: v for k, v in {"m": m, "n": 45, "d": 5}.items() if k in fields}
        cell = dataclasses.replace(module.SMALL, **wanted)
        if costs.cost(family, cell).bytes < 1e6:
            break
    return briefer(family, cell)


def briefer(family, cell):
    return dataclasses.replace(cell, budget=cell.budget // 4) if costs.cost(family, cell).steps > STEPS else cell


@functools.cache
def reference(family, size):
    """Cells that differ in their seeds, and their rows as one pack; trained once for all tests of a family."""
    cell = {"small": small, "medium": medium}[size](family)
    cost = costs.cost(family, cell)
    cells = seeds(cell, FEWER if cost.flops_per_step * cost.steps > LONG else LARGEST[size])
    return cells, trained(family, cells)


@pytest.fixture(params=FAMILIES, scope="module")
def family(request):
    return request.param


@pytest.fixture
def module(family):
    return trainables.load(family)


def test_declares_what_the_contract_names(module):
    fields = dataclasses.fields(module.Cell)
    assert fields[-1].name == "seed"
    assert all(field.metadata["meaning"] and field.metadata["unit"] for field in fields)
    assert set(module.SHAPE) <= {field.name for field in fields}
    assert "arXiv" in module.__doc__, "the docstring names a paper with its arXiv number"
    assert "(1)" in module.__doc__, "the docstring has numbered equations"
    assert "\nDifferences from the paper" in module.__doc__, (
        "the docstring says where the family differs from its paper"
    )
    assert module.VERSION and module.CRITERION


def test_axes_have_types_that_options_can_read_and_no_name_of_a_common_option(module):
    for field in dataclasses.fields(module.Cell):
        literal = typing.get_origin(field.type) is typing.Literal and all(
            isinstance(value, str) for value in typing.get_args(field.type)
        )
        assert field.type in (int, float, bool) or literal, field.name
    common = {option.name for option in dataclasses.fields(options.Options)}
    assert not common & {field.name for field in dataclasses.fields(module.Cell)}


def test_every_number_has_a_meaning_and_a_unit_and_no_other_has(module):
    state = module.draw(module.SMALL)
    numbers = [module.observe(state), module.measure(state), module.theory(state)]
    names = [name for part in numbers for name in part]
    assert sorted(names) == sorted(module.COLUMNS), "each name once, all declared"
    assert "loss" in numbers[0]
    assert all(meaning and unit for meaning, unit in module.COLUMNS.values())
    observed, once = numbers[0], {**numbers[1], **numbers[2]}
    assert all(tensor.shape == () for tensor in once.values())
    assert all(tensor.ndim <= 1 for tensor in observed.values()) and observed["loss"].shape == ()


def test_claims_speak_of_axes_and_columns(family, module):
    axes = {field.name for field in dataclasses.fields(module.Cell)}
    numbers = set(module.COLUMNS) | {"success", "steps"}
    plan = json.loads(json.dumps({"family": family, "claims": module.CLAIMS}))
    for one in theory.claims(plan):
        assert {one.over, one.critical or one.over, *one.where} <= axes | {"eta", one.critical}, one.name
        assert set(one.columns) <= numbers and (isinstance(one.bound, str | None) or one.bound > 0), one.name
        assert one.direction in typing.get_args(theory.Direction) and one.tag in typing.get_args(theory.Tag)
        assert one.order is None or one.order[0] in axes
        assert bool(one.critical) + bool(one.metric) + (one.direction in ("probability", "order")) >= 1, one.name


def test_draw_depends_on_the_cell_alone(module):
    torch.manual_seed(1)
    first = module.draw(module.SMALL)
    torch.manual_seed(2)
    random.seed(2)
    again = module.draw(module.SMALL)
    other = module.draw(dataclasses.replace(module.SMALL, seed=module.SMALL.seed + 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_small_cell_trains_in_well_under_a_second(family, module):
    reference(family, "small")  # warms up
    began = time.process_time()
    (row,) = trained(family, [module.SMALL]).values()
    assert time.process_time() - began < 1
    assert row["outcome"] in ("fit", "unfit")


def test_rows_fill_the_schema(family):
    schema = plan.row_schema(family)
    row = next(iter(reference(family, "small")[1].values()))
    assert set(row) <= set(schema.names)
    missing = set(schema.names) - set(row)
    assert missing == {
        "compute_seconds",
        "pack_seconds",
        "started",
        "finished",
        "host",
        "worker",
        "device",
        "threads",
        "code",
        "commit",
        "packages",
    }


@pytest.mark.parametrize("size", ["small", "medium"])
def test_a_cells_row_is_the_same_in_every_pack_order_and_thread_count(family, size):
    cells, rows = reference(family, size)
    shuffled = cells[:]
    random.Random(5).shuffle(shuffled)
    for part in ([cells[-9]], cells[-4:-1], shuffled[: len(cells) // 2]):
        assert_same_bits(trained(family, part), rows)
    torch.set_num_threads(2)
    try:
        assert_same_bits(trained(family, cells[7:24]), rows)
    finally:
        torch.set_num_threads(1)


def test_interrupted_at_any_block_and_resumed_equals_uninterrupted(family):
    cells, rows = reference(family, "small")
    cells = cells[:7]
    run, blocks = pack.start(family, cells), 0
    while not pack.finished(run):
        file = io.BytesIO()
        torch.save(pack.save(run), file)
        file.seek(0)
        resumed = pack.resume(torch.load(file, weights_only=True), cells)
        if blocks % 12 == 0:  # from here to the end; every block is saved and loaded on the way anyway
            ahead = copy.deepcopy(resumed)
            while not pack.finished(ahead):
                pack.advance(ahead)
            assert_same_bits(by_id(pack.rows(ahead)), rows)
        run, blocks = resumed, blocks + 1
        pack.advance(run)
    assert_same_bits(by_id(pack.rows(run)), rows)
    assert len(pack.rows(run)) == len(cells)


def test_a_pack_of_one_is_padded_to_two(family, module):
    """A matrix-vector product takes another kernel in a batch of one; families to come may use it."""
    assert len(pack.start(family, [module.SMALL]).slots) == 2


def test_success_counts_up_to_the_budget_and_not_beyond(family, module):
    cells, rows = reference(family, "small")
    for cell, row in list(zip(cells, rows.values(), strict=True))[:40]:
        budget = int(module.budget(module.draw(cell)))
        assert row["steps"] <= budget
        assert row["outcome"] != "unfit" or row["steps"] == budget


def test_the_packed_step_is_the_plain_step(family, module):
    """To rounding: the two may order sums differently, so 100 steps may drift by a few hundred ulps."""
    if not hasattr(module, "steps_packed"):
        return
    for cell in (module.SMALL, medium(family)):
        states = [module.draw(each) for each in seeds(cell, 3)]
        packed = plain = module.State(*map(torch.stack, zip(*states, strict=True)))
        packed = module.State(*(tensor.clone() for tensor in packed))
        packed = module.steps_packed(packed, 99)
        packed = module.steps_packed(packed, 1)
        for _ in range(100):
            plain = vmap(module.step)(plain)
        for name, a, b in zip(module.State._fields, packed, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
