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
from analysis.thresholds.fitting import Tally, tally_counts
from analysis.thresholds.outcomes import Array
from infra.choosing import design
from infra.choosing.space import Cell, Space
from infra.packing.pack import ENDED, LETTERS, Result
from infra.planning import costs, plan
from infra.planning.memory import Budget
from infra.planning.packs import Pack

BATCH = 128  # trainings proposed at a time, at most
LARGEST_BYTES = 2**30  # state of the largest training that the search may ask for, and its work to the budget:
LARGEST_FLOPS = 1e14  # an hour at 30 GFLOP/s
STUCK = 0.9  # share of the standard error that twice the trainings may leave
BEYOND = 16.0  # how far a critical axis that is not a width may leave its first range, as a factor; and a width:
WIDEST = 2.0**20
Point = tuple[float, float]  # over, critical
Surface = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Limits:
    """When to stop: at this standard error of the exponent, or once so many trainings or FLOPs are spent, what is
    recorded counted in, or so many minutes, from the start of this process."""

    target_se: float
    trainings: float = math.inf
    minutes: float = math.inf
    flops: float = math.inf


@dataclass
class Setting:
    """The trainings at one value of the axes beside over and critical: outcomes by point, what is under way, the next
    seed of each point, the largest width whose cost is known to be allowed, the standard errors so far."""

    axes: Mapping[str, Any]
    space: Space
    allowed: float
    errors: list[tuple[int, float]] = field(default_factory=list)  # trainings, standard error
    outcomes: Counter[tuple[float, float, str]] = field(default_factory=Counter)
    pending: Counter[Point] = field(default_factory=Counter)
    seeds: Counter[Point] = field(default_factory=Counter)
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
        """recipe: the plan, with the first range of the critical axis and what an earlier search has left. rows: what
        is recorded of it at any width."""
        self.family, self.limits, self.recipe = family, limits, recipe
        self.over, self.critical = recipe["over"], recipe["critical"]
        self.began, self.trained = time.monotonic(), 0  # trainings recorded, ended and under way
        self.spent, self.under_way = 0.0, 0.0  # FLOPs: of what has ended, and at most of what has not
        self.packs: list[Pack] = []
        self.budget: Budget | None = None
        self.places: list[list[tuple[Setting, Point]]] = []  # of each pack's cells
        first = sorted(recipe["axes"][self.critical])
        self.settings = [Setting(axes, space(family, recipe, axes), float(first[-1])) for axes in beside(recipe)]
        self.costs: dict[Any, costs.Cost] = {}
        for setting, errors in zip(self.settings, recipe.get("search", {}).get("errors", []), strict=False):
            setting.errors = [(count, error) for count, error in errors]
        self.read(rows)

    def read(self, rows: pa.Table) -> None:
        """Take in what is recorded."""
        if not len(rows):
            return
        of = {tuple(setting.axes.values()): setting for setting in self.settings}
        names = list(self.settings[0].axes)
        for row in rows.select([*names, self.over, self.critical, "seed", "outcome", "steps"]).to_pylist():
            setting = of[tuple(row[name] for name in names)]
            point = (float(row[self.over]), float(row[self.critical]))
            setting.outcomes[*point, LETTERS[row["outcome"]]] += 1
            setting.seeds[point] = max(setting.seeds[point], row["seed"] + 1)
            self.trained += 1
            self.spent += row["steps"] * self.cost(setting, *point).flops_per_step

    def finished(self) -> bool:
        """Is everything known that was asked for, or everything spent?"""
        for setting in self.settings:
            setting.done = self.why_done(setting, setting.tally())
        return self.left() < 1 or all(setting.done for setting in self.settings)

    def next_packs(self, device: str, side_by_side: int, budget: Budget | None = None) -> list[int]:
        """Numbers of the next packs, the longest first; none when the search is over, or waits for nothing more to ask
        while trainings are under way."""
        self.budget = budget
        cells: list[Any] = []
        owners: dict[Any, tuple[Setting, Point]] = {}
        left = self.left()
        for setting in self.settings:
            if left < 1 or setting.done:
                continue
            asked = self.asked(setting, int(min(BATCH, left)))
            for cell in asked:
                for training in self.cells(setting, cell):
                    cells.append(training)
                    owners[training] = setting, (cell.over, cell.critical)
            left -= sum(cell.trainings for cell in asked)
        first = len(self.packs)
        for pack in plan.packs(self.family, cells, device, side_by_side, budget):
            trainings = plan.from_columns(pack.family, pack.columns, pack.size)
            self.packs.append(pack)
            self.places.append([owners[training] for training in trainings])
            self.trained, self.under_way = self.trained + pack.size, self.under_way + pack.flops
        return list(range(first, len(self.packs)))

    def why_done(self, setting: Setting, known: Tally) -> str:
        """Why the search of a setting is over; "" while it goes on. It is, too, where twice the trainings have left the
        standard error as it was: then it is the scatter of m* about the law that decides, and more n would help."""
        if done := design.ended(known, setting.space, self.limits.target_se):
            return done
        error, count = design.standard_error(known, setting.space), known.trainings
        if math.isfinite(error) and count not in dict(setting.errors):
            setting.errors.append((count, error))
        half = [old for before, old in setting.errors if design.LEAST <= before <= count / 2]
        if not half or not math.isfinite(error) or error < STUCK * half[-1]:
            return ""
        return f"standard error {error:.2g}, which more trainings no longer lower: take more values of {self.over}"

    def asked(self, setting: Setting, size: int) -> list[Cell]:
        """What the design proposes for a setting, within what a training may cost; none when its search is over."""
        known = setting.tally()
        setting.done = self.why_done(setting, known)
        pending = [Cell(*point, count) for point, count in setting.pending.items() if count]
        while not setting.done:
            cells = design.propose(known, pending, setting.space, size)
            if all(self.within(setting, cell.critical) for cell in cells):
                return cells
        return []

    def within(self, setting: Setting, width: float) -> bool:
        """May a training have this width at the largest value of over? If not, the setting's limits are drawn in."""
        space = setting.space
        while space.whole and setting.allowed < width:
            known, wider = setting.allowed, min(2 * setting.allowed, space.limits[1])
            sizes = [self.cost(setting, space.over[-1], m).bytes for m in (max(1.0, known // 2), known)]
            growth = max(1.0, sizes[1] / max(1, sizes[0]))  # a state that is likely too large is not drawn
            if sizes[1] * growth > LARGEST_BYTES or self.too_large(setting, wider):
                setting.space = replace(space, limits=(space.limits[0], known))
                return False
            setting.allowed = wider
        return True

    def too_large(self, setting: Setting, width: float) -> bool:
        """Does a training of this width cost more than the search may ask for, or its pack of two more memory?"""
        over = setting.space.over[-1]
        cost = self.cost(setting, over, width)
        if cost.bytes > LARGEST_BYTES or cost.flops_per_step * cost.steps > LARGEST_FLOPS:
            return True
        peak = costs.peak(self.family, self.cell(setting, over, width, 0))
        return self.budget is not None and 2 * peak > self.budget.of_pack

    def cost(self, setting: Setting, over: float, critical: float) -> costs.Cost:
        """What a training at a point costs."""
        cell = self.cell(setting, over, critical, 0)
        if cell not in self.costs:
            self.costs[cell] = costs.cost(self.family, cell)
        return self.costs[cell]

    def cell(self, setting: Setting, over: float, critical: float, seed: int) -> Any:
        """A training of a setting."""
        cell_type = trainables.load(self.family).Cell
        types = {axis.name: axis.type for axis in fields(cell_type)}
        axes = {name: int(value) if types[name] is int else value
                for name, value in {self.over: over, self.critical: critical}.items()}  # fmt: skip
        return cell_type(**setting.axes, **axes, seed=seed)

    def cells(self, setting: Setting, cell: Cell) -> list[Any]:
        """The trainings of one proposed cell, with seeds that it has not had; from now on they are under way."""
        point = cell.over, cell.critical
        first = setting.seeds[point]
        setting.seeds[point] += cell.trainings
        setting.pending[point] += cell.trainings
        return [self.cell(setting, *point, first + i) for i in range(cell.trainings)]

    def told(self, number: int, results: Sequence[Result]) -> None:
        """Pack ``number`` has ended with one result a cell."""
        self.under_way -= self.packs[number].flops
        for (setting, point), (letter, steps, _) in zip(self.places[number], results, strict=True):
            setting.pending[point] -= 1
            setting.outcomes[*point, letter] += 1
            self.spent += 0.0 if math.isnan(steps) else steps * self.cost(setting, *point).flops_per_step

    def left(self) -> float:
        """Trainings that may still be asked for; 0 while what is under way may use up the FLOPs, or the time is up."""
        late = time.monotonic() - self.began >= 60 * self.limits.minutes
        return 0 if late or self.spent + self.under_way >= self.limits.flops else self.limits.trainings - self.trained

    def outlook(self) -> str:
        """How far the search is, in a few words."""
        return f"{self.spent:.2g} FLOPs | " + " | ".join(map(self.far, self.settings))

    def far(self, setting: Setting) -> str:
        """The exponent of a setting so far, what is to come, which values of over are under way."""
        known, goal = setting.tally(), self.limits.target_se
        exponent, low, high = design.reported(known, setting.space)
        law = f"{self.critical}* ~ {self.over}^{exponent:.2f} [{low:.2f}, {high:.2f}], " if exponent == exponent else ""
        if setting.done:
            return law + setting.done
        error = (high - low) / 3.92
        more = max(known.trainings * ((error / goal) ** 2 - 1), design.LEAST - known.trainings, 0.0)
        more = min(more, design.MOST - known.trainings, self.limits.trainings - self.trained)
        ahead = f"about {more:,.0f} trainings to go" if math.isfinite(error) else "trainings to go not known yet"
        last = Counter[float]()
        for (n, _), count in setting.pending.items():
            last[n] += count
        now = ", ".join(f"{n:g}" for n, count in last.most_common(3) if count)
        return f"{law}standard error {error:.3f} of {goal:g}, {ahead}" + (
            f"; {self.over} = {now} under way" if now else ""
        )

    def summary(self) -> dict[str, Any]:
        """What a plan records of its search: the goal, why each setting's search is over, what was spent."""
        limit = "a limit on trainings, minutes or FLOPs, or an interruption, came first"
        ended = [setting.done or limit for setting in self.settings]
        spent = {"trainings": self.trained, "flops": self.spent}
        errors = [setting.errors for setting in self.settings]
        return {"target_se": self.limits.target_se, "ended": ended, "errors": errors} | spent

    def forecast(self) -> str:
        """What the search would do, before it begins."""
        lines = [f"recorded   {self.trained} trainings, {self.spent:.2g} FLOPs", *map(self.first_range, self.settings)]
        goal = f"standard error {self.limits.target_se:g} of the exponent"
        return "\n".join([*lines, f"ends       at {goal}; {design.LEAST} to {design.MOST:,} trainings each"])

    def first_range(self, setting: Setting) -> str:
        """Where the search of a setting begins, and what the cheapest and the dearest training there cost at most."""
        (low, high), over = setting.space.critical, setting.space.over
        ends = [self.cost(setting, *point) for point in ((over[0], low), (over[-1], high))]
        flops = " to ".join(f"{one.flops_per_step * one.steps:.2g}" for one in ends)
        room = f"{LARGEST_BYTES / 2**30:g} GiB or {LARGEST_FLOPS:.0e} FLOPs a training"
        where = f"{self.critical} from {low:g} to {high:g}, {self.over} from {over[0]:g} to {over[-1]:g}"
        return f"begins     {where}; {flops} FLOPs a training at most; farther as need be, up to {room}"


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
    prices = [costs.cost(family, cell) for cell in cells]
    at = np.array([[getattr(cell, over), getattr(cell, critical)] for cell in cells], dtype=float)
    flops = surface(at, [each.flops_per_step * each.steps for each in prices])
    whole = next(one for one in fields(cell_type) if one.name == critical).type is int
    limits = (1.0, high * WIDEST) if whole else (low / BEYOND, high * BEYOND)
    return Space(tuple(map(float, ns)), (low, high), limits, whole, bool(recipe.get("falling")), recipe["level"], flops)


def surface(at: Array, values: Sequence[float]) -> Surface:
    """A product of powers of over and critical through ``values`` at the points ``at`` (K, 2), K up to 4."""
    design_matrix = np.column_stack([np.ones(len(at)), np.log(at)])
    c, a, b = np.linalg.lstsq(design_matrix, np.log(np.maximum(values, 1.0)), rcond=None)[0]
    return lambda over, critical: np.exp(c + a * np.log(over) + b * np.log(critical))
