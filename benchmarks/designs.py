"""How many trainings, and how much compute, until the exponent is known to 0.02? Designs replayed on known truths.

    OMP_NUM_THREADS=1 python benchmarks/designs.py [simulations of ours, default 60] [of the other designs, 16]

Writes designs.md, designs.pdf and designs.png beside this file. Simulation i of a truth has the seed [truth, i] under
every design, so that any cell of the table can be repeated alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from cyclopts import run
from cyclopts.types import PositiveInt
from designs_table import GRID, OURS, RULES, Found, draw, write
from planted import SAMPLES, Truth, finite_size, power
from rivals import DESIGNS, Design
from scipy.special import expit

from analysis.thresholds.fitting import fit_fast, fit_threshold
from analysis.thresholds.outcomes import Array, Tally, tally_counts
from infra.choosing.design import LEAST, Space, standard_error

TARGET = 0.02
MOST, ELSEWHERE = 20_000, 3_000  # most trainings of the full grid, and of the other designs


@dataclass(frozen=True)
class Case:
    """A truth: its name, what it plants, and whether one power law holds (then the interval is asked to cover it)."""

    name: str
    truth: Truth
    holds: bool = True
    step: bool = False

    def chance(self, n: Array, m: Array) -> Array:
        if self.step:
            return (m >= n).astype(float)
        truth = self.truth
        core = expit(truth.slope(n) * (np.log(m) - np.log(truth.critical(n))))
        return np.asarray(truth.low + (1 - truth.low - truth.high) * core)

    @property
    def space(self) -> Space:
        """First range: three octaves beyond m* at the least and at the largest n."""
        ends = self.truth.critical(SAMPLES[[0, -1]]) * [1 / 8, 8]
        low, high = 2.0 ** np.round(np.log2(ends))
        return Space(tuple(SAMPLES), (low, high), (1.0, 8 * high))


CASES = (
    Case("p = 2, slope 4 (reference)", power(2.0)),
    Case("p = 2, slope 40 (steep)", power(2.0, slope=lambda n: np.full_like(n, 40.0))),
    Case("p = 2, slope ~ n^.5, 2 to 11", power(2.0, slope=lambda n: 0.5 * np.sqrt(n))),
    Case("step, m* = n exactly", power(1.0), step=True),
    Case("p = 2, 8% fail far above m*", power(2.0, high=0.08)),
    Case("p = 2, 4% fail above, 4% succeed below", power(2.0, low=0.04, high=0.04)),
    Case("n^1.5 (1 + 20/n)", finite_size(1.5, 20.0), holds=False),
)


def error(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 3.92


def replay(case: Case, design: Design, most: int, rng: np.random.Generator, rules: bool) -> Found:
    """One search, until the default interval / 3.92 is at most TARGET. With ``rules`` also what the law was when each
    of the cheaper standard errors would have stopped it."""
    space, rows = case.space, []
    found: Found = {}
    search = design(space)
    data, cells, spent, steps, checked = tally_counts([], [], [], []), next(search), 0.0, 0, 0
    while True:
        n, m, lot = np.array(cells, dtype=float).T
        won = rng.binomial(lot.astype(int), case.chance(n, m)).astype(float)
        rows.append(np.column_stack([m, n, won, lot]))
        trained = int(sum(block[:, 3].sum() for block in rows))
        if trained >= LEAST and trained >= 1.1 * checked:
            data, checked = tally_counts(*np.vstack(rows).T), trained
            if rules and RULES[0] not in found and error(fit_fast(data).interval) <= TARGET:
                found[RULES[0]] = note(case, data)
            small = standard_error(data, space) <= TARGET
            if small and rules and RULES[1] not in found:
                found[RULES[1]] = note(case, data)
            if trained >= most or (small and error(fit_threshold(data).interval) <= TARGET):
                break
        start = time.perf_counter()
        cells = search.send(won)
        spent, steps = spent + time.perf_counter() - start, steps + 1
    found[RULES[2]] = {**note(case, data), "ms": 1e3 * spent / max(1, steps)}
    return found


def note(case: Case, data: Tally) -> dict[str, float]:
    """The law on what a search has collected, held against the truth."""
    law, space, p = fit_threshold(data), case.space, case.truth.exponent
    return {
        "trainings": data.trainings,
        "cost": float(space.cost(data.over, data.critical) @ data.trials),
        "miss": law.exponent - p,
        "covers": law.interval[0] <= p <= law.interval[1],
        "envelope": law.envelope[0] <= p <= law.envelope[1],
        "reached": error(law.interval) <= TARGET,
        "se": error(law.interval),
    }


def main(simulations: PositiveInt = 60, others: PositiveInt = 16) -> None:
    start, done, target = time.perf_counter(), {}, Path(__file__).with_suffix(".md")
    truths = {case.name: case.holds for case in CASES}
    for index, case in enumerate(CASES):
        for name, design in DESIGNS.items():
            own, most = name == OURS, MOST if name == GRID else ELSEWHERE
            count = simulations if own else 2 * others if name == GRID else others
            seeds = ([index, i] for i in range(1 if case.step else count))  # a step leaves nothing to chance
            done[case.name, name] = [replay(case, design, most, np.random.default_rng(seed), own) for seed in seeds]
            minutes = (time.perf_counter() - start) / 60
            print(f"{case.name}: {name}, {minutes:.1f} minutes", flush=True)
            write(
                done, truths, target, simulations=simulations, others=others, minutes=minutes,
                least=LEAST, most=ELSEWHERE, grid=MOST,
            )  # fmt: skip
    draw(done, truths, target)


if __name__ == "__main__":
    run(main)
