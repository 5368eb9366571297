"""How cost grows: core seconds of ``two_layer_relu`` over n, m, seeds and trainings, against the FLOPs they take.

    python benchmarks/growth.py [rounds, default 5]

Writes growth.md, growth.pdf and growth.png beside this file. One core, one process, processor time: what it shares the
machine with costs little. All points are measured once a round. FLOPs as in the plan: matrix products, and one for each
number of the state.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl
import numpy as np
import torch
from cyclopts import run
from cyclopts.types import PositiveInt
from matplotlib.figure import Figure
from peak import peak
from speed_table import spread

import trainables
from analysis.figures.style import STYLE, encoded
from infra.packing import pack
from infra.planning import costs, plan

FAMILY, SECONDS = "two_layer_relu", 1.0  # processor time a point
NEVER = {"tolerance": 1e-30, "budget": 1e9, "max_steps": 10**7, "step_size": 1e-6}  # no training ends while it is timed
BASE = {"n": 64, "m": 64, "d": 8}
SERIES = {
    "n": [16, 32, 64, 128, 256, 512],
    "m": [8, 16, 32, 64, 128, 256, 512],
    "seeds": [2, 8, 32, 128, 512],
    "trainings": [2, 8, 32, 128],
}
SEEDS = 16
POINTS = {"n": [16, 32, 64], "m": [8, 16, 32, 64]}  # for the series of trainings: so many seeds at each
MARKS = {"n": ("o", "#08306b"), "m": ("s", "#d7301f"), "seeds": ("^", "#6a51a3"), "trainings": ("D", "#737373")}


@dataclass(frozen=True)
class Point:
    """One measurement: of one pack a step, or of a number of trainings from begin to end."""

    axis: str
    value: int
    trainings: int
    flops: float
    seconds: float


def cells(axis: str, value: int, **more: Any) -> list[Any]:
    """The trainings of a point of a series."""
    axes = BASE | ({axis: value} if axis in BASE else {}) | more
    return [trainables.load(FAMILY).Cell(**axes, seed=seed) for seed in range(value if axis == "seeds" else SEEDS)]


def a_step(axis: str, value: int) -> Point:
    """One step of all trainings of a point, in packs as a sweep makes them; one that is like the others is timed."""
    packs = plan.packs(FAMILY, cells(axis, value, **NEVER))
    part, count = packs[0], sum(one.size for one in packs)
    run = pack.start(FAMILY, plan.from_columns(FAMILY, part.columns, part.size))
    while run.k < 8:
        pack.advance(run)
    first, began = run.k, time.process_time()
    while time.process_time() - began < SECONDS:
        pack.advance(run)
    seconds = (time.process_time() - began) / (run.k - first) * count / part.size
    point = replace(cells(axis, value)[0], seed=0)
    return Point(axis, value, count, costs.cost(FAMILY, point).flops_per_step * count, seconds)


def to_the_end(axis: str, value: int) -> Point:
    """All trainings of a point, from their data to their rows, with the steps they take until they fit."""
    asked = cells(axis, value)
    if axis == "trainings":
        module = trainables.load(FAMILY)
        asked = [
            module.Cell(n=n, m=m, d=8, seed=seed) for n in POINTS["n"] for m in POINTS["m"] for seed in range(value)
        ]
    began, flops = time.process_time(), 0.0
    for part in plan.packs(FAMILY, asked):
        of = plan.from_columns(FAMILY, part.columns, part.size)
        run = pack.start(FAMILY, of)
        while not pack.finished(run):
            pack.advance(run)
        per_step = costs.cost(FAMILY, replace(of[0], seed=0)).flops_per_step
        flops += per_step * sum(row["steps"] for row in pack.rows(run))
    return Point(axis, len(asked) if axis == "trainings" else value, len(asked), flops, time.process_time() - began)


def slope(points: list[Point], of: str) -> float:
    """Local exponent of FLOPs or seconds over the axis, on the upper half of the series."""
    some = points[len(points) // 2 - 1 :]
    y = [getattr(point, of) for point in some]
    return float(np.polyfit(np.log([point.value for point in some]), np.log(y), 1)[0])


def draw(panels: dict[str, list[Point]], rate: float) -> Figure:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 3.9))
        for axes, (title, points) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for axis in dict.fromkeys(point.axis for point in points):
                some = [point for point in points if point.axis == axis]
                marker, colour = MARKS[axis]
                axes.plot([one.flops for one in some], [one.seconds for one in some], marker=marker, color=colour, ms=4,
                          lw=0.9, label=f"{axis} = {some[0].value} to {some[-1].value}")  # fmt: skip
            ends = np.array([min(one.flops for one in points), max(one.flops for one in points)])
            axes.plot(
                ends, ends / rate, "--", color="#111111", lw=1.1, label=f"peak of the core, {rate / 1e9:.0f} GFLOP/s"
            )
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(f"FLOPs of {title}")
            axes.set_ylabel(f"core seconds of {title}")
            axes.grid(color="0.92", lw=0.6)
            axes.legend(loc="lower right")
            axes.set_ylim(bottom=ends[0] / rate / 20)
        return figure


def table(title: str, points: list[Point], rate: float) -> list[str]:
    head = "| axis | value | trainings | FLOPs | core s | core us a training | GFLOP/s | of peak |"
    lines = [f"## {title[:1].upper()}{title[1:]}", "", head, "|---" * 8 + "|"]
    for one in points:
        lines.append(
            f"| {one.axis} | {one.value} | {one.trainings} | {one.flops:.3g} | {one.seconds:.3g} | "
            f"{1e6 * one.seconds / one.trainings:.3g} | {one.flops / one.seconds / 1e9:.2g} | "
            f"{one.flops / one.seconds / rate:.0%} |"
        )
    return [*lines, ""]


def median(rounds: list[list[Point]]) -> list[Point]:
    """The points, each with its median seconds over the rounds."""
    return [
        replace(same[0], seconds=statistics.median(one.seconds for one in same)) for same in zip(*rounds, strict=True)
    ]


def main(rounds: PositiveInt = 5) -> None:
    torch.set_num_threads(1)
    for axis in ("n", "m"):
        to_the_end(axis, 16)  # what is done once
    rate = peak()
    found: dict[str, list[list[Point]]] = {"a step": [], "whole trainings": []}
    for round_ in range(rounds):
        found["a step"].append([a_step(axis, value) for axis in ("n", "m", "seeds") for value in SERIES[axis]])
        found["whole trainings"].append(
            [
                to_the_end(axis, value)
                for axis, values in SERIES.items()
                for value in values
                if axis != "n" or value < 512
            ]
        )
        print(f"round {round_ + 1} of {rounds}", flush=True)
    panels = {title: median(each) for title, each in found.items()}
    growth = []
    for title, points in panels.items():
        for axis in dict.fromkeys(point.axis for point in points):
            each = [[point for point in one if point.axis == axis] for one in found[title]]
            seconds = spread([slope(some, "seconds") for some in each], ".2f")
            growth.append(f"| {title} | {axis} | {slope(each[0], 'flops'):.2f} | {seconds} |")
    lines = [
        "# How cost grows", "",
        f"Written by `python benchmarks/growth.py {rounds}`: `{FAMILY}`, one core, processor time, medians of {rounds} "
        f"rounds. n = {BASE['n']}, "
        f"m = {BASE['m']}, d = {BASE['d']}, {SEEDS} seeds unless they vary; *trainings*: so many in all over "
        "n = 16, 32, 64 and m = 8 to 64, as a sweep packs them, drawing, measuring and theory included.", "",
        "![Core seconds over FLOPs](growth.png)", "",
        "Exponents over the larger values of each series, at least half of them; of seconds the median (least to most) "
        "over the rounds:", "",
        "| of | over | FLOPs | core seconds |", "|---|---|---|---|", *growth, "",
    ]  # fmt: skip
    for title, points in panels.items():
        lines += table(title, points, rate)
    for kind in ("pdf", "png"):
        Path(__file__).with_suffix(f".{kind}").write_bytes(encoded(draw(panels, rate), kind))
    Path(__file__).with_suffix(".md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
