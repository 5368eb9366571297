"""Does the fit of m*(n) keep its word? Simulated sweeps with a planted law; writes thresholds.md beside this file.

    OMP_NUM_THREADS=1 python benchmarks/thresholds.py [simulations per row, default 400] [rows containing this text]

Every simulation has its own seed, [row, trainings, simulation], so any row can be repeated alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import planted as plant
from planted import Cells, Truth, around, factorial, finite_size, power

from analysis.outcomes import Tally
from analysis.thresholds import fit_fast, fit_threshold

SIZES = (200, 1000, 5000)


@dataclass(frozen=True)
class Row:
    """One truth: its name, section, exponent and how to draw a sweep of a given size from it."""

    name: str
    section: str
    exponent: float
    draw: Callable[[int, np.random.Generator], Tally]
    sizes: tuple[int, ...] = SIZES


def planted(name: str, section: str, truth: Truth, cells: Cells = around) -> Row:
    return Row(name, section, truth.exponent, lambda size, rng: plant.sweep(truth, size, rng, cells))


def steepening(n: np.ndarray) -> np.ndarray:
    return 0.5 * np.sqrt(n)


def bent(n: np.ndarray) -> np.ndarray:
    """Exponent 0.3 up to n = 90, then 1.2."""
    return 8 * (n / 16) ** 0.3 * np.maximum(n / 90, 1) ** 0.9


def shared(_: int, rng: np.random.Generator) -> Tally:
    return plant.shared_seed_sweep(2.0, 40, rng)


ROWS = (
    *(planted(f"p = {p:g}, widths around m*", "known answer", power(p)) for p in (1.0, 1.5, 2.0, 3.0)),
    *(planted(f"p = {p:g}, same widths at all n", "known answer", power(p), factorial) for p in (1.0, 2.0)),
    planted("scatter .15, widths around m*", "disturbed", power(2.0, scatter=0.15)),
    planted("scatter .15, same widths at all n", "disturbed", power(2.0, scatter=0.15), factorial),
    planted("8% fail far above m*", "disturbed", power(2.0, high=0.08), factorial),
    planted("4% fail above, 4% succeed below", "disturbed", power(2.0, low=0.04, high=0.04), factorial),
    planted("slope ~ n^.5", "disturbed", power(2.0, slope=steepening), factorial),
    Row("step m* = n", "exact laws", 1.0, plant.step_sweep),
    Row("Cover's perceptron, d* = n/2", "exact laws", 1.0, plant.cover_sweep),
    planted("n^1.5 (1 + 20/n)", "finite size", finite_size(1.5, 20.0)),
    planted("n^1.5 (1 - 8/n)", "finite size", finite_size(1.5, -8.0)),
    planted("exponent .3, then 1.2 above n = 90", "forms", Truth(1.2, bent)),
    planted("floor: m* = 10 + n/4", "forms", Truth(1.0, lambda n: 10 + n / 4)),
    Row("40 seeds shared by all widths", "shared seeds", 2.0, shared, (4160,)),
)


def simulate(row: Row, index: int, size: int, simulations: int) -> dict[str, float]:
    """Coverage and the rest, over ``simulations`` sweeps of one row and size."""
    found, statuses, spent = [], [], np.zeros(2)
    for simulation in range(simulations):
        data = row.draw(size, np.random.default_rng([index, size, simulation]))
        start = time.perf_counter()
        fast = fit_fast(data)
        middle = time.perf_counter()
        law = fit_threshold(data)
        spent += middle - start, time.perf_counter() - middle
        found.append([fast.exponent, *fast.interval, law.exponent, *law.interval, *law.envelope])
        statuses.append(law.status)
    x = np.array(found) - row.exponent
    covers = [float(np.mean((x[:, a] <= 0) & (x[:, a + 1] >= 0))) for a in (1, 4, 6)]
    error = [float(np.nanmean(x[:, a + 1] - x[:, a]) / 3.92) for a in (1, 4)]
    sd = [float(np.nanstd(x[:, a])) for a in (0, 3)]
    named = {name: statuses.count(name) / simulations for name in dict.fromkeys(statuses)}
    return {
        "fast covers": covers[0], "fast bias": float(np.nanmean(x[:, 0])), "fast SE/SD": error[0] / sd[0],
        "default covers": covers[1], "default bias": float(np.nanmean(x[:, 3])), "default SE/SD": error[1] / sd[1],
        "default SE": error[1], "envelope covers": covers[2], "envelope width": float(np.median(x[:, 7] - x[:, 6])),
        "above": float(np.mean(x[:, 6] > 0)), "above .25": float(np.mean(x[:, 6] > 0.25)),
        "fast ms": 1e3 * spent[0] / simulations, "default ms": 1e3 * spent[1] / simulations,
        "statuses": ", ".join(f"{name} {share:.2f}" for name, share in sorted(named.items(), key=lambda s: -s[1])),
    }  # fmt: skip


COLUMNS = ("fast covers", "fast bias", "fast SE/SD", "default covers", "default bias", "default SE/SD",
           "default SE", "envelope covers", "envelope width", "above", "fast ms", "default ms")  # fmt: skip
FORMATS = {"fast ms": "{:.0f}", "default ms": "{:.0f}", "fast bias": "{:+.4f}", "default bias": "{:+.4f}"}

HEAD = """# Thresholds: coverage of the fitted law

Written by `python benchmarks/thresholds.py`: {simulations} simulations a row, seeds [row, trainings, simulation],
{minutes:.0f} minutes on one core. A share of .95 has a binomial error of {error:.3f}.

*fast*: joint binomial fit, Firth's penalty, profile interval, united with the separating set. *default*: the
hierarchical fit after the comparison of forms, exactly what `fit_threshold` returns. *envelope*: what verdicts use.
*SE* is the interval's width / 3.92, averaged; *SD* the spread of the estimates. *above*: the whole envelope lies above
the true exponent (a theorem with that exponent would be called exceeded, were there no margin at all).
n in 16, 24, 40, 64, 112, 192, 320, 512; widths in half octaves; slope of the logit 4 (Cover: the exact law, eighth
octaves). Under "forms" the exponent asked for is that at large n; an interval there is of the form chosen, and of
those within 2 AICc of it.
"""


def report(done: list[tuple[Row, int, dict[str, float]]], simulations: int, minutes: float) -> str:
    text = [HEAD.format(simulations=simulations, minutes=minutes, error=np.sqrt(0.95 * 0.05 / simulations))]
    for section in dict.fromkeys(row.section for row, _, _ in done):
        text += [f"\n## {section.capitalize()}\n", "| truth | trainings | " + " | ".join(COLUMNS) + " | statuses |"]
        text.append("|---" * (len(COLUMNS) + 3) + "|")
        for row, size, result in (entry for entry in done if entry[0].section == section):
            cells = [FORMATS.get(name, "{:.3f}").format(result[name]) for name in COLUMNS]
            text.append(f"| {row.name} | {size} | " + " | ".join(cells) + f" | {result['statuses']} |")
    return "\n".join(text) + "\n"


def main(simulations: int = 400, only: str = "") -> None:
    start, done = time.perf_counter(), []
    target = Path(__file__).with_suffix(".md") if not only else Path("thresholds-part.md")
    for index, row in enumerate(ROWS):
        for size in row.sizes if only in row.name else ():
            done.append((row, size, simulate(row, index, size, simulations)))
            print(row.name, size, f"{(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
            target.write_text(report(done, simulations, (time.perf_counter() - start) / 60))


if __name__ == "__main__":
    main(*(convert(argument) for convert, argument in zip((int, str), sys.argv[1:], strict=False)))
