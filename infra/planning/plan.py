"""Axes -> cells -> packs. Nothing here trains."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any, Literal, get_origin

import torch

import trainables
from infra.planning import memory
from infra.planning.axes import PlanError
from infra.planning.costs import Cost, cost, largest_cell, peak, too_large
from infra.planning.memory import Budget
from infra.planning.packs import SHORTEST, Pack, cuts, rough, slices
from infra.store.schema import Column, cell_id, of_rows

LARGEST_SWEEP = 1_000_000  # trainings
WORKING_SET = {
    "cpu": 8 * 2**20,
    "cuda": 4 * 2**30,
}  # bytes a pack may hold: the cache, or a share of the card
TRIED = 100  # grid points drawn before a grid is given up
ROOMY = 4  # packs of the largest shape that would have room in the place of one: then no other shape is looked at,
# which takes 40 ms each; whatever of it is held in another form may take somewhat more
LARGEST_PACK = 512  # cells; beyond it the cost per cell is flat and a lost pack costs more


def grid(family: str, axes: Mapping[str, Sequence[Any]], seeds: int) -> list[Any]:
    """All cells of the product of ``axes`` with seeds 0 .. seeds - 1; axes not given keep the family's default."""
    if seeds < 1:
        raise PlanError(f"--seeds: {seeds} is too small; it must be at least 1")
    trainings = seeds * math.prod(map(len, axes.values()))
    if trainings > LARGEST_SWEEP:
        raise PlanError(
            f"{trainings:.3g} trainings asked for, at most {LARGEST_SWEEP:,} at a time; shorten an axis or --seeds"
        )
    cell_type = trainables.load(family).Cell
    return [
        cell_type(**dict(zip(axes, values, strict=True)), seed=seed)
        for values in product(*axes.values())
        for seed in range(seeds)
    ]


def check(family: str, cells: Sequence[Any]) -> None:
    """PlanError where the family says of a cell that it cannot be trained here at all (data files are missing), or when
    none of the first grid points can be drawn. A grid of which a part cannot be drawn runs: its rows say why."""
    module = trainables.load(family)
    points = grid_points(cells).values()
    try:
        for cell in points if hasattr(module, "check") else ():
            module.check(cell)
    except (ValueError, OSError) as error:
        raise PlanError(str(error)) from None
    why = ""
    for cell in list(points)[:TRIED]:
        try:
            module.draw(cell)
            return
        except (ArithmeticError, ValueError, torch.linalg.LinAlgError) as error:
            why = why or " ".join(str(error).split())
        except (MemoryError, RuntimeError):
            return  # too large: told where memory is planned
    raise PlanError(f"no training of this grid can be drawn: {why}")


def unrecorded(family: str, cells: Sequence[Any], recorded: set[str]) -> list[Any]:
    """The cells that have no row yet."""
    version = trainables.load(family).VERSION
    return [cell for cell in cells if cell_id(family, version, vars(cell)) not in recorded]


def grid_points(cells: Sequence[Any]) -> dict[tuple[Any, ...], Any]:
    """The grid points of ``cells``, each as its cell of seed 0, by ``key``."""
    found: dict[tuple[Any, ...], Any] = {}
    for cell in cells:
        if (at := key(cell)) not in found:
            found[at] = replace(cell, seed=0)
    return found


def key(cell: Any) -> tuple[Any, ...]:
    """A cell's values but for the seed, which is the last: of a million cells a tenth of the time of a ``replace``."""
    return tuple(vars(cell).values())[:-1]


def packs(
    family: str, cells: Sequence[Any], device: str = "cpu", at_least: int = 1, budget: Budget | None = None
) -> list[Pack]:
    """Group cells by shape and split each group: the states of a pack fit the cache unless it were over in no time, its
    peak fits the ``budget`` (default: of this machine). Longest pack first, so that no core waits long at the end.

    ``at_least`` is the number of packs that can run side by side: a lone large group is split over them, and so, on a
    CPU, is a pack that would keep one of them busy while the others have nothing left. PlanError if a pack of two is
    over the budget: a training alone runs as two.
    """
    module, budget = trainables.load(family), budget or memory.here(device, at_least)
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for cell in cells:
        groups[tuple(getattr(cell, name) for name in module.SHAPE)].append(cell)
    of_point = {at: cost(family, point) for at, point in grid_points(cells).items()}
    top = largest_cell(family, [group[0] for group in groups.values()])
    bound = peak(family, replace(top, seed=0)) if top is not None else 0
    roomy = 0 < ROOMY * bound * min(LARGEST_PACK, max(map(len, groups.values()), default=0)) <= budget.of_pack
    lots: list[tuple[list[tuple[Any, Cost]], int, int]] = []  # cells with their costs; bytes of a state, at the peak
    for group in groups.values():
        costs = [of_point[key(cell)] for cell in group]
        cell_bytes = max(1, *(each.bytes for each in costs))
        most = max(1, bound if roomy else peak_of(family, group))
        if 2 * most > budget.of_pack:
            raise PlanError(too_large(module, group[0], 2 * most, budget))
        whole = sum(each.flops_per_step * each.steps for each in costs), max(each.steps for each in costs), len(group)
        worth = math.ceil(SHORTEST / rough(*whole) * len(group))
        largest = max(2, min(LARGEST_PACK, max(worth, WORKING_SET[device] // cell_bytes), budget.of_pack // most))
        if len(groups) < at_least:
            largest = max(2, min(largest, math.ceil(len(group) / at_least)))
        parts = slices(list(zip(group, costs, strict=True)), math.ceil(len(group) / largest))
        lots += [(part, cell_bytes, most) for part in parts]
    result = [pack_of(family, *lot) for lot in lots]
    if device == "cpu" and at_least > 1:
        counts = cuts([pack.seconds for pack in result], [pack.size for pack in result], at_least)
        if max(counts, default=1) > 1:
            result = [
                pack_of(family, part, state, most)
                for (lot, state, most), count in zip(lots, counts, strict=True)
                for part in slices(lot, count)
            ]
    return sorted(result, key=lambda pack: -pack.seconds)


def peak_of(family: str, group: Sequence[Any]) -> int:
    """Bytes that a training of this shape takes at its peak, from the first that can be drawn; 0 where none can."""
    return next((found for point in grid_points(group).values() if (found := peak(family, point))), 0)


def pack_of(family: str, lot: Sequence[tuple[Any, Cost]], state: int, peak: int) -> Pack:
    """The pack of cells with their costs. state, peak: bytes a cell; a pack of one runs as two."""
    size, flops = len(lot), sum(each.flops_per_step * each.steps for _, each in lot)
    steps = max(each.steps for _, each in lot)
    return Pack(family, to_columns([cell for cell, _ in lot]), size, flops, size * state, steps, max(2, size) * peak)


def to_columns(cells: Sequence[Any]) -> dict[str, Any]:
    """Cells as one entry per axis: a list, or the value itself where all cells agree."""
    columns = {field.name: [getattr(cell, field.name) for cell in cells] for field in fields(cells[0])}
    return {name: values[0] if len(set(values)) == 1 else values for name, values in columns.items()}


def from_columns(family: str, columns: Mapping[str, Any], size: int) -> list[Any]:
    """The inverse of ``to_columns``."""
    cell_type = trainables.load(family).Cell
    full = {name: value if isinstance(value, list) else [value] * size for name, value in columns.items()}
    return [cell_type(**dict(zip(full, values, strict=True))) for values in zip(*full.values(), strict=True)]


def row_schema(family: str) -> Any:
    """The Parquet schema of a family's rows, from its ``Cell`` and ``COLUMNS``."""
    module = trainables.load(family)
    axes = []
    for field in fields(module.Cell):
        type_ = "str" if get_origin(field.type) is Literal else getattr(field.type, "__name__", "")
        axes.append(Column(field.name, type_, field.metadata["meaning"], field.metadata["unit"]))
    observed = {name: tensor.ndim for name, tensor in sorted(module.observe(module.draw(module.SMALL)).items())}
    numbers = [
        Column(name, "float", meaning, unit)
        for name, (meaning, unit) in module.COLUMNS.items()
        if not observed.get(name)
    ]
    numbers.append(Column("curve_step", "curve", "steps at which the curves were taken", "steps"))
    for name, vector in observed.items():
        meaning, unit = module.COLUMNS[name]
        numbers.append(
            Column(f"curve_{name}", "vectors" if vector else "curve", f"along the training: {meaning}", unit)
        )
    return of_rows(axes, numbers)
