"""What a design may choose from, and its first trainings: a coarse pass, and probes beyond the first range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.thresholds.outcomes import Array, Tally
from analysis.thresholds.separation import brackets

COARSE, REPEATS = 3, 2  # widths per n of the first pass, and trainings of each
MANY = 10  # trainings at an n that end alike before the range is left for the sake of it
NEAR = 2.0  # octaves beyond all tested widths up to which the range extends at a time
SETTLED, SURE = 200, 20  # trainings in all, and at a bracket's ends, by which a step is taken to be one
NARROW = 0.01  # in log m: a bracket not worth halving


class Cell(NamedTuple):
    """``trainings`` trainings at n = ``over``, m = ``critical``. They take the seeds after those the cell has had."""

    over: float
    critical: float
    trainings: int


def flops(over: Array, critical: Array) -> Array:
    """Cost of a training, up to a factor: m n for a step, and n steps."""
    return critical * over**2


@dataclass(frozen=True)
class Space:
    """Where to look: the values of ``over`` (all > 0), the first range of the critical axis, and ``limits`` that it may
    extend to when the law leaves it. ``whole``: the critical axis takes whole numbers. ``falling``: success
    ends along it. ``level``: m* is where P(success) = level. ``cost`` takes and returns arrays (C,), in any unit; a
    training is chosen by its gain per cost to the power ``thrift``: 0 for fewest trainings, 0.1 for least compute."""

    over: tuple[float, ...]
    critical: tuple[float, float]
    limits: tuple[float, float]
    whole: bool = True
    falling: bool = False
    level: float = 0.5
    cost: Callable[[Array, Array], Array] = flops
    thrift: float = 0.01

    def __post_init__(self) -> None:
        low, high = self.critical
        if not self.over or not all(0 < n < np.inf for n in self.over):
            raise ValueError(f"over must hold positive values, got {self.over}")
        if not 0 < self.limits[0] <= low <= high <= self.limits[1] < np.inf:
            raise ValueError(f"need 0 < limits[0] <= critical range <= limits[1], got {self.critical} in {self.limits}")
        if self.whole and np.ceil(self.limits[0]) > np.floor(self.limits[1]):
            raise ValueError(f"no whole number within the limits {self.limits}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie in (0, 1), got {self.level:g}")

    @property
    def chance(self) -> float:
        """P(what rises along the critical axis) at m*: success, or failure where success is falling."""
        return 1 - self.level if self.falling else self.level

    def widths(self, logs: Array, low: float, high: float) -> Array:
        """The widths exp(``logs``) within [low, high], rounded where whole, each once, increasing."""
        m = np.exp(logs)
        m = (
            np.clip(np.round(m), np.ceil(low), max(np.floor(high), np.ceil(low)))
            if self.whole
            else np.clip(m, low, high)
        )
        return np.unique(m)


def oriented(data: Tally, space: Space) -> Tally:
    """The tally with success rising along the critical axis."""
    return data.turned() if data.falling != space.falling else data


def coarse_pass(space: Space) -> list[Cell]:
    """The first pass: a few widths over the first range at every n, middle ones first."""
    low, high = np.log(space.critical)
    steps = sorted((np.arange(COARSE) + 0.5) / COARSE, key=lambda step: abs(step - 0.5))
    cells = [(n, space.widths(np.array([low + s * (high - low)]), *space.limits)[0]) for s in steps for n in space.over]
    return [Cell(float(n), float(m), REPEATS) for n, m in dict.fromkeys(cells)]


def merge(cells: Sequence[Cell]) -> list[Cell]:
    """Each cell once, with all its trainings, in the order of first appearance."""
    total: dict[tuple[float, float], int] = {}
    for over, critical, trainings in cells:
        total[over, critical] = total.get((over, critical), 0) + trainings
    return [Cell(*axes, trainings) for axes, trainings in total.items()]


def first_batch(data: Tally, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """What is left of the first pass, at most ``size`` trainings. Its trainings come in a fixed order, and as many as
    there are already, failed ones too, are passed over: none is asked for twice."""
    had = data.trainings + data.dropped + sum(cell.trainings for cell in pending)
    each = [cell._replace(trainings=1) for cell in coarse_pass(space) for _ in range(cell.trainings)]
    return merge(each[had : had + size])


def crossed(data: Tally) -> int:
    """The number of n at which trainings have both succeeded and failed."""
    totals = ((data.successes[at].sum(), data.trials[at].sum()) for at in (data.over == n for n in set(data.over)))
    return sum(0 < won < tried for won, tried in totals)


def parted(data: Tally, gap: float = np.inf) -> npt.NDArray[np.bool_]:
    """Per n of the tally: does a width part all failures from all successes, known to within ``gap`` from SURE
    trainings or more at its two ends?"""
    of = np.unique(data.over, return_inverse=True)[1]
    found = brackets(data, of, int(of.max(initial=-1)) + 1)
    return np.asarray(found.clean & ((gap == np.inf) | ((found.high - found.low <= gap) & (found.tried >= SURE))))


def probes(data: Tally, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """Where all trainings at an n have ended alike: a width NEAR octaves beyond all that were tried, as far as the
    limits allow. At once while the model has fewer than two transitions to go by, else after MANY trainings there."""
    least = 1 if crossed(data) < min(2, len(space.over)) else MANY
    data, cells, asked = oriented(data, space), [], {cell[:2] for cell in pending}
    for n in space.over:
        at = data.over == n
        won, tried, m = data.successes[at].sum(), data.trials[at].sum(), data.critical[at]
        if tried >= least and won in (0, tried):
            beyond = m.min() / 2**NEAR if won else m.max() * 2**NEAR
            width = float(space.widths(np.log([beyond]), *space.limits)[0])
            if width not in m and (n, width) not in asked:
                cells.append(Cell(n, width, min(REPEATS, size)))
    return cells[: max(1, size // REPEATS)]


def bisections(data: Tally, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """Where many trainings leave every n parted, the transition is a step and has no slope to learn: the middle of each
    bracket, and once it is narrow its ends, until SURE trainings stand there. Widest brackets first."""
    data, asked = oriented(data, space), {cell[:2] for cell in pending}
    if data.trainings < SETTLED or not parted(data).all():
        return []
    over, of = np.unique(data.over, return_inverse=True)
    found, cells = brackets(data, of, len(over)), []
    with np.errstate(divide="ignore"):
        gap = np.log(found.high) - np.log(found.low)
    for k in np.argsort(-gap, kind="stable"):
        if not (np.isfinite(gap[k]) and over[k] in space.over):
            continue
        ends = found.low[k], found.high[k]
        width = float(space.widths(np.log(ends).mean(keepdims=True), *ends)[0])
        if gap[k] < NARROW or width in ends:
            width = min(ends, key=lambda end: data.trials[(of == k) & (data.critical == end)].sum())
            if found.tried[k] >= SURE:
                continue
        if (over[k], width) not in asked:
            cells.append(Cell(float(over[k]), float(width), min(2 * REPEATS, size)))
    return cells[: max(1, size // (2 * REPEATS))]
