"""Do all cores have work to the end? Timelines of sweeps through the real command, one bar a pack.

    python benchmarks/balance.py [rounds, default 3]

Writes balance.md, balance.pdf and balance.png beside this file; the figure is of the last round.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import matplotlib as mpl
from cyclopts import run
from cyclopts.types import PositiveInt
from matplotlib.figure import Figure
from speed_table import spread

from analysis.figures.style import STYLE, encoded
from analysis.figures.timeline import Timeline, draw_bars, timeline
from infra.store import records

CASES = {  # a sweep and its options
    "the default sweep": "width_vs_n",
    "very different packs": "width_vs_n --n=16:512:octave --m=16:256:octave --seeds=3",
    "few long packs": "clustering",
    "one long pack": "width_vs_n --n=16,64 --m=64 --seeds=50 --tolerance=1e-12 --budget=200 --to-the-end",
}


TRIED = """\
A pack is cut where that shortens the whole by a twentieth although a quarter of its time were not to shrink. Tried and
given up: to cut whatever is longer than an eighth of a core's share. The idle time went, and the training took
half as long again, and twice as long (on an earlier day: `clustering` in 18 packs instead of 4, and with `--k=8,32
--init_scale=0.01,0.1` in 15 instead of 2), since a step of small operations takes a core nearly as long for 10
trainings as for 80."""


def measured(sweep: str, *options: str) -> tuple[Timeline, str]:
    """A sweep's timeline and the axis its packs are told apart by."""
    with TemporaryDirectory() as out:
        command = [sys.executable, str(Path(__file__).parents[1] / "sweeps" / f"{sweep}.py"), *options, f"--out={out}"]
        subprocess.run(command, check=True, capture_output=True)
        (recipe,) = records.read_plans(out)
        found = timeline(records.plan_rows(out, recipe), recipe["over"])
    assert found
    return found, recipe["over"]


def draw(found: dict[str, tuple[Timeline, str]]) -> Figure:
    with mpl.rc_context(STYLE | {"axes.titlelocation": "right", "axes.titlesize": 9}):
        figure = Figure(figsize=(8.6, 1.6 * len(found)))
        for axes, (name, (one, over)) in zip(figure.subplots(len(found), 1), found.items(), strict=True):
            draw_bars(axes, one, 1.0, over)
            axes.set_xlim(0, one.runs[-1][1])
            axes.set_title(name, y=1.02)
            axes.set_xlabel("time since the first pack began (s)")
        return figure


def main(rounds: PositiveInt = 3) -> None:
    found: dict[str, list[tuple[Timeline, str]]] = {name: [] for name in CASES}
    for round_ in range(rounds):
        for name, case in CASES.items():
            found[name].append(measured(*case.split()))
        print(f"round {round_ + 1} of {rounds}", flush=True)
    lines = [
        "# Balance", "",
        f"Written by `python benchmarks/balance.py {rounds}` on {os.cpu_count()} cores: median (least to most) of "
        f"{rounds} interleaved rounds, the figure is of the last. *idle at the end*: share of the workers' time in "
        "which a worker has no pack left while another still trains; *idle*: all of it, also the time between two "
        "packs, in which a worker waits for the driver and for the files of its rows.", "",
        "![Timelines](balance.png)", "",
        "| | sweep | packs | training, s | longest pack, s | idle at the end | idle |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, each in found.items():
        timelines = [one for one, _ in each]
        numbers = (
            spread([len(one.begin) for one in timelines], ".0f"),
            spread([one.runs[-1][1] for one in timelines], ".1f"),
            spread([float((one.end - one.begin).max()) for one in timelines], ".1f"),
            spread([one.idle_at_the_end for one in timelines], ".1%"),
            spread([one.idle for one in timelines], ".1%"),
        )
        lines.append(f"| {name} | `{CASES[name]}` | {' | '.join(numbers)} |")
    lines += ["", TRIED]
    last = {name: each[-1] for name, each in found.items()}
    for kind in ("pdf", "png"):
        Path(__file__).with_suffix(f".{kind}").write_bytes(encoded(draw(last), kind))
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    run(main)
