"""m*(n) with its law, and below it the local exponents."""

from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.claims.theory import Claim
from analysis.figures.phase import draw_law, draw_slope
from analysis.figures.style import LINE, MIDDLE, STYLE, THEOREM, caption, sign
from analysis.study import Panel, Study
from analysis.thresholds.law import ThresholdLaw


def thresholds_figure(found: Study) -> Figure:
    """m*(n) of every group with its law, and below it the local exponents between neighbouring n."""
    panels = [group.panel for group in found.groups if group.law.points]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * len(panels) + 0.4, 5.4))
        grid = figure.subplots(2, len(panels), squeeze=False, sharex=True, sharey="row", height_ratios=(2.4, 1))
        for (upper, lower), panel in zip(grid.T, panels, strict=True):
            draw_thresholds(upper, panel.law, panel.claim, panel.title, spanned(panel.law for panel in panels))
            draw_local(lower, panel)
            lower.set_xlabel(found.names[0])
        grid[0, 0].set_ylabel(f"critical {found.names[1]}*")
        over, critical = found.plan["over"], found.plan["critical"]
        grid[1, 0].set_ylabel(f"local exponent\n$d\\,\\log {critical}^* / d\\,\\log {over}$")
        sign(figure, found.stamp)
    return figure


def spanned(laws: Iterable[ThresholdLaw]) -> tuple[float, float]:
    """What an axis must show of the critical widths of all ``laws``, with their intervals."""
    ends = np.array([end for law in laws for point in law.points for end in (*point.interval, point.critical)])
    ends = ends[np.isfinite(ends) & (ends > 0)]
    ends = ends if ends.size else np.ones(1)
    return float(ends.min() / 1.5), float(ends.max() * 1.5)


def draw_thresholds(
    axes: Axes, law: ThresholdLaw, claim: Claim | None = None, title: str = "", span: tuple[float, float] | None = None
) -> None:
    """The points, the law with its band and the theorem's slope, on logarithmic axes over ``span`` (its points)."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_ylim(*(span or spanned([law])))
    over = np.array([point.over for point in law.points])
    axes.set_xlim(over.min() / 1.2, over.max() * 1.2)
    draw_law(axes, law)
    if claim is not None and claim.exponent is not None:
        draw_slope(axes, law, claim)
    axes.set_xticks(over, [f"{value:g}" for value in over])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.grid(color="0.92", lw=0.6)
    caption(axes, title)


def draw_local(axes: Axes, panel: Panel) -> None:
    """Exponents between neighbouring n with 95% intervals, the law's exponent on its range, the theorem's."""
    law, claim = panel.law, panel.claim
    shown = [local for local in law.local if np.isfinite(local.exponent)]
    for local in shown:
        low, high = np.nan_to_num(local.interval, neginf=-1e3, posinf=1e3)
        at = float(np.sqrt(local.over[0] * local.over[1]))
        axes.fill_between(local.over, low, high, color="0.85", lw=0)
        axes.plot(local.over, [local.exponent] * 2, color=MIDDLE, lw=1.4)
        axes.plot([at], [local.exponent], "o", color=MIDDLE, ms=3)
    if np.isfinite(law.exponent):
        axes.fill_between(law.over_range, *law.interval, color=LINE, alpha=0.22, lw=0)
        axes.plot(law.over_range, [law.exponent] * 2, color=LINE, lw=1.6)
    if claim is not None and claim.exponent is not None:
        axes.axhline(claim.exponent, color=THEOREM, ls="--", lw=1.1)
    values = [local.exponent for local in shown] + [law.exponent, 0.0, claim.exponent if claim else None]
    finite = [value for value in values if value is not None and np.isfinite(value)]
    axes.set_ylim(min(finite) - 0.6, max(finite) + 0.6)
    axes.grid(color="0.92", lw=0.6)
