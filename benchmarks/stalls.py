"""Stopping hopeless trainings: how often wrong, and what it saves. All are trained to the end; their rows tell.

    python benchmarks/stalls.py [seeds, default 64]

Writes stalls.md beside this file. A false stop is a training that is found out of reach and fits in the end. The seeds
are others than those on which the rule was chosen; the reference sweep takes all of them, other settings half.
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
FIRST_SEED = 2000
NARROW = {"n": "64:512:octave", "m": "2:128:octave"}
SETTINGS: dict[str, dict[str, str]] = {  # beside the reference sweep
    "small and large weights": NARROW | {"init_scale": "0.1,3"},
    "small steps": NARROW | {"step_size": "0.3"},
    "large steps, other labels": NARROW | {"step_size": "1.5", "labels": "gauss"},
    "noisy inputs": NARROW | {"noise": "0.3"},
    "fewer dimensions": NARROW | {"d": "8"},
    "small steps, few samples": {"n": "16,23", "m": "6,8,11,16", "d": "8", "step_size": "0.1"},
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
    others = {name: to_the_end(axes, max(1, seeds // 2)) for name, axes in SETTINGS.items()}
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
        f"benchmarks/stalls.py {seeds}`; other settings with {max(1, seeds // 2)} seeds. Looked at from {stalls.FIRST}"
        f" steps on, eight times an octave, stopped after {stalls.LOOKS} looks in a row.",
        "*saves*: work without stops over work with stops (no audit), n m d a step.",
        "",
        "| | trainings | unfit | found out of reach | of them fit | 95% at most | saves |",
        "|---|---|---|---|---|---|---|",
        line("all", rows),
        line("the reference sweep", reference),
        *(line(f"n = {n}, d = {d}", part) for (d, n), part in reference.groupby(["d", "n"])),
        *(line(name, part) for name, part in others.items()),
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
