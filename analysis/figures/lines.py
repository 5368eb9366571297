"""Series -> axes: shares of success and metrics along the axis of a sweep, and curves along the training."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import ScaledTranslation

from analysis.claims.theory import Array
from analysis.figures.style import STYLE, THEOREM, plain_decades, sign, thinned
from analysis.series import SUCCESS, Panel, Series, along, by, panelled
from analysis.study import Study
from analysis.titles import titled

INK = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")  # Okabe and Ito: colour-blind safe
MARKS = "os^Dv*P"
LARGEST, ROWS = 12, 4  # panels of a metric, rows of curves on a figure; more are unreadable
SPREAD = {SUCCESS: "share, 95% interval"}


def metric_figure(found: Study, metric: str, every: Sequence[Panel]) -> Figure:
    """A metric along ``over``, one panel per setting (at least one), one line per value of ``by``."""
    shown, dropped = every[:LARGEST], len(every[LARGEST:])
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * columns + 1.5, 3.3 * rows + 0.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(grid.flat, shown, strict=False):
            draw_panel(axes, panel, metric)
            axes.set_title(textwrap.fill(panel.title, 38), loc="left", fontsize=9)
        for axes in list(grid.flat)[len(shown) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(textwrap.fill(found.label(found.plan["over"]), 36))
        for axes in grid[:, 0]:
            axes.set_ylabel(textwrap.fill(measure_label(found, metric), 34))
        scale(grid[0, 0], [one for panel in shown for one in panel.series], metric)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        spread = SPREAD.get(metric, "median, quartiles")
        title = spread if labels != [spread] else None
        figure.legend(handles, labels, loc="outside right center", title=title, fontsize=8, title_fontsize=8)
        sign(figure, found.stamp + (f"; {dropped} more settings not drawn" if dropped else ""))
    return figure


def draw_panel(axes: Axes, panel: Panel, metric: str) -> None:
    """Points with intervals (shares) or quartiles (metrics), lines between them, dashes where a claim predicts."""
    for i, one in enumerate(panel.series):
        colour, mark = INK[i % len(INK)], MARKS[i % len(MARKS)]
        x = positions(one.x)
        aside = ScaledTranslation(3 / 72 * (i - (len(panel.series) - 1) / 2), 0, axes.figure.dpi_scale_trans)
        axes.plot(x, one.middle, color=colour, lw=1.1, alpha=0.55)
        error = np.abs(np.array([one.middle - one.low, one.high - one.middle]))
        label = one.label or SPREAD.get(metric, "median, quartiles")
        axes.errorbar(
            x, one.middle, error, fmt=mark, color=colour, ms=4.5, capsize=2.5, lw=1.2, label=label,
            transform=axes.transData + aside,
        )  # fmt: skip
        known = np.isfinite(one.predicted)
        if known.any():
            axes.plot(x[known], one.predicted[known], "--", color=colour, lw=1.5, label="predicted")
    if panel.series and isinstance(panel.series[0].x[0], str):
        names = max((one.x for one in panel.series), key=len)
        axes.set_xticks(range(len(names)), names)
    axes.grid(color="0.92", lw=0.6)


def positions(x: Sequence[Any]) -> Array:
    """Numbers as they are, names in their order."""
    return np.arange(len(x), dtype=float) if isinstance(x[0], str) else np.asarray(x, dtype=float)


def scale(axes: Axes, shown: Sequence[Series], metric: str) -> None:
    """Logarithmic axes where values are positive and span enough; shares from 0 to 1."""
    if not isinstance(shown[0].x[0], str):
        x = np.unique(np.concatenate([positions(one.x) for one in shown]))
        if x[0] > 0 and x[-1] / x[0] >= 4:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(thinned(x), [f"{value:g}" for value in thinned(x)])
        axes.minorticks_off()
    if metric == SUCCESS:
        axes.set_ylim(-0.04, 1.04)
        return
    y = np.concatenate([np.concatenate([one.low, one.high]) for one in shown])
    if y.min() > 0 and y.max() / y.min() > 10:
        axes.set_yscale("log")
        plain_decades(axes)


def training_figure(found: Study, name: str) -> Figure | None:
    """A curve along the training: a column per value of ``by``, a line (median, quartiles) per value of ``over``."""
    if f"curve_{name}" not in found.frame:
        return None
    parts = [(title, list(by(found.plan, rows))) for title, rows in panelled(found.plan, found.frame)]
    dropped, parts = len(parts[ROWS:]), parts[:ROWS]
    columns, over = max(len(shown) for _, shown in parts), found.plan["over"]
    values = found.plan["axes"][over]
    colours = mpl.colormaps["cividis"](np.linspace(0.05, 0.9, len(values)))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.3 * columns + 1.5, 2.9 * len(parts) + 0.5))
        grid = figure.subplots(len(parts), columns, squeeze=False, sharex=True, sharey=True)
        positive = True
        for line, (title, shown) in zip(grid, parts, strict=True):
            for axes, (label, rows) in zip(line, shown, strict=True):
                for value, colour in zip(values, colours, strict=True):
                    steps, middle, low, high = along(rows[rows[over] == value], name)
                    if steps.size:
                        axes.plot(steps, middle, color=colour, lw=1.3, label=titled({over: value}))
                        axes.fill_between(steps, low, high, color=colour, alpha=0.18, lw=0)
                        positive &= bool((low[np.isfinite(low)] > 0).all())
                axes.set_title(textwrap.fill(", ".join(p for p in (label, title) if p), 34), loc="left", fontsize=8)
                axes.grid(color="0.92", lw=0.6)
        for axes in grid.flat:
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(left=0)
            axes.set_yscale("log" if positive else "linear")
            if not positive:
                axes.axhline(0, color=THEOREM, lw=0.7)
        for axes in grid[-1]:
            axes.set_xlabel("step")
        for axes in grid[:, 0]:
            axes.set_ylabel(textwrap.fill(measure_label(found, name), 30), fontsize=9)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside right center", title="median, quartiles", fontsize=8, title_fontsize=8
        )
        sign(figure, found.stamp + (f"; {dropped} more settings not drawn" if dropped else ""))
    return figure


def measure_label(found: Study, name: str) -> str:
    """A metric's axis label: its meaning and unit as the rows carry them, or its name where that is long."""
    if name == SUCCESS:
        return "share of trainings that fit"
    told = found.rows.schema.field(name).metadata or {} if name in found.rows.column_names else {}
    what, unit = (told.get(key, b"").decode() for key in (b"meaning", b"unit"))
    short = what.split(";")[0].split(":")[0]
    label = short if 0 < len(short) <= 44 else name.replace("_", " ")
    return label + (f" [{unit}]" if unit not in ("", "1") else "")
