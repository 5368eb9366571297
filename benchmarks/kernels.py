"""What a step costs: packed against one at a time for every family, and the share of the matrix-product peak.

    OMP_NUM_THREADS=1 python benchmarks/kernels.py [rounds, default 5]

Writes kernels.md beside this file. One core, no Ray. The rounds are interleaved: every entry of a table is measured
once a round. A family is measured at the grid point of median cost of its first sweep's default grid.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from cyclopts import run
from cyclopts.types import PositiveInt
from peak import peak
from speed_table import spread

import trainables
from infra import options
from infra.packing.steps import stepped
from infra.planning import costs, plan
from infra.sweep import Sweep
from sweeps.__main__ import NAMES
from trainables.two_layer_relu import IN_CACHE

SECONDS = 0.4  # a measurement
STEPS = 8  # a call
WANTED = 60  # % of the peak
Shape = tuple[int, int, int]
SHAPES: list[Shape] = [(n, m, d) for d in (16, 32, 100) for n in (128, 256, 512) for m in (256, 512, 1024, 2048)]


def rate(step: Callable[[], Any]) -> float:
    """Calls a second, the first one left out."""
    step()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        calls += 1
    return calls / (time.perf_counter() - began)


def stepping(family: str, cells: list[Any]) -> Callable[[], Any]:
    """A function that takes STEPS steps of a pack of ``cells``; of one training, unstacked, where there is one only."""
    module = trainables.load(family)
    states = [module.draw(cell) for cell in cells]
    state = states[0] if len(states) == 1 else module.State(*map(torch.stack, zip(*states, strict=True)))

    def block() -> None:
        nonlocal state
        with torch.no_grad():
            if len(states) == 1:
                for _ in range(STEPS):
                    state = module.step(state)
            else:
                state = stepped(family, state, STEPS)

    return block


def pack_of(family: str, point: Any) -> list[Any]:
    """As many seeds of a grid point as the plan puts into a pack of it."""
    cells = [replace(point, seed=seed) for seed in range(plan.LARGEST_PACK)]
    return plan.from_columns(family, (part := plan.packs(family, cells)[0]).columns, part.size)


def typical(family: str) -> Any:
    """The grid point of median cost of the first sweep that knows the family."""
    sweeps: list[Sweep] = [import_module(f"sweeps.{name}").SWEEP for name in NAMES]
    sweep = next(one for one in sweeps if family in one.axes)
    request = options.parse(sweep, ["--family", family])
    assert request is not None
    points = plan.grid(family, request.axes, 1)
    return sorted(points, key=lambda point: costs.cost(family, point).flops_per_step)[len(points) // 2]


def products(shape: Shape, pack: int) -> Callable[[], Any]:
    """The matrix products of STEPS steps of a pack and nothing else, on as many cells at a time as the step takes."""
    n, m, d = shape
    parts = max(1, pack // max(2, IN_CACHE // (n * m)))
    rng = torch.Generator().manual_seed(0)
    cells: list[tuple[torch.Tensor, ...]] = []
    for i in range(parts):
        size = (i + 1) * pack // parts - i * pack // parts
        X = torch.linalg.qr(torch.randn(size, n, d, dtype=torch.float64, generator=rng)).Q.contiguous()  # none grows
        Z = torch.randn(size, n, m, dtype=torch.float64, generator=rng)
        W = torch.empty(size, d, m, dtype=torch.float64) if d < m else torch.empty(size, m, d, dtype=torch.float64).mT
        cells.append((X, X @ X.mT, Z.clone(), Z, W))

    def block() -> None:
        for X, G, C, Z, W in cells:
            for _ in range(STEPS):
                if n <= 2 * d:
                    torch.bmm(G, C, out=Z)
                else:
                    torch.bmm(X.mT, Z, out=W) if d < m else torch.bmm(Z.mT, X, out=W.mT)
                    torch.bmm(X, W, out=Z)

    return block


def families(rounds: int) -> list[str]:
    lines = ["", "## Packed against one at a time", "",
             "Trainings stepped a second, a pack over a loop without a pack.", "",
             "| family | grid point | pack | times |", "|---|---|---|---|"]  # fmt: skip
    packs = {family: pack_of(family, typical(family)) for family in trainables.names()}
    steps = {family: (stepping(family, cells[:1]), stepping(family, cells)) for family, cells in packs.items()}
    ratios: dict[str, list[float]] = {family: [] for family in packs}
    for _ in range(rounds):
        for family, (alone, packed) in steps.items():
            ratios[family].append(len(packs[family]) * rate(packed) / rate(alone))
    for family, (point, *others) in packs.items():
        shape = ", ".join(f"{name} {getattr(point, name)}" for name in trainables.load(family).SHAPE)
        lines.append(f"| {family} | {shape} | {1 + len(others)} | {spread(ratios[family], '.1f')} |")
        print(lines[-1], flush=True)
    return lines


def shares(rounds: int) -> list[str]:
    lines = ["", "## Share of the matrix-product peak", "",
             "`two_layer_relu`, float64: operations of the step's matrix products a second over those of the fastest",
             "product of square matrices (`peak.py`). Gram form up to n = 2 d (2 n^2 m operations), else plain",
             "(4 n m d). Last column:",
             "the same products without the step around them (mask, clamp, output: three passes over n m numbers),",
             "what no step made of torch's kernels can pass at this shape.", "",
             "| d | n | m | pack | form | the step, % | its products alone, % |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    reached, possible = Counter[int](), Counter[int]()
    cell = trainables.load("two_layer_relu").Cell
    packs = {shape: pack_of("two_layer_relu", cell(**dict(zip("nmd", shape, strict=True)))) for shape in SHAPES}
    steps = {shape: stepping("two_layer_relu", cells) for shape, cells in packs.items()}
    bare = {shape: products(shape, len(cells)) for shape, cells in packs.items()}
    found: dict[Shape, list[tuple[float, float]]] = {shape: [] for shape in SHAPES}
    for _ in range(rounds):
        for n, m, d in SHAPES:
            flops = len(packs[n, m, d]) * (2.0 * n * n * m if n <= 2 * d else 4.0 * n * m * d)
            of_peak = 100 * flops * STEPS / peak(SECONDS)
            found[n, m, d].append((of_peak * rate(steps[n, m, d]), of_peak * rate(bare[n, m, d])))
    for (n, m, d), pairs in found.items():
        form, (step, alone) = "Gram" if n <= 2 * d else "plain", map(list, zip(*pairs, strict=True))
        reached[d] += statistics.median(step) >= WANTED
        possible[d] += statistics.median(alone) >= WANTED
        size = len(packs[n, m, d])
        lines.append(f"| {d} | {n} | {m} | {size} | {form} | {spread(step, '.0f')} | {spread(alone, '.0f')} |")
        print(lines[-1], flush=True)
    told = ", ".join(
        f"{reached[d]} of {sum(shape[2] == d for shape in SHAPES)} at d = {d} (the products alone: {possible[d]})"
        for d in reached
    )
    return [*lines, "", f"At least {WANTED}% is wanted. Rows that reach it: {told}. What is known of why is in LOG.md."]


def main(rounds: PositiveInt = 5) -> None:
    torch.set_num_threads(1)
    head = ["# What a step costs", "", f"Written by `OMP_NUM_THREADS=1 python benchmarks/kernels.py {rounds}`: median",
            f"(least to most) of {rounds} interleaved rounds, one core."]  # fmt: skip
    text = "\n".join([*head, *families(rounds), *shares(rounds)])
    Path(__file__).with_name("kernels.md").write_text(text + "\n")


if __name__ == "__main__":
    run(main)
