"""Stopping hopeless trainings: how often wrong, and what it saves. All are trained to the end; their rows tell.

    python benchmarks/stalls.py [seeds, default 64]

Writes stalls.md beside this file. A false stop is a training that is found out of reach and fits in the end. The seeds
are others than those on which the rule was chosen; settings with large n take a quarter of them.
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
FIRST_SEED = 3000
WIDE = {"n": "64:512:octave", "m": "2:128:octave"}
NEAR = {"n": "32:128:octave", "m": "8:64:octave"}  # around the threshold, and cheap
FEW = {"n": "16,23,32", "m": "6,8,11,16,23", "d": "8"}
SETTINGS: dict[str, tuple[int, dict[str, str]]] = {  # beside the reference sweep: what part of the seeds, and the axes
    "small and large weights": (4, WIDE | {"init_scale": "0.1,3"}),
    "small steps": (4, WIDE | {"step_size": "0.3"}),
    "large steps, other labels": (4, WIDE | {"step_size": "1.5", "labels": "gauss"}),
    "noisy inputs": (4, WIDE | {"noise": "0.3"}),
    "fewer dimensions": (4, WIDE | {"d": "8"}),
    "few samples": (1, FEW),
    "few samples, small steps": (1, FEW | {"step_size": "0.1,0.3"}),
    "few samples, long budgets": (1, FEW | {"d": "8,16", "budget": "200", "max_steps": "30000"}),
    "few dimensions": (1, NEAR | {"d": "4"}),
    "small weights": (1, NEAR | {"init_scale": "0.1"}),
    "large weights": (1, NEAR | {"init_scale": "3"}),
    "loose tolerance": (1, NEAR | {"n": "32:256:octave", "tolerance": "0.01,0.1"}),
    "strict tolerance": (1, NEAR | {"tolerance": "1e-5", "budget": "60"}),
    "noisy labels": (1, NEAR | {"label_noise": "0.5"}),
    "noisier inputs": (1, NEAR | {"noise": "0.5"}),
}
COLUMNS = ("n", "m", "d", "outcome", "steps", "stalled_at")


def looked_at(part: Pack) -> list[dict[str, Any]]:
    """A pack with looks and without stops: every training is audited."""
    torch.set_num_threads(1)
    stalls.AUDIT = 1.0
    run = pack.start(part.family, plan.from_columns(part.family, part.columns, part.size), to_the_end=False)
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


def line(name: str, rows: Any) -> str:
    """One row of the table."""
    flagged = rows[rows.stalled_at.notna()]
    wrong = int((flagged.outcome == "fit").sum())
    work = rows.n * rows.m * rows.d
    stopped = rows.stalled_at.fillna(rows.steps)
    saved = float((work * rows.steps).sum() / (work * stopped).sum())
    high = stats.binomtest(wrong, len(flagged)).proportion_ci(0.95, method="exact").high if len(flagged) else 1.0
    unfit = int((rows.outcome == "unfit").sum())
    return f"| {name} | {len(rows):,} | {unfit:,} | {len(flagged):,} | {wrong} | {high:.2g} | {saved:.1f} |"


def main(seeds: PositiveInt = 64) -> None:
    reference = to_the_end(AXES, seeds)
    others = {name: to_the_end(axes, max(1, seeds // part)) for name, (part, axes) in SETTINGS.items()}
    rows = pd.concat([reference, *others.values()])
    flagged = rows[rows.stalled_at.notna()]
    wrong = int((flagged.outcome == "fit").sum())
    most = stats.binomtest(wrong, len(flagged)).proportion_ci(0.95, method="exact").high
    axes = "; ".join(f"{name} {text}" for name, text in AXES.items())
    lines = [
        "# Hopeless trainings stopped: how often wrongly, and what it saves",
        "",
        f"Of {len(flagged):,} trainings found out of reach {wrong} fit in the end: at most {most:.2g}"
        f" of them by the 95% limit ({ALLOWED:g}: {'shown' if most <= ALLOWED else 'not shown'}).",
        "",
        f"`two_layer_relu`, {axes}; {seeds} seeds, each trained to its end: `python",
        f"benchmarks/stalls.py {seeds}`; other settings below. Looked at from {stalls.FIRST} steps on, from"
        f" {stalls.PLATEAU:,} where the loss is at most that of 16 samples at output 0 (divided by the step size where"
        f" that is below 1), eight times an octave, stopped after {stalls.LOOKS} looks in a row.",
        "*saves*: work without stops over work with stops (no audit), n m d a step.",
        "",
        "| | trainings | unfit | found out of reach | of them fit | 95% at most | saves |",
        "|---|---|---|---|---|---|---|",
        line("all", rows),
        line("the reference sweep", reference),
        *(line(f"n = {n}, d = {d}", part) for (d, n), part in reference.groupby(["d", "n"])),
        *(line(name, part) for name, part in others.items()),
        "",
        *(f"- {name}: {', '.join(f'{axis} {text}' for axis, text in SETTINGS[name][1].items())}" for name in others),
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
