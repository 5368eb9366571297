"""Which trainings next? Bayesian c-optimal design for the exponent of m*(n); design.py says what is offered.

The model is that of the default fit (analysis/thresholds/hierarchical.py): slope that varies with n, scatter of log m*
about the law, lapses, skew. What the design makes small is the very error that the report will state. A batch is chosen
greedily, a few trainings of one cell at a time: those which lower the posterior variance of the exponent most, averaged
over posterior draws. Three things are added, each measured (benchmarks/designs.md, LOG.md):

- A share FLOOR of all trainings is kept even over n, and goes where it lowers the variance of log m* there: left alone,
  the design trains at the smallest and the largest n only, and a bent law would go unseen.
- STEEP times the variance of the log slope, and a little of D-optimality, SHAPE: at m* itself nothing is learnt about
  slope and lapses, an overestimated slope is never corrected, and the search stops too early (without: 75% coverage
  where 8% of trainings lapse, and errors of several standard errors at slope 8).
- The scatter is taken at a high quantile, CAUTION: while it is not known to be small, all n are worth a training.

Pending trainings enter with their expected information. Everything is a pure function of the recorded trainings, the
pending ones and the space: equal data, equal proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.thresholds.hierarchical import SCATTERS, Posterior, hierarchical
from analysis.thresholds.outcomes import Array, Index, Tally
from analysis.thresholds.transition import SHAPES, SLOPE, Model, derivatives
from infra.choosing.space import NEAR, Cell, Space, merge, oriented

FLOOR, SHAPE, STEEP, CAUTION = 0.6, 0.2, 1.0, 0.7  # see above
LOTS = 8  # distinct cells a batch: trainings of one cell form a pack
DRAWS = 32  # of the posterior
WIDEST, FINEST = 32, np.log(2) / 8  # candidate widths per n; their spacing in log m, halved and doubled as needed
FEW_SCATTERS = SCATTERS[1::3]
EXPONENT, REACH = (1.0, 2.0), 3.5  # prior of p: mean and sd; least prior sd of log m*


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


def belief(data: Tally, space: Space) -> Belief:
    """Posterior of the law, its prior being weak: m* in the first range or near it, the exponent 1 +- 2."""
    data = oriented(data, space)
    over = np.union1d(data.over, space.over)
    z = np.log(over) - np.log(over).mean()
    law = np.column_stack([np.ones_like(z), z])[:, : min(len(over), 2)]
    low, high = np.log(space.critical)
    middle, spread = np.array([(low + high) / 2, EXPONENT[0]]), np.array([max((high - low) / 2, REACH), EXPONENT[1]])
    # an empty cell at each n: every n has a threshold, tried or not
    none = np.zeros_like(over)
    every = np.append(data.over, over)
    order = np.argsort(every, kind="stable")
    rows = [data.critical, np.full_like(over, np.exp(middle[0]))], [data.successes, none], [data.trials, none]
    critical, successes, trials = (np.concatenate(row)[order] for row in rows)
    filled = Tally(every[order], critical, successes, trials)
    r = law.shape[1]
    found = hierarchical(
        filled, np.searchsorted(over, filled.over), law, z, np.append(middle[:r], SLOPE[0]), level=space.chance,
        scatters=FEW_SCATTERS, prior=(middle[:r], spread[:r] ** -2),
    )  # fmt: skip
    return Belief(found, over, law, z, data)


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
    level = float(np.log(space.chance / (1 - space.chance)))
    model = Model(np.log(critical), none, none, over, known.law, known.sharpness, level, np.zeros(known.law.shape[1]))
    chance, jacobian = derivatives(model, parameters, np.full(len(parameters), tau))
    return np.asarray(jacobian / np.sqrt(chance * (1 - chance))[:, None])


def best_batch(known: Belief, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """``size`` trainings chosen greedily, in about LOTS lots; see the module's text."""
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
    price = space.cost(known.over[of], m) ** space.thrift
    asked = np.unique(of)
    exponent = np.eye(len(mean))[c - 1]  # with one n only: log m* itself
    chosen: list[Cell] = []
    while size > 0:
        lot = min(size, max(2, round(size / max(1, LOTS - len(chosen)))))
        least = asked[np.argmin(counts[asked])]
        behind = counts[least] < FLOOR * (counts[asked].sum() + lot) / len(asked)
        direction = _threshold(known, least, tau, len(mean)) if behind else exponent
        slope = np.zeros(len(mean))
        slope[c : c + 2] = 1.0, known.sharpness[least] if behind else 0.0
        covariance = np.linalg.inv(information)
        moved = covariance @ v
        spread = 1 / lot + (v * moved).sum(1)  # (D, C)
        gain = ((direction @ moved) ** 2 / spread).mean(0) / (direction @ covariance @ direction)
        gain = gain + STEEP * ((slope @ moved) ** 2 / spread).mean(0)
        gain = (gain + SHAPE / len(mean) * np.log(lot * spread).mean(0)) / price
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
