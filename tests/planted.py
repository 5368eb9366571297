"""Simulated sweeps with a known law, shared by the tests and the benchmark of thresholds.

n takes eight values from 16 to 512. Widths lie on a grid of half octaves, either around the truth at each n, as a
first coarse pass leaves them (``around``), or the same at every n, as a plain sweep has them (``factorial``).
Trainings are dealt evenly over the cells. All randomness comes from the generator passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import binom

from analysis.thresholds.outcomes import Array, Tally, tally, tally_counts

SAMPLES = np.array([16.0, 24.0, 40.0, 64.0, 112.0, 192.0, 320.0, 512.0])
SLOPE = 4.0  # of the logit in log m: success rises from 10% to 90% over a factor of three


@dataclass(frozen=True)
class Truth:
    """m*(n), the exponent to recover, the slope of the logit at each n, the sd of log m* about the law, and
    the rates of success far below (``low``) and of failure far above (``high``)."""

    exponent: float
    critical: Callable[[Array], Array]
    slope: Callable[[Array], Array] = lambda n: np.full_like(n, SLOPE)
    scatter: float = 0.0
    low: float = 0.0
    high: float = 0.0


def power(p: float, **more: object) -> Truth:
    return Truth(p, lambda n: n**p, **more)  # type: ignore[arg-type]


def finite_size(p: float, shift: float) -> Truth:
    """m* = n^p (1 + shift / n)."""
    return Truth(p, lambda n: n**p * (1 + shift / n))


def around(truth: Truth) -> tuple[Array, Array]:
    """Cells (m, n): widths within a factor of 8 of m*(n)."""
    cells = []
    for n, middle in zip(SAMPLES, 2 * np.log2(truth.critical(SAMPLES)), strict=True):
        cells += [(2.0 ** (e / 2), n) for e in np.arange(np.ceil(middle - 6), np.floor(middle + 6) + 1)]
    m, n = np.array(cells).T
    return m, n


def factorial(truth: Truth) -> tuple[Array, Array]:
    """Cells (m, n): the same widths at every n, from a factor of 4 below the least m* to 4 above the greatest."""
    critical = np.log2(truth.critical(SAMPLES))
    widths = 2.0 ** np.arange(np.floor(critical.min() - 2), critical.max() + 2.5, 0.5)
    m, n = np.meshgrid(widths, SAMPLES)
    return m.ravel(), n.ravel()


Cells = Callable[[Truth], tuple[Array, Array]]


def deal(trainings: int, cells: int, rng: np.random.Generator) -> Array:
    """Trainings per cell: even, the remainder to random cells."""
    trials = np.full(cells, trainings // cells)
    trials[rng.permutation(cells)[: trainings % cells]] += 1
    return trials.astype(float)


def sweep(truth: Truth, trainings: int, rng: np.random.Generator, cells: Cells = around) -> Tally:
    m, n = cells(truth)
    shift = dict(zip(SAMPLES, truth.scatter * rng.standard_normal(len(SAMPLES)), strict=True))
    centre = np.log(truth.critical(n)) + np.array([shift[v] for v in n])
    core = expit(truth.slope(n) * (np.log(m) - centre))
    chance = truth.low + (1 - truth.low - truth.high) * core
    trials = deal(trainings, len(m), rng)
    return tally_counts(m, n, rng.binomial(trials.astype(int), chance), trials)


def step_sweep(trainings: int, rng: np.random.Generator) -> Tally:
    """Interpolation by random features: success iff m >= n, exactly. The phase of the widths is random."""
    widths = 2.0 ** (rng.uniform(0, 0.5) + np.arange(2, 12, 0.5))
    m, n = (part.ravel() for part in np.meshgrid(widths, SAMPLES))
    near = np.abs(np.log2(m / n)) < 3
    m, n = m[near], n[near]
    trials = deal(trainings, len(m), rng)
    return tally_counts(m, n, trials * (m >= n), trials)


def cover(n: Array, d: Array) -> Array:
    """Cover (1965): the chance that n random points in d dimensions are linearly separable,
    2^(1-n) sum_{k<d} C(n-1, k) = P(Binomial(n-1, 1/2) < d)."""
    return np.asarray(binom.cdf(d - 1, n - 1, 0.5))


def cover_sweep(trainings: int, rng: np.random.Generator) -> Tally:
    """The perceptron: the dimension d is the critical axis; d* = n / 2 exactly, slope in log d ~ sqrt n."""
    cells = sorted({(float(np.round(n / 2 * 2.0**e)), n) for n in SAMPLES for e in np.arange(-1, 1.01, 0.125)})
    d, n = np.array(cells).T
    trials = deal(trainings, len(d), rng)
    return tally_counts(d, n, rng.binomial(trials.astype(int), cover(n, d)), trials)


def shared_seed_sweep(p: float, seeds: int, rng: np.random.Generator, keep_seeds: bool = True) -> Tally:
    """Each (n, seed) has one threshold of its own, logistic about n^p, and meets every width: a step per seed."""
    m, n = around(power(p))
    trains = np.repeat(np.arange(len(m)), seeds)
    seed = np.tile(np.arange(seeds), len(m))
    own = {v: rng.logistic(p * np.log(v), 1 / SLOPE, seeds) for v in SAMPLES}
    success = [np.log(m[c]) >= own[n[c]][s] for c, s in zip(trains, seed, strict=True)]
    return tally(m[trains], n[trains], success, seed if keep_seeds else None)
