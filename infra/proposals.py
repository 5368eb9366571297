"""Which trainings next? Bayesian c-optimal design for the exponent of m*(n); see design.py for what is offered.

The model is that of the default fit (analysis/hierarchical.py): slope that varies with n, scatter of log m* about the
law, lapses. So what the design makes small is the very error that the report will state. A batch is chosen greedily:
each next few trainings go where they lower the posterior variance of the exponent most, averaged over posterior
draws, per cost to the power THRIFT. A share FLOOR of all trainings is kept even over n, and spent on log m* there:
trainings are cheapest at the smallest n, which is where finite-size effects live. Pending trainings enter with
their expected information.

Everything is a pure function of the recorded trainings, the pending ones and the space: equal data, equal proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.hierarchical import SCATTERS, Posterior, hierarchical
from analysis.outcomes import Array, Index, Tally
from analysis.separation import brackets
from analysis.transition import SHAPES, SLOPE, Model, derivatives

COARSE, REPEATS = 3, 2  # widths per n of the first pass, and trainings of each
FLOOR, THRIFT = 0.6, 0.01
LUMPS = 8  # distinct cells a batch: trainings of one cell form a pack
SURE = 20  # trainings by which a step is taken to be one
DRAWS = 32  # of the posterior
NEAR = 2.0  # octaves beyond all tested widths up to which the range extends at a time
WIDEST, FINEST = 32, np.log(2) / 8  # candidate widths per n; their spacing in log m, halved and doubled as needed
FEW_SCATTERS = SCATTERS[1::3]
SHAPE = 0.6
CAUTION = 0.7  # quantile of the scatter
EXPONENT = (1.0, 2.0)  # prior mean and sd


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
    ends along it. ``level``: m* is where P(success) = level. ``cost`` takes and returns arrays (C,)."""

    over: tuple[float, ...]
    critical: tuple[float, float]
    limits: tuple[float, float]
    whole: bool = True
    falling: bool = False
    level: float = 0.5
    cost: Callable[[Array, Array], Array] = flops

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

    def widths(self, logs: Array, low: float, high: float) -> Array:
        """The widths exp(``logs``) within [low, high], rounded where whole, each once, increasing."""
        m = np.exp(np.clip(logs, np.log(low), np.log(high)))
        m = (
            np.clip(np.round(m), np.ceil(low), max(np.floor(high), np.ceil(low)))
            if self.whole
            else np.clip(m, low, high)
        )
        return np.unique(m)


@dataclass(frozen=True)
class Belief:
    """What the data say: the posterior, and per n (K,) its value, the law's columns (K, r), centred log n."""

    posterior: Posterior
    over: Array
    law: Array
    sharpness: Array
    data: Tally

    @property
    def single(self) -> int:
        """The scatter to design with: a high quantile, so that n are spread until the scatter is known to be small."""
        return int(np.searchsorted(np.cumsum(self.posterior.weights), CAUTION))


def oriented(data: Tally, space: Space) -> Tally:
    """The tally with success rising along the critical axis."""
    return data.turned() if data.falling != space.falling else data


def belief(data: Tally, space: Space) -> Belief:
    """Posterior of the law, its prior being weak: m* in the first range or near it, the exponent 1 +- 2."""
    data = oriented(data, space)
    over = np.union1d(data.over, space.over)
    z = np.log(over) - np.log(over).mean()
    law = np.column_stack([np.ones_like(z), z])[:, : min(len(over), 2)]
    low, high = np.log(space.critical)
    middle, spread = np.array([(low + high) / 2, EXPONENT[0]]), np.array([max(high - low, 7.0) / 2, EXPONENT[1]])
    # an empty cell at each n: every n has a threshold, tried or not
    none = np.zeros_like(over)
    every = np.append(data.over, over)
    order = np.argsort(every, kind="stable")
    rows = [data.critical, np.full_like(over, np.exp(middle[0]))], [data.successes, none], [data.trials, none]
    critical, successes, trials = (np.concatenate(row)[order] for row in rows)
    filled = Tally(every[order], critical, successes, trials)
    r = law.shape[1]
    found = hierarchical(
        filled, np.searchsorted(over, filled.over), law, z, np.append(middle[:r], SLOPE[0]), level=space.level,
        scatters=FEW_SCATTERS, prior=(middle[:r], spread[:r] ** -2),
    )  # fmt: skip
    return Belief(found, over, law, z, data)


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
    """While the model has fewer than two transitions to go by: at every n with but one outcome, a width NEAR octaves
    beyond all that were tried, as far as the limits allow."""
    if crossed(data) >= min(2, len(space.over)):
        return []
    data, cells, asked = oriented(data, space), [], {cell[:2] for cell in pending}
    for n in space.over:
        at = data.over == n
        won, tried, m = data.successes[at].sum(), data.trials[at].sum(), data.critical[at]
        if tried and won in (0, tried):
            beyond = m.min() / 2**NEAR if won else m.max() * 2**NEAR
            width = float(space.widths(np.log([beyond]), *space.limits)[0])
            if width not in m and (n, width) not in asked:
                cells.append(Cell(n, width, min(REPEATS, size)))
    return cells[: max(1, size // REPEATS)]


def candidates(known: Belief, space: Space, parameters: Array, tau: float) -> tuple[Array, Index]:
    """Widths worth a training and the index of their n, both (C,): around m* as far as it is uncertain, and as far as
    the transition reaches; at least eighth octaves, finer where that is narrow, at most about WIDEST per n."""
    c = known.law.shape[1]
    widths, at = [], []
    for k in np.flatnonzero(np.isin(known.over, space.over)):
        centre = parameters[:, :c] @ known.law[k] + tau * parameters[:, c + SHAPES + k]
        slope = np.exp(np.median(parameters[:, c] + parameters[:, c + 1] * known.sharpness[k]))
        reach = 2.5 * centre.std() + 4 / slope
        tested = known.data.critical[known.data.over == known.over[k]]
        low = max(space.limits[0], min([space.critical[0], *tested / 2**NEAR]))
        high = min(space.limits[1], max([space.critical[1], *tested * 2**NEAR]))
        bottom, top = np.clip(centre.mean() + np.array([-reach, reach]), np.log(low), np.log(high))
        spacing = FINEST * 2 ** np.ceil(np.log2(max(top - bottom, 1e-6) / (WIDEST * FINEST)))
        logs = spacing * np.arange(np.ceil(bottom / spacing), np.floor(top / spacing) + 1)
        here = space.widths(logs if len(logs) else np.array([(bottom + top) / 2]), low, high)
        widths.append(here)
        at.append(np.full(len(here), k))
    return np.concatenate(widths), np.concatenate(at)


def directions(known: Belief, space: Space, over: Index, critical: Array, parameters: Array, tau: float) -> Array:
    """Square root of the information of one training: vectors v (D, q, C), its information being v v'."""
    none = np.zeros_like(critical)
    level = float(np.log(space.level / (1 - space.level)))
    model = Model(np.log(critical), none, none, over, known.law, known.sharpness, level, np.zeros(known.law.shape[1]))
    chance, jacobian = derivatives(model, parameters, np.full(len(parameters), tau))
    return np.asarray(jacobian / np.sqrt(chance * (1 - chance))[:, None])


def best_batch(known: Belief, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """``size`` trainings chosen greedily, in about LUMPS lots; see the module's text."""
    c, found, data = known.law.shape[1], known.posterior, known.data
    waiting = merge([cell for cell in pending if cell.over in known.over])
    rng = np.random.default_rng([data.trainings, data.dropped, sum(cell.trainings for cell in waiting)])
    mean, covariance = found.means[known.single], found.covariances[known.single]
    tau = float(found.scatters[known.single])
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(mean)))
    parameters = mean + rng.standard_normal((DRAWS, len(mean))) @ root.T
    counts = np.zeros(len(known.over))
    np.add.at(counts, np.searchsorted(known.over, data.over), data.trials)
    information = np.linalg.inv(covariance)
    if waiting:
        n, m, lots = np.array(waiting, dtype=float).T
        of = np.searchsorted(known.over, n)
        v = directions(known, space, of, m, parameters, tau)
        information = information + np.einsum("dqc,drc,c->qr", v, v, lots, optimize=True) / DRAWS
        np.add.at(counts, of, lots)
    m, of = candidates(known, space, parameters, tau)
    v = directions(known, space, of, m, parameters, tau)
    price = space.cost(known.over[of], m) ** THRIFT
    asked = np.unique(of)
    exponent = np.eye(len(mean))[c - 1]  # with one n only: log m* itself
    chosen: list[Cell] = []
    while size > 0:
        lot = min(size, max(2, round(size / max(1, LUMPS - len(chosen)))))
        least = asked[np.argmin(counts[asked])]
        behind = counts[least] < FLOOR * (counts[asked].sum() + lot) / len(asked)
        direction = _threshold(known, least, tau, len(mean)) if behind else exponent
        covariance = np.linalg.inv(information)
        moved = covariance @ v
        pull, length = direction @ moved, (v * moved).sum(1)
        gain = (lot * pull**2 / (1 + lot * length)).mean(0) / (direction @ covariance @ direction)
        gain = (gain + SHAPE / len(mean) * np.log1p(lot * length).mean(0)) / price
        best = int(np.argmax(np.where(of == least, gain, -1.0) if behind else gain))
        information = information + lot * v[:, :, best].T @ v[:, :, best] / DRAWS
        counts[of[best]] += lot
        size -= lot
        chosen.append(Cell(float(known.over[of[best]]), float(m[best]), lot))
    return merge(chosen)


def _threshold(known: Belief, k: int, tau: float, q: int) -> Array:
    """The direction of log m* at the k-th n."""
    direction = np.zeros(q)
    direction[: known.law.shape[1]] = known.law[k]
    direction[known.law.shape[1] + SHAPES + k] = tau
    return direction
