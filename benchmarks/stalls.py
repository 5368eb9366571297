"""Stopping hopeless trainings: how often wrong, and what it saves. All are trained to the end; their rows tell.

    python benchmarks/stalls.py [seeds, default 64]

Writes stalls.md beside this file. A false stop is a training that is found out of reach and fits in the end. The seeds
are others than those on which the rule was chosen; settings with large n take an eighth, others half.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from dataclasses import replace

import pandas as pd
import torch
from cyclopts import run
from cyclopts.types import PositiveInt
from joblib import Parallel, delayed
from scipy import stats
from speed import AXES

from infra import options
from infra.packing import pack, stalls
from infra.planning import plan
from infra.planning.packs import Pack
from sweeps.width_vs_n import SWEEP

ALLOWED = 1e-3
FIRST_SEED = 4000
WIDE = {"n": "64:512:octave", "m": "2:128:octave"}
NEAR = {"n": "64:128:half-octave", "m": "8:64:octave"}  # around the threshold, and cheap
LONG = {"budget": "100", "max_steps": "30000"}
SETTINGS: dict[str, tuple[int, dict[str, str]]] = {  # beside the reference sweep: what part of the seeds, and the axes
    "wide: small and large weights": (8, WIDE | {"init_scale": "0.1,3"}),
    "wide: large steps, other labels": (8, WIDE | {"step_size": "1.5", "labels": "gauss"}),
    "wide: noisy inputs": (8, WIDE | {"noise": "0.3"}),
    "wide: fewer dimensions": (8, WIDE | {"d": "8"}),
    "small steps": (2, NEAR | {"step_size": "0.1,0.3", "max_steps": "30000"}),
    "few dimensions": (2, NEAR | {"d": "4"}),
    "long budgets": (2, NEAR | {"d": "8,16"} | LONG),
    "long budgets, few dimensions": (2, NEAR | {"d": "4"} | LONG),
    "long budgets, other labels": (2, NEAR | {"labels": "gauss"} | LONG),
    "few samples, long budgets": (2, {"n": "16,23,32", "m": "6,8,11,16", "d": "4,8"} | LONG),
    "small weights": (2, NEAR | {"init_scale": "0.1"}),
    "large weights": (2, NEAR | {"init_scale": "3"}),
    "loose tolerance": (2, NEAR | {"tolerance": "0.01,0.1"}),
    "strict tolerance": (2, NEAR | {"tolerance": "1e-5", "budget": "60"}),
    "noisy labels": (2, NEAR | {"label_noise": "0.5"}),
    "noisier inputs": (2, NEAR | {"noise": "0.5"}),
}
COLUMNS = ("n", "m", "d", "outcome", "steps", "stalled_at")


def looked_at(part: Pack) -> list[dict[str, Any]]:
    """A pack without stops: its rows tell where one would have been."""
    torch.set_num_threads(1)
    run = pack.start(part.family, plan.from_columns(part.family, part.columns, part.size))
    while not pack.finished(run):
        pack.advance(run)
    return [{name: row[name] for name in COLUMNS} for row in pack.rows(run)]


def to_the_end(axes: dict[str, str], seeds: int) -> Any:
    """A sweep, as a data frame."""
    request = options.parse(SWEEP, [f"--{name}={text}" for name, text in axes.items()])
    assert request is not None
    cells = plan.grid(request.family, request.axes, seeds)
    parts = plan.packs(request.family, [replace(cell, seed=FIRST_SEED + cell.seed) for cell in cells], at_least=2)
    return pd.DataFrame(
        [row for rows in Parallel(n_jobs=2)(delayed(looked_at)(part) for part in parts) for row in rows]
    )


def limit(wrong: int, flagged: int) -> float:
    """The upper end of the 95% interval of a rate (Clopper, Pearson)."""
    return float(stats.binomtest(wrong, flagged).proportion_ci(0.95, method="exact").high) if flagged else 1.0


def line(name: str, rows: Any) -> str:
    """One row of the table."""
    flagged = rows[rows.stalled_at.notna()]
    wrong, fits = int((flagged.outcome == "fit").sum()), int((rows.outcome == "fit").sum())
    work = rows.n * rows.m * rows.d
    stopped = rows.stalled_at.fillna(rows.steps)
    saved = float((work * rows.steps).sum() / (work * stopped).sum())
    most = f"{limit(wrong, len(flagged)):.2g}" if len(flagged) else ""
    return f"| {name} | {len(rows):,} | {fits:,} | {len(flagged):,} | {wrong} | {most} | {saved:.1f} |"


def main(seeds: PositiveInt = 64) -> None:
    reference = to_the_end(AXES, seeds)
    print(HEAD, line("the reference sweep", reference), sep="\n", flush=True)
    others = {}
    for name, (part, axes) in SETTINGS.items():
        others[name] = to_the_end(axes, max(1, seeds // part))
        print(line(name, others[name]), flush=True)
    rows = pd.concat([reference, *others.values()])
    flagged = rows[rows.stalled_at.notna()]
    wrong = int((flagged.outcome == "fit").sum())
    most = limit(wrong, len(flagged))
    lines = [
        "# Hopeless trainings stopped: how often wrongly, and what it saves",
        "",
        f"Of {len(flagged):,} trainings found out of reach {wrong} fit in the end: at most {most:.2g}"
        f" of them by the 95% limit ({ALLOWED:g}: {'shown' if most <= ALLOWED else 'not shown'}).",
        "That is over all settings below, as they are weighted here; of one setting alone its line tells.",
        "",
        f"`two_layer_relu`, each training to its end: `python benchmarks/stalls.py {seeds}`. Looked at from"
        f" {stalls.FIRST} steps on (divided by the step size where that is below 1), eight times an octave,"
        " never where the loss is at most that of 16 samples at output 0; out of reach after"
        f" {stalls.LOOKS} looks in a row. *saves*: work without stops over work with stops (no audit), n m d a step.",
        "",
        HEAD,
        line("all", rows),
        line("the reference sweep", reference),
        *(line(f"n = {n}, d = {d}", part) for (d, n), part in reference.groupby(["d", "n"])),
        *(line(name, part) for name, part in others.items()),
        "",
        f"- the reference sweep: {said(AXES)}, {seeds} seeds",
        *(f"- {name}: {said(axes)}, {max(1, seeds // part)} seeds" for name, (part, axes) in SETTINGS.items()),
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


HEAD = """\
| | trainings | fit | found out of reach | of them fit | 95% at most | saves |
|---|---|---|---|---|---|---|"""


def said(axes: dict[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in axes.items())


if __name__ == "__main__":
    run(main)
