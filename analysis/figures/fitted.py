"""Laws -> axes: m*(n) with local exponents, metrics with their residuals, bounds, the verdict board."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.board.held import Held, Part
from analysis.claims.theory import Array, Claim
from analysis.figures.phase import draw_law, draw_slope
from analysis.figures.style import LINE, STYLE, THEOREM, caption, cloud, plain_decades, sign, thinned
from analysis.powerlaws.fitting import PowerLaw
from analysis.study import Panel, Study
from analysis.thresholds.law import ThresholdLaw

FARTHEST = 1e100  # ratio; the margins of an axis around more are beyond what numbers can be
POINTS, MIDDLE, OTHERS = "#6baed6", "#08306b", "0.72"  # single trainings, their median, what is not the subject
KINDS = {
    "consistent": "#1b7837", "holds": "#1b7837", "loose": "#2166ac", "exceeds": "#a6510a", "violated": "#b2182b",
    "vacuous": "#737373", "inconclusive": "#737373",
}  # fmt: skip


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


def power_law_figure(held: Held, labels: tuple[str, str], stamp: str) -> Figure:
    """A metric over x: trainings, medians, law with band and the claim's slope; below, what the law leaves over."""
    main = main_part(held)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 5.4))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        others = [part for part in held.parts if part is not main and part.x.size]
        for i, part in enumerate(others):
            x, y = medians(part)
            upper.plot(x, y, color=OTHERS, lw=0.9, marker="o", ms=2.2, zorder=1,
                       label=f"medians at {others_named(others)}" if i == 0 else None)  # fmt: skip
        upper.plot(main.x, main.y, "o", color=POINTS, zorder=2, label="one training", **cloud(main.x))
        upper.plot(*medians(main), "o", color=MIDDLE, ms=4.2, zorder=4, label="median")
        upper.set_xscale("log", base=2)
        upper.set_yscale("log")
        draw_metric_law(upper, lower, main, held)
        ticks = np.unique(np.concatenate([part.x for part in held.parts]))
        upper.set_xticks(thinned(ticks), [f"{value:g}" for value in thinned(ticks)])
        for axes in (upper, lower):
            axes.minorticks_off()
            axes.grid(color="0.92", lw=0.6)
        plain_decades(upper)
        upper.set_ylabel(textwrap.fill(labels[1], 36))
        lower.set_ylabel("measured / law")
        lower.set_xlabel(textwrap.fill(labels[0], 60))
        caption(upper, main.title)
        sign(figure, stamp)
    return figure


def main_part(held: Held) -> Part:
    """The part that the verdict speaks of."""
    return next(part for part in held.parts if part.title == held.where)


def draw_metric_law(upper: Axes, lower: Axes, main: Part, held: Held) -> None:
    """The law of one part with its band, the claim's slope through its middle, and the residuals as factors."""
    law, claim = main.law, held.claim
    lower.axhline(1, color=LINE, lw=1.4, zorder=3)
    if not np.isfinite(law.exponent):
        return
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


def board_figure(groups: Mapping[str, Sequence[Held]], stamp: str) -> Figure:
    """Measured exponents with interval (thick) and envelope (thin) beside the claims' (bars), one line a claim, below
    the heading of its group ("" for none)."""
    lines = board_lines(groups)
    rows = [line for line in lines if isinstance(line, Held)]
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        height = 0.34 * len(lines) + 1.1
        figure = Figure(figsize=(8.6, height))
        axes = figure.add_axes((0.4, 0.6 / height, 0.4, 1 - 1.05 / height))
        claimed = [held.claim.exponent for held in rows if held.claim.exponent is not None]
        known = [held.law.exponent for held in rows if held.law is not None and np.isfinite(held.law.exponent)]
        low, high = min([*claimed, *known]) - 0.8, max([*claimed, *known]) + 0.8
        for i, line in enumerate(lines):
            if isinstance(line, Held):
                draw_exponent(axes, i, line, (low, high))
            else:
                axes.text(-0.98, i + 0.1, line, transform=axes.get_yaxis_transform(), va="center", weight="bold")
        axes.set_yticks(range(len(lines)), [named(line) if isinstance(line, Held) else "" for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(low, high)
        axes.grid(axis="x", color="0.92", lw=0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("exponent")
        axes.plot([], [], "|", color=THEOREM, ms=12, mew=1.8, ls="", label="claimed")
        axes.plot([], [], "o-", color="0.35", ms=5, lw=1.2, label="measured, 95% envelope")
        axes.plot([], [], color="0.35", lw=4.5, alpha=0.45, label="95% interval")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.1, 1.0), ncols=3, borderaxespad=0.2)
        sign(figure, stamp)
    return figure


def board_lines(groups: Mapping[str, Sequence[Held]]) -> list[str | Held]:
    """The lines of the board from above: headings and claims."""
    return [line for title, rows in groups.items() for line in ([title] if title else []) + list(rows)]


def draw_exponent(axes: Axes, i: int, held: Held, shown: tuple[float, float]) -> None:
    """One line of the board, its verdict at the right; intervals end at what is shown."""
    colour, law = KINDS[held.verdict.kind], held.law
    if law is not None and np.isfinite(law.exponent):
        axes.plot(np.clip(law.envelope, *shown), [i, i], color=colour, lw=1.2, zorder=2)
        axes.plot(np.clip(law.interval, *shown), [i, i], color=colour, lw=4.5, alpha=0.45, zorder=2)
        axes.plot(law.exponent, i, "o", color=colour, ms=5, zorder=3)
    if held.claim.exponent is not None:
        ink = THEOREM if held.claim.gates else "0.6"
        axes.plot(held.claim.exponent, i, "|", color=ink, ms=15, mew=1.8, zorder=4)
    label = held.verdict.label if held.verdict.kind == "loose" else held.verdict.kind
    axes.annotate(mathematical(label), (1.03, i), xycoords=("axes fraction", "data"), va="center", color=colour,
                  annotation_clip=False)  # fmt: skip


def named(held: Held) -> str:
    """A line of the board: the claim's name and where it was held."""
    return textwrap.fill(f"{held.claim.name} ({held.where})" if held.where else held.claim.name, 44)


def mathematical(label: str) -> str:
    """ "loose by n^4.26" with the power raised."""
    return " ".join(
        f"${base}^{{{power}}}$" if power else word for word in label.split() for base, _, power in [word.partition("^")]
    )


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
