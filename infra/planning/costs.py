"""What a training costs, read off one of its grid point: operations, steps, bytes."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

import trainables
from infra.planning import memory
from infra.planning.axes import PlanError
from infra.planning.counting import Products
from infra.planning.memory import Budget


@dataclass(frozen=True)
class Cost:
    """What the trainings of a grid point cost, read off one of them."""

    flops_per_step: float
    steps: int
    bytes: int


def price(family: str, cells: Sequence[Any]) -> None:
    """Know the cost of each grid point and the largest peak when ``packs`` asks; errors are told there."""
    points = [cell for cell in cells if cell.seed == 0]
    with contextlib.suppress(PlanError):
        for point in points:
            cost(family, point)
        if (top := largest_cell(family, points)) is not None:
            peak(family, top)


def largest_cell(family: str, cells: Sequence[Any]) -> Any | None:
    """A cell that is as large as any other in every axis of its shape, so that no other takes much more memory; None
    where there is none, or where an axis that varies is no size (a word, or 0, which often stands for all)."""
    shapes = {tuple(getattr(cell, name) for name in trainables.load(family).SHAPE): cell for cell in cells}
    axes = [set(values) for values in zip(*shapes, strict=True)]
    varying = [value for values in axes if len(values) > 1 for value in values]
    if not axes or not all(isinstance(value, (int, float)) and value >= 1 for value in varying):
        return None
    return shapes.get(tuple(max(values) for values in axes))


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
