"""The designs that benchmarks/designs.py compares, each a generator: it yields cells and is sent their successes.

A design knows the values of n and the first range of the width, as a user would, and nothing of the truth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
from scipy.special import expit, xlogy

from analysis.thresholds.outcomes import Array, tally_counts
from infra.choosing.design import Cell, Space, propose

Design = Callable[[Space], Generator[list[Cell], Array, None]]
HALF_OCTAVE = np.log(2) / 2


def widths(space: Space, spacing: float) -> Array:
    low, high = np.log(space.critical)
    return space.widths(np.arange(low, high + 1e-9, spacing), *space.limits)


def full_grid(space: Space) -> Generator[list[Cell], Array, None]:
    """Half octaves over the whole range at every n, one more seed everywhere each round."""
    cells = [Cell(n, float(m), 1) for n in space.over for m in widths(space, HALF_OCTAVE)]
    while True:
        yield cells


def coarse_then_refine(space: Space) -> Generator[list[Cell], Array, None]:
    """Every second octave, four seeds; then half octaves within 1.5 octaves of the crossing, one seed a round."""
    coarse = widths(space, 4 * HALF_OCTAVE)
    won = (yield [Cell(n, float(m), 4) for n in space.over for m in coarse]).reshape(len(space.over), -1)
    fine = []
    for n, row in zip(space.over, won, strict=True):
        at = np.log(coarse[min(int(np.argmax(np.append(row, 9) > 2)), len(coarse) - 1)]) - 2 * HALF_OCTAVE
        near = space.widths(at + HALF_OCTAVE * np.arange(-3, 4), *space.limits)
        fine += [Cell(n, float(m), 1) for m in near]
    while True:
        yield fine


def staircase(space: Space) -> Generator[list[Cell], Array, None]:
    """One up, one down at each n: down after a success; the step halves at reversals, from 4 to 1/4 octaves."""
    low, high = np.log(space.limits)
    over = np.array(space.over)
    at, step = np.full(len(over), np.log(space.critical).mean()), np.full(len(over), 8 * HALF_OCTAVE)
    last = np.zeros(len(over))
    while True:
        m = [float(space.widths(np.array([x]), *space.limits)[0]) for x in at]
        way = 1 - 2 * (yield [Cell(float(n), w, 1) for n, w in zip(over, m, strict=True)])
        step = np.where(way * last < 0, np.maximum(step / 2, HALF_OCTAVE / 2), step)
        last, at = way, np.clip(at + way * step, low, high)


def bayes_per_n(space: Space) -> Generator[list[Cell], Array, None]:
    """QUEST+ at each n alone (Watson 2017, J. Vision 17(3):10): least expected entropy of (m*, slope, lapse)."""
    x = np.log(widths(space, HALF_OCTAVE / 2))
    t, b, lapse = (axis.ravel()[:, None] for axis in np.meshgrid(x, 4.0 ** np.arange(4), [0.01, 0.08]))
    p = (1 - lapse) * np.clip(expit(b * (x - t)), 1e-6, 1 - 1e-6)  # (parameters, candidate widths)
    inside = xlogy(p, p), xlogy(1 - p, 1 - p)
    belief = np.full((len(space.over), len(t)), 1 / len(t))
    while True:
        self = xlogy(belief, belief)
        entropy = np.zeros((len(belief), len(x)))
        for chance, own in zip((p, 1 - p), inside, strict=True):
            total = belief @ chance
            entropy -= self @ chance + belief @ own - xlogy(total, total)
        best = np.argmin(entropy, axis=1)
        won = yield [Cell(n, float(np.exp(x[k])), 1) for n, k in zip(space.over, best, strict=True)]
        belief = belief * np.where(won[:, None] > 0, p[:, best].T, 1 - p[:, best].T)
        belief /= belief.sum(1, keepdims=True)


def ours(space: Space, size: int = 64, flight: int = 1) -> Generator[list[Cell], Array, None]:
    """infra/choosing/design.py, in batches of ``size``, ``flight`` of them under way at a time."""
    rows, waiting = np.zeros((0, 4)), deque[tuple[list[Cell], Array]]()
    while True:
        pending = [cell for cells, _ in waiting for cell in cells]
        cells = propose(tally_counts(*rows.T), pending, space, size)
        waiting.append((cells, (yield cells)))
        if len(waiting) >= flight:
            back, won = waiting.popleft()
            rows = np.vstack([rows, [(m, n, k, lot) for (n, m, lot), k in zip(back, won, strict=True)]])


DESIGNS: dict[str, Design] = {
    "full grid": full_grid,
    "coarse, then refine": coarse_then_refine,
    "staircase per n": staircase,
    "Bayesian per n": bayes_per_n,
    "ours": ours,
    "ours, thrift 0.1": lambda space: ours(replace(space, thrift=0.1)),
    "ours, 4 packs of 32 in flight": lambda space: ours(space, 32, 4),
}
