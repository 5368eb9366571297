"""An adaptive sweep: which packs next, by what is known and under way, and when to stop. Without Ray.

What is known is what is recorded: a driver that starts again on the same rows goes on from there.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

import trainables
from analysis.outcomes import Array
from analysis.thresholds import Tally, tally_counts
from infra import design, plan
from infra.pack import ENDED, LETTERS, Result
from infra.plan import Pack
from infra.space import Cell, Space

BATCH = 128  # trainings proposed at a time, at most
LARGEST_BYTES = 2**30  # state of the largest training that the search may ask for, and its work:
LARGEST_FLOPS = 1e14  # an hour at 30 GFLOP/s
BEYOND = 16.0  # how far a critical axis that is not a width may leave its first range, as a factor
Point = tuple[float, float]  # over, critical
Surface = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Limits:
    """When to stop: at this standard error of the exponent, or once so many trainings, minutes or FLOPs are spent."""

    target_se: float
    trainings: float = math.inf
    minutes: float = math.inf
    flops: float = math.inf


@dataclass
class Setting:
    """The trainings at one value of the axes beside over and critical: outcomes by point, what is under way, the next
    seed of each point."""

    axes: Mapping[str, Any]
    space: Space
    outcomes: Counter[tuple[float, float, str]] = field(default_factory=Counter)
    pending: Counter[Point] = field(default_factory=Counter)
    seeds: Counter[Point] = field(default_factory=Counter)
    errors: list[tuple[int, float]] = field(default_factory=list)  # trainings, standard error
    done: str = ""  # why nothing more is asked for

    def tally(self) -> Tally:
        """What is known; failed trainings say nothing."""
        points = sorted({(n, m) for n, m, letter in self.outcomes if letter in ENDED})
        fit = np.array([self.outcomes[n, m, "f"] for n, m in points], dtype=float)
        trials = np.array([sum(self.outcomes[n, m, letter] for letter in ENDED) for n, m in points], dtype=float)
        over, critical = np.array(points, dtype=float).reshape(-1, 2).T
        failed = sum(count for (*_, letter), count in self.outcomes.items() if letter == "x")
        return replace(tally_counts(critical, over, fit, trials), dropped=failed)


class Chooser:
    """Rows and outcomes in, packs out. ``packs`` are all that were asked for, by number."""

    def __init__(self, family: str, recipe: Mapping[str, Any], rows: pa.Table, limits: Limits):
        """recipe: the plan, with the first range of the critical axis; rows: what is recorded of it at any width."""
        self.family, self.limits, self.recipe = family, limits, recipe
        self.over, self.critical = recipe["over"], recipe["critical"]
        self.began, self.trained, self.flops = time.monotonic(), 0, 0.0
        self.packs: list[Pack] = []
        self.places: list[list[tuple[Setting, Point]]] = []  # of each pack's cells
        self.settings = [Setting(axes, space(family, recipe, axes)) for axes in beside(recipe)]
        self.read(rows)

    def read(self, rows: pa.Table) -> None:
        """Take in what is recorded."""
        if not len(rows):
            return
        of = {tuple(setting.axes.values()): setting for setting in self.settings}
        names = list(self.settings[0].axes)
        for row in rows.select([*names, self.over, self.critical, "seed", "outcome"]).to_pylist():
            setting = of[tuple(row[name] for name in names)]
            point = (float(row[self.over]), float(row[self.critical]))
            setting.outcomes[*point, LETTERS[row["outcome"]]] += 1
            setting.seeds[point] = max(setting.seeds[point], row["seed"] + 1)

    def finished(self) -> bool:
        """Is everything known that was asked for, or everything spent?"""
        for setting in self.settings:
            setting.done = setting.done or self.why_done(setting, setting.tally())
        return self.left() < 1 or all(setting.done for setting in self.settings)

    def why_done(self, setting: Setting, known: Tally) -> str:
        """Why the search of a setting is over; "" while it goes on. It is, too, where twice the trainings have left the
        standard error as it was: then it is the scatter of m* about the law that decides, and more n would help."""
        if design.finished(known, setting.space, self.limits.target_se):
            return "the exponent is known as asked, or as far as it can be"
        error = design.standard_error(known, setting.space)
        setting.errors.append((known.trainings, error))
        half = [old for count, old in setting.errors if design.LEAST <= count <= known.trainings / 2]
        if not half or not math.isfinite(error) or error < 0.9 * half[-1]:
            return ""
        return f"standard error {error:.3f}, which more trainings no longer lower: take more values of {self.over}"

    def next_packs(self, device: str, side_by_side: int) -> list[int]:
        """Numbers of the next packs, the longest first; none when the search is over, or waits for nothing more to ask
        while trainings are under way."""
        cells: list[Any] = []
        owners: dict[Any, tuple[Setting, Point]] = {}
        left = self.left()
        for setting in self.settings:
            if left < 1 or setting.done:
                continue
            known, pending = setting.tally(), [Cell(*point, count) for point, count in setting.pending.items() if count]
            setting.done = self.why_done(setting, known)
            asked = [] if setting.done else design.propose(known, pending, setting.space, int(min(BATCH, left)))
            for cell in asked:
                for training in self.cells(setting, cell):
                    cells.append(training)
                    owners[training] = setting, (cell.over, cell.critical)
            left -= sum(cell.trainings for cell in asked)
        first = len(self.packs)
        for pack in plan.packs(self.family, cells, device, side_by_side):
            trainings = plan.from_columns(pack.family, pack.columns, pack.size)
            self.packs.append(pack)
            self.places.append([owners[training] for training in trainings])
            self.trained, self.flops = self.trained + pack.size, self.flops + pack.flops
        return list(range(first, len(self.packs)))

    def cells(self, setting: Setting, cell: Cell) -> list[Any]:
        """The trainings of one proposed cell, with seeds that it has not had; from now on they are under way."""
        point, cell_type = (cell.over, cell.critical), trainables.load(self.family).Cell
        first, types = setting.seeds[point], {field.name: field.type for field in fields(cell_type)}
        axes = {name: int(value) if types[name] is int else value
                for name, value in {self.over: cell.over, self.critical: cell.critical}.items()}  # fmt: skip
        setting.seeds[point] += cell.trainings
        setting.pending[point] += cell.trainings
        return [cell_type(**setting.axes, **axes, seed=first + i) for i in range(cell.trainings)]

    def told(self, number: int, results: Sequence[Result]) -> None:
        """Pack ``number`` has ended with one result a cell."""
        for (setting, point), (letter, *_) in zip(self.places[number], results, strict=True):
            setting.pending[point] -= 1
            setting.outcomes[*point, letter] += 1

    def left(self) -> float:
        """Trainings that may still be asked for; 0 when the time or the FLOPs are spent."""
        spent = self.flops >= self.limits.flops or time.monotonic() - self.began >= 60 * self.limits.minutes
        return 0 if spent else self.limits.trainings - self.trained

    def outlook(self) -> str:
        """How far the search is, in a few words."""
        lines = []
        for setting in self.settings:
            known = setting.tally()
            error = design.standard_error(known, setting.space)
            goal = self.limits.target_se
            more = max(known.trainings * ((error / goal) ** 2 - 1), design.LEAST - known.trainings, 0.0)
            ahead = f"about {more:,.0f} trainings to go" if math.isfinite(more) else "trainings to go not known yet"
            far = setting.done or f"standard error {error:.3f} of {goal:g}, {ahead}"
            last = Counter[float]()
            for (n, _), count in setting.pending.items():
                last[n] += count
            now = ", ".join(f"{n:g}" for n, count in last.most_common(3) if count)
            lines.append(far + (f"; {self.over} = {now} under way" if now else ""))
        return f"at most {self.flops:.2g} FLOPs | " + " | ".join(lines)


def beside(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of all axes but over and critical, one mapping a setting."""
    names = [name for name in recipe["axes"] if name not in (recipe["over"], recipe["critical"])]
    return [dict(zip(names, values, strict=True)) for values in product(*(recipe["axes"][name] for name in names))]


def space(family: str, recipe: Mapping[str, Any], axes: Mapping[str, Any]) -> Space:
    """Where the search looks: the values of over, the first range of the critical axis, how far it may be left."""
    cell_type = trainables.load(family).Cell
    over, critical = recipe["over"], recipe["critical"]
    ns, first = sorted(recipe["axes"][over]), sorted(recipe["axes"][critical])
    low, high = float(first[0]), float(first[-1])
    cells = [cell_type(**axes, **{over: n, critical: m}) for n, m in product({ns[0], ns[-1]}, {first[0], first[-1]})]
    costs = [plan.cost(family, cell) for cell in cells]
    at = np.array([[getattr(cell, over), getattr(cell, critical)] for cell in cells], dtype=float)
    flops = surface(at, [each.flops_per_step * each.steps for each in costs])
    size = surface(at, [each.bytes for each in costs])
    whole = next(one for one in fields(cell_type) if one.name == critical).type is int
    limits = (1.0, high) if whole else (low / BEYOND, high * BEYOND)
    while whole and allowed(flops, size, ns[-1], 2 * limits[1]):
        limits = (1.0, 2 * limits[1])
    return Space(tuple(map(float, ns)), (low, high), limits, whole, bool(recipe.get("falling")), recipe["level"], flops)


def allowed(flops: Surface, size: Surface, n: float, m: float) -> bool:
    """May the search ask for this training?"""
    over, critical = np.array([float(n)]), np.array([float(m)])
    return bool(flops(over, critical)[0] <= LARGEST_FLOPS and size(over, critical)[0] <= LARGEST_BYTES)


def surface(at: Array, values: Sequence[float]) -> Surface:
    """A product of powers of over and critical through ``values`` at the points ``at`` (K, 2), K up to 4."""
    design_matrix = np.column_stack([np.ones(len(at)), np.log(at)])
    c, a, b = np.linalg.lstsq(design_matrix, np.log(np.maximum(values, 1.0)), rcond=None)[0]
    return lambda over, critical: np.exp(c + a * np.log(over) + b * np.log(critical))
