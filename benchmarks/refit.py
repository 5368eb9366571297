"""How long a refit takes beside statsmodels' GLM, which has neither penalty nor profile interval nor status.

    OMP_NUM_THREADS=1 python -m benchmarks.refit        # writes benchmarks/refit.md

The two are interleaved, one fit each in turn, on the same planted trainings (p = 1.5, slope 4, 8 n, 16 widths each,
seed 11; or no width twice, which the fits merge into at most 400 cells, analysis/thresholds/merging.py; or neither n
nor width twice). Statsmodels is given the single trainings, as its users do, and the counts per (n, m).
"""

import itertools
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from cyclopts import run

from analysis.thresholds.fitting import fit_fast, fit_threshold
from analysis.thresholds.outcomes import tally

ROUNDS = 9
NS = np.array([16, 24, 40, 64, 112, 192, 320, 512])


GRID, WIDTHS, BOTH = "8 n, 16 m each", "8 n, every m distinct", "every n and m distinct"


def planted(trainings: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    n = np.repeat(NS, trainings // len(NS)).astype(float)
    if kind == BOTH:
        n = np.exp(rng.uniform(np.log(16), np.log(512), n.size))
    octaves = rng.integers(-8, 8, n.size) / 2 if kind == GRID else rng.uniform(-4, 4, n.size)
    m = 2 * n**1.5 * 2.0**octaves
    m = np.round(m) if kind == GRID else m
    return m, n, (rng.random(n.size) < 1 / (1 + (m / (2 * n**1.5)) ** -4.0)).astype(float)


def glm(m: np.ndarray, n: np.ndarray, k: np.ndarray, trials: np.ndarray | None = None) -> None:
    design = np.column_stack([np.ones(len(m)), np.log(m), np.log(n)])
    sm.GLM(k if trials is None else np.column_stack([k, trials - k]), design, family=sm.families.Binomial()).fit()


def interleaved(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):  # the first warms up
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - began)
    return {name: times[1:] for name, times in seconds.items()}


def main() -> None:
    lines = ["# A refit beside statsmodels' GLM", "", str(__doc__).strip().splitlines()[0], ""]
    lines += [
        "Medians of interleaved rounds; ratio: to statsmodels on single trainings, with the spread over rounds.",
        "",
    ]
    lines += ["| trainings | data | what | milliseconds | ratio (min to max) |", "|---|---|---|---|---|"]
    for trainings, kind in itertools.product((2_000, 100_000), (GRID, WIDTHS, BOTH)):
        m, n, success = planted(trainings, kind)
        data = tally(m, n, success)
        tasks: dict[str, Callable[[], object]] = {
            "statsmodels GLM, single trainings": partial(glm, m, n, success),
            "statsmodels GLM, counts": partial(glm, data.critical, data.over, data.successes, data.trials),
            "tally": partial(tally, m, n, success),
            "fit_fast (live display)": partial(fit_fast, data),
            "fit_threshold (default)": partial(fit_threshold, data),
        }
        times = interleaved(tasks, ROUNDS)
        base = times["statsmodels GLM, single trainings"]
        for name, values in times.items():
            ratios = [value / other for value, other in zip(values, base, strict=True)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| {trainings:,} | {kind} | {name} | {1000 * statistics.median(values):.1f} | {spread} |")
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
