"""Stopping hopeless trainings: how often wrong, and what it saves. All are trained to the end; their rows tell.

    python benchmarks/stalls.py [seeds, default 64]

Writes stalls.md beside this file. A false stop is a training that is found out of reach and fits in the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from scipy import stats
from speed import AXES

from infra import records, stalls

ALLOWED = 1e-3


def to_the_end(seeds: int) -> Any:
    """The reference sweep without stops, as a data frame."""
    sweep = Path(__file__).parents[1] / "sweeps" / "width_vs_n.py"
    axes = [f"--{name}={text}" for name, text in AXES.items()]
    with TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(sweep), "--to-the-end", f"--seeds={seeds}", f"--out={folder}", *axes],
                       check=True)  # fmt: skip
        columns = ["n", "m", "d", "outcome", "steps", "stalled_at"]
        return records.read_rows(folder, columns=columns)[0].to_pandas()


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


def main(seeds: int = 64) -> None:
    rows = to_the_end(seeds)
    flagged = rows[rows.stalled_at.notna()]
    wrong = int((flagged.outcome == "fit").sum())
    rate = wrong / max(len(flagged), 1)
    axes = ", ".join(f"{name} {text}" for name, text in AXES.items())
    lines = [
        "# Hopeless trainings stopped: how often wrongly, and what it saves",
        "",
        f"Of {len(flagged):,} trainings found out of reach {wrong} fit in the end: {rate:.1g}"
        f" (at most {ALLOWED:g}: {'met' if rate <= ALLOWED else 'missed'}).",
        "",
        f"`two_layer_relu`, {axes}, {seeds} seeds, each trained to its end: `python benchmarks/stalls.py {seeds}`.",
        f"Looks at powers of two from {stalls.FIRST} steps on, stopped after {stalls.STRIKES} in a row, the kernel's",
        "rates taken 3 times as fast. *saves*: work without stops over work with stops (no audit), n m d a step.",
        "",
        "| | trainings | unfit | found out of reach | of them fit | 95% at most | saves |",
        "|---|---|---|---|---|---|---|",
        line("all", rows),
        *(line(f"n = {n}, d = {d}", part) for (d, n), part in rows.groupby(["d", "n"])),
    ]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
