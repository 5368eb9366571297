"""How many trainings, and how much compute, until the exponent is known to 0.02? Designs replayed on known truths.

    OMP_NUM_THREADS=1 python benchmarks/designs.py [simulations of ours, default 40] [of the others, 12] [truths with this text]

Writes designs.md, designs.pdf and designs.png beside this file. Simulation i of a truth has the seed [truth, i] under
every design, so that any cell of the table can be repeated alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests")]

from planted import SAMPLES, Truth, finite_size, power
from rivals import DESIGNS, Design
from scipy.special import expit

from analysis.figures import STYLE
from analysis.outcomes import Array, Tally, tally_counts
from analysis.thresholds import fit_fast, fit_threshold
from infra.design import LEAST, Space, standard_error

TARGET = 0.02
MOST = {"full grid": 30_000}
ELSEWHERE = 3_000  # most trainings of the other designs
OURS = "ours"
RULES = ("Firth's interval", "the design's model", "the default interval")


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


Found = dict[str, dict[str, float]]  # by the rule that stops: what the law was then
Done = dict[tuple[str, str], list[Found]]  # by truth and design


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


def mean(found: list[Found], key: str, rule: str = RULES[2]) -> float:
    """Mean over the simulations; of "miss", the root of the mean square."""
    values = np.array([entry[rule][key] for entry in found if rule in entry], dtype=float)
    if not len(values):
        return float("nan")
    return float(np.sqrt(np.nanmean(values**2))) if key == "miss" else float(np.mean(values))


HEAD = """# Designs: trainings and compute until the exponent is known to 0.02

{verdict}

Written by `OMP_NUM_THREADS=1 python benchmarks/designs.py {simulations} {others}`: {simulations} simulations a row for ours, {others} for the
others, seeds [truth, simulation], {minutes:.0f} minutes on one core. A share of .95 of ours has a binomial error of {error:.3f}.

Eight n from 16 to 512. Every design knows the first range of widths, three octaves beyond m* at either end, and nothing
more. Each search runs from 300 trainings on, looked at whenever it has grown by a tenth, until the interval of `fit_threshold`, as a report would print it, is at
most 0.02 x 3.92 wide, or to 6,000 trainings (full grid 30,000); *reached* is the share that got there. *trainings* and
*cost* are means; a training costs m n^2, and the unit is the full grid's cost to the same target on the same truth.
*error*: root mean square of exponent - truth. *interval*, *envelope*: the share that contains the truth. *ms*: of the
design's own computing per batch (64 trainings for ours).

full grid: half octaves over the range at every n. coarse, then refine: every second octave with 4 seeds, then half octaves
within 1.5 octaves of the crossing. staircase: one up, one down at each n. Bayesian per n: QUEST+ at each n alone.
ours: `infra/design.py`, batches of at most 64. Under a finite-size correction no single power law holds: the
interval need not cover, the envelope should.
"""


def lines(case: Case, done: Done) -> list[str]:
    text = [f"\n## {case.name}\n"]
    text.append(
        "| design | reached | trainings | grid's / its | cost | error | interval | envelope | ms |\n" + "|---" * 9 + "|"
    )
    grid = done.get((case.name, "full grid"), [])
    for name in DESIGNS:
        found = done.get((case.name, name))
        if found:
            part = [mean(grid, key) / mean(found, key) for key in ("trainings", "cost")]
            text.append(
                f"| {name} | {mean(found, 'reached'):.2f} | {mean(found, 'trainings'):,.0f} | {part[0]:.1f} | 1/{part[1]:.1f} | "
                f"{mean(found, 'miss'):.4f} | {mean(found, 'covers'):.2f} | {mean(found, 'envelope'):.2f} | {mean(found, 'ms'):.0f} |"
            )
    return text


def rules_table(done: Done) -> list[str]:
    """Where each standard error would have stopped our design."""
    text = [
        RULES_HEAD,
        "| truth | stopped by | stopped | trainings | SE it prints | error | interval |\n" + "|---" * 7 + "|",
    ]
    for case in CASES:
        found = done.get((case.name, OURS), [])
        for rule in RULES if found else ():
            share = float(np.mean([rule in entry for entry in found]))
            text.append(
                f"| {case.name} | {rule} | {share:.2f} | {mean(found, 'trainings', rule):,.0f} | {mean(found, 'se', rule):.4f} | "
                f"{mean(found, 'miss', rule):.4f} | {mean(found, 'covers', rule):.2f} |"
            )
    return text


RULES_HEAD = """
## Which standard error to stop by

The same searches of ours, and the law as it stood when each standard error first fell to 0.02. *SE it prints*: what
`fit_threshold` says then, its interval / 3.92. *error* and *interval* as above.
"""


def verdict(done: Done) -> str:
    """The bars, and whether they are met."""
    grid, own = done.get((CASES[0].name, "full grid")), done.get((CASES[0].name, OURS))
    if not grid or not own:
        return "Not finished."
    few, cheap = (mean(grid, key) / mean(own, key) for key in ("trainings", "cost"))
    held = [
        (case.name, mean(done[case.name, OURS], "covers")) for case in CASES if case.holds and (case.name, OURS) in done
    ]
    slow = max(mean(found, "ms") for (_, name), found in done.items() if name.startswith(OURS))
    worst = min(held, key=lambda entry: entry[1])
    return (
        f"On the reference truth ours takes 1/{few:.1f} of the grid's trainings (asked: 1/12, {yes(few >= 12)}) and 1/{cheap:.1f} "
        f"of its compute (asked: 1/8, {yes(cheap >= 8)}).\nWhere a power law holds, its final interval covers the truth in at "
        f"least {worst[1]:.0%} (on: {worst[0]}; asked: 90%, {yes(worst[1] >= 0.9)}).\nA batch of 64 takes {slow:.0f} ms at most to "
        f"choose: below 5% of its training time wherever a training near m* takes {slow / 0.05 / 64:.1f} ms or more on average."
    )


def yes(met: bool) -> str:
    return "met" if met else "**not met**"


COLOURS = ("0.45", "#8c6bb1", "#41ab5d", "#2171b5", "#d7301f", "#fc8d59")


def draw(done: Done) -> None:
    """Trainings and compute to the target for every truth and design, the grid being 1; hollow where many fell short."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, key in zip(panels, ("trainings", "cost"), strict=True):
            for colour, name in zip(COLOURS, DESIGNS, strict=True):
                x = [mean(done[case.name, name], key) / mean(done[case.name, "full grid"], key) for case in CASES]
                full = [mean(done[case.name, name], "reached") > 0.9 for case in CASES]
                face = [colour if whole else "white" for whole in full]
                axes.scatter(x, range(len(CASES)), s=42, c=face, edgecolors=colour, label=name, zorder=3)
            axes.set_xscale("log")
            axes.grid(axis="x", color="0.9", lw=0.6)
            axes.axvline(1 / (12 if key == "trainings" else 8), color="#111111", ls="--", lw=1)
        panels[0].set_yticks(range(len(CASES)), [case.name for case in CASES])
        panels[0].invert_yaxis()
        panels[0].set_xlabel("trainings to SE 0.02, full grid = 1 (dashed: 1/12)")
        panels[1].set_xlabel("compute to SE 0.02, full grid = 1 (dashed: 1/8)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(DESIGNS), columnspacing=1.0, handletextpad=0.2
        )
        for ending in ("pdf", "png"):
            figure.savefig(Path(__file__).with_suffix(f".{ending}"))


def write(done: Done, simulations: int, others: int, minutes: float, target: Path) -> None:
    share = np.sqrt(0.95 * 0.05 / simulations)
    head = HEAD.format(verdict=verdict(done), simulations=simulations, others=others, minutes=minutes, error=share)
    text = [head, *(line for case in CASES for line in lines(case, done)), *rules_table(done)]
    target.write_text("\n".join(text) + "\n")


def main(simulations: int = 40, others: int = 12, only: str = "") -> None:
    start, done = time.perf_counter(), {}
    target = Path(__file__).with_suffix(".md") if not only else Path("designs-part.md")
    for index, case in enumerate(CASES):
        for name, design in DESIGNS.items() if only in case.name else ():
            own, most = name == OURS, MOST.get(name, ELSEWHERE)
            seeds = ([index, i] for i in range(simulations if own else others))
            done[case.name, name] = [replay(case, design, most, np.random.default_rng(seed), own) for seed in seeds]
            minutes = (time.perf_counter() - start) / 60
            print(f"{case.name}: {name}, {minutes:.1f} minutes", flush=True)
            write(done, simulations, others, minutes, target)
    if not only:
        draw(done)


if __name__ == "__main__":
    main(*(convert(argument) for convert, argument in zip((int, int, str), sys.argv[1:], strict=False)))
