"""The table and the figure of benchmarks/designs.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis.figures.style import STYLE

Found = dict[str, dict[str, float]]  # by the rule that stops: what the law was then
Done = dict[tuple[str, str], list[Found]]  # by truth and design
Truths = Mapping[str, bool]  # the names of the truths, and whether one power law holds there
RULES = ("Firth's interval", "the design's model", "the default interval")
GRID, OURS = "full grid", "ours"
FEWER, CHEAPER, COVERED, BATCH = 12, 8, 0.9, 64  # what is asked for; trainings a batch
COLOURS = {
    GRID: "0.45", "coarse, then refine": "#8c6bb1", "staircase per n": "#41ab5d", "Bayesian per n": "#2171b5",
    OURS: "#d7301f", "ours, thrift 0.1": "#7f2704", "ours, 4 packs of 32 in flight": "#fdae6b",
}  # fmt: skip

HEAD = """# Designs: trainings and compute until the exponent is known to 0.02

{verdict}

Written by `OMP_NUM_THREADS=1 python benchmarks/designs.py {simulations} {others}`: {simulations} simulations a row for
*ours*, twice {others} for the full grid, {others} for the others, seeds [truth, simulation], {minutes:.0f} minutes on
one core; one of the step, which leaves nothing to chance. A share of .95 of ours has a binomial error of {error:.3f}.

Eight n from 16 to 512. Every design knows the first range of widths, three octaves beyond m* at either end, and nothing
more. A search is looked at from {least} trainings on, whenever it has grown by a tenth, and ends when the interval of
`fit_threshold`, the one a report prints, is at most 0.02 x 3.92 wide, or at {most:,} trainings (full grid {grid:,}).
*reached*: the share that got there. *trainings*, *cost*: means; a training costs m n^2; *fewer*, *cheaper*: the full
grid's over this design's, to the same target on the same truth. *error*: root mean square of exponent - truth.
*interval*, *envelope*: the share that contains the truth. *ms*: the design's own computing per batch ({batch} trainings
for ours).

- full grid: half octaves over the range at every n, one more seed everywhere each round
- coarse, then refine: every second octave with 4 seeds, then half octaves within 1.5 octaves of the crossing
- staircase per n: one up, one down. Bayesian per n: QUEST+ at each n alone, on quarter octaves
- ours: `infra/choosing/design.py`, batches of at most {batch}; *thrift 0.1*: gain per cost^0.1
- *in flight*: asynchronous

Under a finite-size correction no single power law holds: there the interval need not cover, the envelope should.
"""

RULES_HEAD = """
## Which standard error to stop by

The same searches of ours, and the law as it stood when each standard error first fell to 0.02. *SE it prints*: what
`fit_threshold` says then, its interval / 3.92. *error* and *interval* as above.

| truth | stopped by | stopped | trainings | SE it prints | error | interval |
|---|---|---|---|---|---|---|"""


def mean(found: list[Found], key: str, rule: str = RULES[2]) -> float:
    """Mean over the simulations; of "miss", the root of the mean square."""
    values = np.array([entry[rule][key] for entry in found if rule in entry], dtype=float)
    if not len(values):
        return float("nan")
    return float(np.sqrt(np.nanmean(values**2))) if key == "miss" else float(np.mean(values))


def factor(done: Done, truth: str, design: str, key: str) -> float:
    """How many times less than the grid a design takes."""
    return mean(done[truth, GRID], key) / mean(done[truth, design], key)


def lines(truth: str, done: Done) -> list[str]:
    text = [f"\n## {truth[0].upper() + truth[1:]}\n"]
    text += ["| design | reached | trainings | fewer | cheaper | error | interval | envelope | ms |", "|---" * 9 + "|"]
    for design in (name for at, name in done if at == truth):
        found = done[truth, design]
        cells = [f"{mean(found, 'reached'):.2f}", f"{mean(found, 'trainings'):,.0f}"]
        cells += [f"{factor(done, truth, design, key):.1f}" for key in ("trainings", "cost")]
        cells += [f"{mean(found, 'miss'):.4f}"] + [f"{mean(found, key):.2f}" for key in ("covers", "envelope")]
        text.append(f"| {design} | " + " | ".join([*cells, f"{mean(found, 'ms'):.0f}"]) + " |")
    return text


def rules_table(done: Done) -> list[str]:
    """Where each standard error would have stopped our design."""
    text = [RULES_HEAD]
    for truth, found in ((truth, found) for (truth, design), found in done.items() if design == OURS):
        for rule in RULES:
            share = np.mean([rule in entry for entry in found])
            cells = [f"{share:.2f}", f"{mean(found, 'trainings', rule):,.0f}", f"{mean(found, 'se', rule):.4f}"]
            cells += [f"{mean(found, 'miss', rule):.4f}", f"{mean(found, 'covers', rule):.2f}"]
            text.append(f"| {truth} | {rule} | " + " | ".join(cells) + " |")
    return text


def verdict(done: Done, truths: Truths) -> str:
    """The bars, and whether they are met."""
    reference = next(iter(truths))
    if (reference, OURS) not in done:
        return "Not finished."
    few, cheap = (factor(done, reference, OURS, key) for key in ("trainings", "cost"))
    covers = {truth: mean(done[truth, OURS], "covers") for truth in truths if truths[truth] and (truth, OURS) in done}
    worst = min(covers, key=lambda truth: covers[truth])
    slow = max(mean(found, "ms") for (_, design), found in done.items() if design == OURS)
    return "\n".join((
        f"On the reference truth ours takes 1/{few:.1f} of the full grid's trainings (at most 1/{FEWER}: "
        f"{yes(few >= FEWER)}) and 1/{cheap:.1f} of its compute (at most 1/{CHEAPER}: {yes(cheap >= CHEAPER)}).",
        f"Where a power law holds, its final interval covers the truth in {covers[worst]:.0%} or more of the searches "
        f"(least: {worst}; at least {COVERED:.0%}: {yes(covers[worst] >= COVERED)}).",
        f"A batch of {BATCH} takes at most {slow:.0f} ms to choose, on average over a search: below 5% of the time it "
        f"schedules wherever a packed training near m* takes {slow / 0.05 / BATCH:.0f} ms or more on average.",
    ))  # fmt: skip


def yes(met: bool) -> str:
    return "met" if met else "**not met**"


def write(done: Done, truths: Truths, target: Path, **numbers: float) -> None:
    """The table; ``numbers``: simulations, others, minutes, least, most, grid."""
    share = float(np.sqrt(0.95 * 0.05 / numbers["simulations"]))
    head = HEAD.format(verdict=verdict(done, truths), error=share, batch=BATCH, **numbers)
    shown = [truth for truth in truths if any(at == truth for at, _ in done)]
    target.write_text(
        "\n".join([head, *(line for truth in shown for line in lines(truth, done)), *rules_table(done)]) + "\n"
    )


def draw(done: Done, truths: Truths, target: Path) -> None:
    """Trainings and compute to the target per truth and design, the grid being 1; hollow where many fell short."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.4))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, key, bar in zip(panels, ("trainings", "cost"), (FEWER, CHEAPER), strict=True):
            for design, colour in COLOURS.items():
                at = [row for row, truth in enumerate(truths) if (truth, design) in done]
                x = [1 / factor(done, list(truths)[row], design, key) for row in at]
                full = [mean(done[list(truths)[row], design], "reached") > 0.9 for row in at]
                face = [colour if whole else "white" for whole in full]
                axes.scatter(x, at, s=42, c=face, edgecolors=colour, label=design, zorder=3)
            axes.set_xscale("log")
            axes.grid(axis="x", color="0.9", lw=0.6)
            axes.axvline(1 / bar, color="#111111", ls="--", lw=1)
            noun = "trainings" if key == "trainings" else "compute"
            axes.set_xlabel(f"{noun}, full grid = 1 (dashed: 1/{bar})")
        panels[0].set_yticks(range(len(truths)), list(truths))
        panels[0].invert_yaxis()
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=4,
            columnspacing=1.2,
            handletextpad=0.2,
        )
        for ending in ("pdf", "png"):
            figure.savefig(target.with_suffix(f".{ending}"))
