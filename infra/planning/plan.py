"""Axes -> cells -> packs, and what they will cost. Nothing here trains.

An axis is written as a list ``16,32,64`` or a range ``LO:HI:STEP`` with STEP one of octave, half-octave, third-octave,
quarter-octave, eighth-octave, decade, half-decade (geometric) or ``+S`` (arithmetic). Integers are rounded, other
values to 12 digits, so that 0:0.3:+0.1 and 0,0.1,0.2,0.3 are the same cells.
"""

import contextlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Any, Literal, get_args, get_origin

import torch

import trainables
from infra.planning import memory
from infra.planning.counting import Products
from infra.planning.memory import Budget
from infra.planning.packs import SHORTEST, Pack, cuts, rough, slices
from infra.store.schema import Column, cell_id, of_rows

STEPS = {
    "octave": 2.0, "half-octave": 2 ** (1 / 2), "third-octave": 2 ** (1 / 3), "quarter-octave": 2 ** (1 / 4),
    "eighth-octave": 2 ** (1 / 8), "decade": 10.0, "half-decade": 10 ** (1 / 2),
}  # fmt: skip
LONGEST_AXIS = 10_000  # values
LARGEST_SWEEP = 1_000_000  # trainings
WORKING_SET = {
    "cpu": 8 * 2**20,
    "cuda": 4 * 2**30,
}  # bytes a pack may hold: the cache, or a share of the card
TRIED = 100  # grid points drawn before a grid is given up
LARGEST_PACK = 512  # cells; beyond it the cost per cell is flat and a lost pack costs more


class PlanError(ValueError):
    """A request that cannot be planned; the message names the option and what to write instead."""


@dataclass(frozen=True)
class Cost:
    """What the trainings of a grid point cost, read off one of them."""

    flops_per_step: float
    steps: int
    bytes: int


def parse_axis(name: str, text: str, annotation: Any, positive: bool = False) -> list[Any]:
    """The values of one axis from its text; ``positive`` excludes 0. PlanError says what is wrong with it."""
    text = " ".join(text.split())
    if not text:
        raise PlanError(f"--{name}: empty; write a list like 16,32,64 or a range like 4:256:half-octave")
    if words := choices(annotation):
        parts = [part.strip() for part in text.split(",")]
        unknown = [part for part in parts if part not in words]
        if unknown:
            raise PlanError(f"--{name}: '{unknown[0]}' is not one of {', '.join(words)}")
        values = [words[part] for part in parts]
    elif ":" in text:
        values = parse_range(name, text, annotation)
    else:
        values = [number(name, part, annotation) for part in text.split(",")]
    if len(set(values)) < len(values):
        twice = Counter(values).most_common(1)[0][0]
        raise PlanError(f"--{name} {text}: {twice} comes up twice; take a coarser step or a list without repeats")
    if positive and 0 in values:
        raise PlanError(f"--{name} {text}: 0 is too small; it must be above 0")
    return values


def choices(annotation: Any) -> dict[str, Any]:
    """The words of an axis that is not a number, and what they stand for; empty for a number."""
    if annotation is bool:
        return {"false": False, "true": True}
    return {word: word for word in get_args(annotation)} if get_origin(annotation) is Literal else {}


def parse_range(name: str, text: str, annotation: Any) -> list[Any]:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 3:
        raise PlanError(f"--{name} {text}: a range is LO:HI:STEP, for instance 4:256:half-octave")
    low, high = (number(name, part, annotation) for part in parts[:2])
    if high < low:
        raise PlanError(f"--{name} {text}: the range descends; write the smaller end first")
    arithmetic = parts[2].startswith("+")
    if not arithmetic and parts[2] not in STEPS:
        raise PlanError(f"--{name} {text}: unknown step '{parts[2]}'; use {', '.join(STEPS)} or +S")
    step = number(name, parts[2][1:], annotation) if arithmetic else STEPS[parts[2]]
    if step == 0:
        raise PlanError(f"--{name} {text}: the step must be above 0")
    if not arithmetic and low <= 0:
        raise PlanError(f"--{name} {text}: a geometric range starts above 0")
    steps = (high - low) / step if arithmetic else (math.log(high) - math.log(low)) / math.log(step)
    if steps >= LONGEST_AXIS:
        raise PlanError(f"--{name} {text}: more than {LONGEST_AXIS} values; take a coarser step")
    count = math.floor(steps + 1e-9) + 1
    try:
        grid = [low + i * step if arithmetic else low * step**i for i in range(count)]
    except OverflowError:
        raise PlanError(f"--{name} {text}: the ends are too far apart") from None
    return [round(value) if annotation is int else float(f"{value:.12g}") for value in grid]


def number(name: str, text: str, annotation: Any) -> Any:
    """One finite number of the axis's type: a whole number from 1, any other from 0."""
    text = text.strip()
    whole = annotation is int
    try:
        if not text.isascii() or "_" in text:
            raise ValueError
        value = annotation(text)
    except ValueError:
        kind = "whole number, for instance 16" if whole else "number, for instance 0.1"
        raise PlanError(f"--{name}: '{text}' is not a {kind}") from None
    if whole and value >= 2**63:
        raise PlanError(f"--{name}: {text} is too large; a whole number is below 2^63")
    if not math.isfinite(value):
        raise PlanError(f"--{name}: {text} is not finite")
    if value < whole:
        raise PlanError(f"--{name}: {text} is too small; it must be at least {int(whole)}")
    return value + 0  # not -0.0


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
    points = dict.fromkeys(replace(cell, seed=0) for cell in cells)
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
    return [cell for cell in cells if cell_id(family, version, asdict(cell)) not in recorded]


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
    lots: list[tuple[list[tuple[Any, Cost]], int, int]] = []  # cells with their costs; bytes of a state, at the peak
    for group in groups.values():
        points = [replace(cell, seed=0) for cell in group]
        of_point = {point: cost(family, point) for point in dict.fromkeys(points)}
        costs = [of_point[point] for point in points]
        cell_bytes = max(1, *(each.bytes for each in costs))
        most = max(1, next((found for point in of_point if (found := peak(family, point))), 0))
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


def pack_of(family: str, lot: Sequence[tuple[Any, Cost]], state: int, peak: int) -> Pack:
    """The pack of cells with their costs. state, peak: bytes a cell; a pack of one runs as two."""
    size, flops = len(lot), sum(each.flops_per_step * each.steps for _, each in lot)
    steps = max(each.steps for _, each in lot)
    return Pack(family, to_columns([cell for cell, _ in lot]), size, flops, size * state, steps, max(2, size) * peak)


def price(family: str, cells: Sequence[Any]) -> None:
    """Know the cost of each grid point and the peak of each shape when ``packs`` asks; errors are told there."""
    shapes = set()
    with contextlib.suppress(PlanError):
        for point in (cell for cell in cells if cell.seed == 0):
            cost(family, point)
            shape = tuple(getattr(point, name) for name in trainables.load(family).SHAPE)
            if shape not in shapes:
                shapes.add(shape)
                peak(family, point)


@lru_cache(maxsize=10_000)
def cost(family: str, cell: Any) -> Cost:
    """FLOPs per step (matrix products, and one for each number of the state), step budget and bytes of one cell.

    A cell that cannot be drawn costs nothing: its pack records it as failed. PlanError if it is too large for memory.
    """
    module = trainables.load(family)
    try:
        state = module.draw(cell)
        with Products() as counter, torch.no_grad():
            module.step(state)
    except (ArithmeticError, ValueError, torch.linalg.LinAlgError):
        return Cost(0.0, 0, 0)
    except (MemoryError, RuntimeError) as error:
        if not re.search("allocate|overflow|^$", str(error)):
            raise
        raise PlanError(too_large(module, cell)) from None
    numbers = sum(tensor.numel() for tensor in state)
    size = sum(tensor.numel() * tensor.element_size() for tensor in state)
    return Cost(float(counter.flops + numbers), max(0, int(module.budget(state))), size)


@lru_cache(maxsize=10_000)
def peak(family: str, cell: Any) -> int:
    """Bytes that a training takes at its peak in a pack, the same for all of its shape; 0 where it cannot be drawn."""
    try:
        return memory.peak(trainables.load(family), cell)
    except (ArithmeticError, ValueError, torch.linalg.LinAlgError):
        return 0
    except (MemoryError, RuntimeError) as error:
        if not memory.lacking(error):
            raise
        raise PlanError(too_large(trainables.load(family), cell)) from None


def too_large(module: Any, cell: Any, size: int = 0, budget: Budget | None = None) -> str:
    """The line that refuses a shape: a pack of two takes ``size`` bytes, more than the ``budget`` gives it."""
    shape = " ".join(f"--{name} {getattr(cell, name)}" for name in module.SHAPE)
    most = budget.most(size) if budget else 0
    if not most:
        return f"{shape}: a training is too large for this machine's memory"
    return (
        f"{shape}: a pack of two takes about {size / 2**30:.2g} GiB, and {most} at a time fit in the memory; start Ray "
        f"with fewer CPUs (ray start --head --num-cpus {most}) and give --address auto"
    )


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
