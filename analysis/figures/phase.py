"""Outcomes over (n, m) as a phase diagram, with their law and the slope of the theorem."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.claims.theory import Claim
from analysis.figures.style import COLOURS, LINE, STYLE, THEOREM, caption, sign
from analysis.study import Panel
from analysis.thresholds.fitting import ThresholdLaw
from analysis.thresholds.outcomes import Array, Tally

PANEL = (4.2, 4.0)  # inches
LARGEST = 170.0  # area of a mark in square points


def phase_diagram(panels: Sequence[Panel], names: tuple[str, str], stamp: str) -> Figure:
    """Success probability over (n, m), one panel each, with m*(n), its band and the theorem's slope.

    ``names`` label the over and the critical axis; ``stamp`` goes into the lower right corner.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * columns + 0.7, PANEL[1] * rows + 0.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        most = max((int(panel.tally.trials.max()) for panel in panels if not is_grid(panel.tally)), default=0)
        for axes, panel in zip(grid.flat, panels, strict=False):
            drawn = draw_rates(axes, panel.tally, most)
            draw_law(axes, panel.law)
            if panel.claim is not None and panel.claim.exponent is not None:
                draw_slope(axes, panel.law, panel.claim)
            caption(axes, panel.title)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(names[0])
        for axes in grid[:, 0]:
            axes.set_ylabel(names[1])
        bar = figure.colorbar(drawn, ax=grid, label="share of trainings that fit", fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        sign(figure, stamp)
        if most:
            scale(figure, most)
    return figure


def is_grid(tally: Tally) -> bool:
    """Were the same widths tested at every n?"""
    return len(tally.over) == len(np.unique(tally.over)) * len(np.unique(tally.critical))


def draw_rates(axes: Axes, tally: Tally, most: int) -> mpl.collections.Collection:
    """The success rate of every (n, m): a coloured cell of a grid; where the widths differ from n to n a mark, whose
    area tells its trainings, ``most`` the largest, since a cell would claim widths that were never tried."""
    over, critical = np.unique(tally.over), np.unique(tally.critical)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    drawn = draw_cells(axes, tally) if is_grid(tally) else draw_marks(axes, tally, most)
    axes.set_xticks(over, [f"{value:g}" for value in over])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_xlim(edges(over)[0], edges(over)[-1])
    axes.set_ylim(edges(critical)[0], edges(critical)[-1])
    return drawn


def draw_cells(axes: Axes, tally: Tally) -> mpl.collections.Collection:
    """Every (n, m) of a grid as a cell up to the middle between its neighbours."""
    over, critical = np.unique(tally.over), np.unique(tally.critical)
    rates = (tally.successes / tally.trials).reshape(len(over), len(critical)).T
    mesh = axes.pcolormesh(edges(over), edges(critical), rates, cmap=COLOURS, vmin=0, vmax=1)
    mesh.set(edgecolor="face", linewidth=0.3)  # no hairlines between cells of vector files
    return mesh


def draw_marks(axes: Axes, tally: Tally, most: int) -> mpl.collections.Collection:
    """Every (n, m) that was tried as a disc, the smaller before the larger."""
    order = np.argsort(-tally.trials, kind="stable")
    axes.grid(axis="x", color="0.92", lw=0.6)
    axes.set_axisbelow(True)
    return axes.scatter(
        tally.over[order], tally.critical[order], s=area(tally.trials[order], most), lw=0.5, edgecolor="0.3",
        c=(tally.successes / tally.trials)[order], cmap=COLOURS, vmin=0, vmax=1, zorder=2.5,
    )  # fmt: skip


def area(trials: Array | float, most: int) -> Array:
    """Area of a mark in square points: as the square root, since the numbers span two decades and more."""
    return np.asarray(LARGEST * np.sqrt(np.asarray(trials) / most))


def scale(figure: Figure, most: int) -> None:
    """What the areas mean, above the panels."""
    shown = sorted({1, round(most**0.5), most})
    style: dict[str, Any] = {"ls": "", "marker": "o", "mfc": "white", "mec": "0.3", "mew": 0.5}
    marks = [mpl.lines.Line2D([], [], ms=float(np.sqrt(area(k, most))), **style) for k in shown]
    labels = [f"{k:,}" for k in shown[:-1]] + [f"{most:,} trainings at one width"]
    figure.legend(marks, labels, loc="outside upper left", ncols=len(marks), handletextpad=0.3, columnspacing=1.2)


def draw_law(axes: Axes, law: ThresholdLaw) -> None:
    """Points m*(n) with 95% intervals (arrows where one-sided), the fitted law and its band."""
    for i, point in enumerate(law.points):
        low, high = np.clip(point.interval, *axes.get_ylim())
        label = f"${law.critical_name}^*$, {law.level:.0%} of the trainings fit, 95% interval" if i == 0 else None
        marker = {None: "o", "above": "^", "below": "v"}[point.censored]
        at = point.critical if point.censored is None else (low if point.censored == "above" else high)
        error = [[max(at - low, 0)], [max(high - at, 0)]]
        axes.errorbar(
            point.over, at, error, fmt=marker, color="white", mec="black", ecolor="black", ms=4.5, capsize=2, lw=1.1,
            zorder=4, label=label,
        )  # fmt: skip
    if np.isfinite(law.exponent):
        over = np.geomspace(*law.over_range, 100)
        middle, low, high = law.predict(over)
        axes.fill_between(over, low, high, color=LINE, alpha=0.3, lw=0, zorder=2)
        ends = f"[{law.interval[0]:.2f}, {law.interval[1]:.2f}]"
        where = f"{law.over_name} \\geq {law.over_range[0]:.0f}" if "1/n" not in law.form else "\\mathrm{large}\\ n"
        above = f" - {law.offset:.3g}" if law.offset else ""
        name = f"${law.critical_name}^*{above} \\propto {law.over_name}^{{{law.exponent:.2f}}}$, 95% {ends}, ${where}$"
        axes.plot(over, middle, color=LINE, lw=1.6, zorder=3, label=name)


def draw_slope(axes: Axes, law: ThresholdLaw, claim: Claim) -> None:
    """The claim as a dashed line: where its constant is unstated, its slope through the law's first point."""
    known = [point for point in law.points if point.censored is None and point.over >= law.over_range[0] * (1 - 1e-9)]
    if not known:
        return
    top = axes.get_ylim()[1]
    over = np.geomspace(known[0].over, axes.get_xlim()[1], 200)
    exponent = float(claim.exponent or 0)
    constant = claim.constant or known[0].critical / known[0].over ** exponent
    line = constant * over**exponent
    inside = line <= top
    what = "theorem" if claim.constant else "slope of the theorem"
    label = f"{what}, ${law.over_name}^{{{claim.exponent:g}}}$"
    axes.plot(over[inside], line[inside], "--", color=THEOREM, lw=1.2, zorder=3, label=label)


def edges(values: Array) -> Array:
    """Cell borders halfway (in the logarithm) between sorted positive values (k,) -> (k + 1,)."""
    logs = np.log(values)
    if len(logs) == 1:
        return np.asarray(np.exp(logs[0] + np.array([-0.35, 0.35])))
    middle = (logs[1:] + logs[:-1]) / 2
    return np.asarray(np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]])))
