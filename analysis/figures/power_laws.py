"""Metrics over an axis with their law and residuals, and over their bounds."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.board.held import Held, Part
from analysis.claims.theory import Array
from analysis.figures.style import (
    LINE,
    MIDDLE,
    OTHERS,
    POINTS,
    STYLE,
    THEOREM,
    caption,
    cloud,
    plain_decades,
    sign,
    thinned,
)
from analysis.powerlaws.law import PowerLaw

FARTHEST = 1e100  # ratio; the margins of an axis around more are beyond what numbers can be


def power_law_figure(held: Held, labels: tuple[str, str], stamp: str) -> Figure:
    """A metric over x: trainings, medians, law with band and the claim's slope; below, what the law leaves over, where
    there is a law."""
    main = main_part(held)
    found = bool(np.isfinite(main.law.exponent))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 5.4 if found else 4.1))
        panels = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1)) if found else [figure.subplots()]
        upper = panels[0]
        others = [part for part in held.parts if part is not main and part.x.size]
        for i, part in enumerate(others):
            x, y = medians(part)
            upper.plot(x, y, color=OTHERS, lw=0.9, marker="o", ms=2.2, zorder=1,
                       label=f"medians at {others_named(others)}" if i == 0 else None)  # fmt: skip
        upper.plot(main.x, main.y, "o", color=POINTS, zorder=2, label="one training", **cloud(main.x))
        upper.plot(*medians(main), "o", color=MIDDLE, ms=4.2, zorder=4, label="median")
        upper.set_xscale("log", base=2)
        upper.set_yscale("log")
        if found:
            draw_metric_law(upper, panels[1], main, held)
        ticks = np.unique(np.concatenate([part.x for part in held.parts]))
        upper.set_xticks(thinned(ticks), [f"{value:g}" for value in thinned(ticks)])
        for axes in panels:
            axes.minorticks_off()
            axes.grid(color="0.92", lw=0.6)
        plain_decades(upper)
        upper.set_ylabel(textwrap.fill(labels[1], 36))
        panels[-1].set_xlabel(textwrap.fill(labels[0], 60))
        caption(upper, main.title)
        sign(figure, stamp)
    return figure


def main_part(held: Held) -> Part:
    """The part that the verdict speaks of."""
    return next(part for part in held.parts if part.title == held.where)


def draw_metric_law(upper: Axes, lower: Axes, main: Part, held: Held) -> None:
    """The law of one part with its band, the claim's slope through its middle, and the residuals as factors."""
    law, claim = main.law, held.claim
    lower.set_ylabel("measured / law")
    lower.axhline(1, color=LINE, lw=1.4, zorder=3)
    x = np.geomspace(*law.over_range, 100)
    middle, low, high = law.predict(x)
    ends = f"[{law.envelope[0]:.2f}, {law.envelope[1]:.2f}]"
    floor = f" + {law.offset:.2g}" if law.offset else ""
    name = f"${symbol(claim.over)}^{{{law.exponent:.2f}}}{floor}$, 95% envelope {ends}"
    upper.fill_between(x, low, high, color=LINE, alpha=0.25, lw=0, zorder=2)
    upper.plot(x, middle, color=LINE, lw=1.6, zorder=3, label=name)
    if claim.exponent is not None:
        slope = middle[50] * (x / x[50]) ** claim.exponent
        label = f"slope of the claim, ${symbol(claim.over)}^{{{claim.exponent:g}}}$"
        upper.plot(x, slope, "--", color=THEOREM, lw=1.2, zorder=3, label=label)
    lower.fill_between(x, low / middle, high / middle, color=LINE, alpha=0.25, lw=0)
    fitted = law.predict(main.x)[0]
    shown = np.isfinite(main.y) & (main.y > 0)
    residual = main.y[shown] / fitted[shown]
    lower.plot(main.x[shown], residual, "o", color=POINTS, **cloud(main.x))
    at, y = medians(main)
    lower.plot(at, y / law.predict(at)[0], "o", color=MIDDLE, ms=4.2, zorder=4)
    lower.set_yscale("log", base=2)
    reach = float(np.abs(np.log2(residual)).max()) + 0.1
    lower.set_ylim(2**-reach, 2**reach)
    step = max(1, round(reach / 2))
    ticks = [0.5, 0.7, 1, 1.5, 2] if reach < 1.5 else [2.0 ** (k * step) for k in range(-2, 3)]
    ticks = [value for value in ticks if abs(np.log2(value)) <= reach]
    lower.set_yticks(ticks, [f"{value:.2g}" for value in ticks])


def draw_power_law(axes: Axes, law: PowerLaw) -> None:
    """The law alone with its band, on logarithmic axes; its exponent in the legend. Nothing where there is no law."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    if np.isfinite(law.exponent):
        x = np.geomspace(*law.over_range, 100)
        middle, low, high = law.predict(x)
        floor = f" + {law.offset:.2g}" if law.offset else ""
        ends = f"[{law.envelope[0]:.2f}, {law.envelope[1]:.2f}]"
        axes.fill_between(x, low, high, color=LINE, alpha=0.25, lw=0, zorder=2)
        axes.plot(x, middle, color=LINE, lw=1.6, zorder=3, label=f"$x^{{{law.exponent:.2f}}}${floor}, envelope {ends}")
        plain_decades(axes)
        caption(axes, "")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.grid(color="0.92", lw=0.6)


def symbol(axis: str) -> str:
    """An axis in mathematics: a letter as it is, a name upright."""
    return axis if len(axis) == 1 else rf"\mathrm{{{axis.replace('_', chr(92) + '_')}}}"


def drawable(ratio: Array) -> Array:
    """Ratios that a logarithmic axis can be drawn around: at most FARTHEST."""
    return np.minimum(ratio, FARTHEST)


def bound_figure(held: Held, labels: tuple[str, str], stamp: str) -> Figure:
    """measured / bound of every training over x: above the line the inequality fails."""
    cells = held.cells
    assert cells is not None
    ratio, shown = drawable(cells.ratio), cells.ratio > 0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.6))
        axes = figure.subplots()
        for inside, name in ((0, "outside the hypotheses"), (1, "hypotheses met")):
            some = shown & (cells.inside == inside)
            if some.any():
                axes.plot(cells.x[some], ratio[some], "o" if inside else "x", color=MIDDLE if inside else POINTS,
                          label=f"one training, {name}", **cloud(cells.x))  # fmt: skip
        at = np.unique(cells.x)
        middle = np.array([np.median(ratio[cells.x == value]) for value in at])
        axes.plot(at[middle > 0], middle[middle > 0], "o", color=MIDDLE, ms=4.2, label="median")
        if not shown.all():
            axes.plot([], [], " ", label=f"at 0, below the axis: {np.sum(~shown):,} of {shown.size:,} trainings")
        if far := np.sum(ratio != cells.ratio):
            axes.plot([], [], " ", label=f"beyond {FARTHEST:g}, drawn there: {far:,} of {shown.size:,} trainings")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.axhline(1, color=THEOREM, ls="--", lw=1.2, label="the bound")
        low, high = axes.get_ylim()
        axes.axhspan(1, max(high, 2), color=LINE, alpha=0.08, lw=0)
        axes.set_ylim(min(low, 0.5), max(high, 2))
        axes.set_xticks(thinned(at), [f"{value:g}" for value in thinned(at)])
        axes.minorticks_off()
        axes.grid(color="0.92", lw=0.6)
        plain_decades(axes)
        axes.set_xlabel(textwrap.fill(labels[0], 60))
        axes.set_ylabel(textwrap.fill(labels[1], 36))
        caption(axes, "")
        sign(figure, stamp)
    return figure


def medians(part: Part) -> tuple[Array, Array]:
    """x (K,) and the median of the positive finite y at each."""
    shown = np.isfinite(part.y) & (part.y > 0)
    at = np.unique(part.x[shown])
    return at, np.array([float(np.median(part.y[shown & (part.x == value)])) for value in at])


def others_named(parts: Sequence[Part]) -> str:
    """The titles of the parts drawn in grey, shortened in the middle."""
    titles = [part.title for part in parts]
    names = {title.split(" = ")[0] for title in titles}
    if len(names) == 1 and all(title.count(" = ") == 1 for title in titles):
        return f"{names.pop()} = {', '.join(title.split(' = ')[1] for title in titles)}"
    return f"{len(titles)} other settings"
