"""Where the points of a figure lie on its picture, and which grid point each of them leads to."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Transform

from analysis.board.held import Held
from analysis.figures.exponents import board_lines
from analysis.figures.power_laws import drawable, main_part, medians
from analysis.figures.timeline import Timeline, unit_of
from analysis.pages.cells import Cells, Line, Spot, tuned
from analysis.series import Panel, by, panelled, settings
from analysis.study import Group, Study
from analysis.titles import titled


class Mark(NamedTuple):
    """A point of a figure before its layout is known: where, in units of ``transform``; number of the grid point."""

    transform: Transform
    x: float
    y: float
    point: int


def finder(found: Study, every: Cells) -> Callable[[Mapping[str, Any]], int | None]:
    """The number of the grid point with given values of the axes that vary, but for a tuned one; None where none is."""
    names = [name for name in every.names if name != tuned(found)]
    known = {tuple(dict(zip(every.names, key, strict=True))[name] for name in names): i
             for i, key in reversed(list(enumerate(every.keys)))}  # fmt: skip
    return lambda at: known.get(tuple(at.get(name) for name in names))


def grouped(found: Study) -> list[tuple[dict[str, Any], Group]]:
    """The groups that have rows, each with the axis values that make it."""
    every = zip(settings(found.plan, found.plan["critical"]), found.groups, strict=True)
    return [(setting, group) for setting, group in every if len(group.panel.tally.over)]


def on_phase(found: Study, every: Cells, figure: Figure) -> Iterator[Mark]:
    """The points of the phase diagram."""
    over, critical, find = found.plan["over"], found.plan["critical"], finder(found, every)
    for axes, (setting, group) in zip(figure.axes, grouped(found), strict=False):
        for n, m in zip(group.panel.tally.over.tolist(), group.panel.tally.critical.tolist(), strict=True):
            if (i := find(setting | {over: n, critical: m})) is not None:
                yield Mark(axes.transData, n, m, i)


def on_metric(every: Cells, figure: Figure, panels: Sequence[Panel]) -> Iterator[Mark]:
    """The points of a metric along ``over``, as they were drawn."""
    for axes, panel in zip(figure.axes, panels, strict=False):
        for drawn, one in zip(axes.containers, panel.series, strict=True):
            line: Any = drawn[0]
            for x, y, row in zip(line.get_xdata(), line.get_ydata(), one.row, strict=True):
                yield Mark(line.get_transform(), x, y, int(every.number[int(row)]))


def on_law(every: Cells, figure: Figure, held: Held) -> Iterator[Mark]:
    """The medians of a power law's figure, each of one grid point."""
    main = main_part(held)
    for x, y in zip(*medians(main), strict=True):
        yield Mark(figure.axes[0].transData, float(x), float(y), int(every.number[int(main.row[main.x == x][0])]))


def on_thresholds(found: Study, every: Cells, figure: Figure) -> Iterator[Mark]:
    """The points m*(n) as they were drawn, each of the tested width nearest to it; below, each local exponent as the
    point that it begins at."""
    over, critical, find = found.plan["over"], found.plan["critical"], finder(found, every)
    shown = [(setting, group) for setting, group in grouped(found) if group.law.points]
    for axes, below, (setting, group) in zip(figure.axes, figure.axes[len(shown) :], shown, strict=False):
        tally, leads = group.panel.tally, dict[float, int]()
        for point, drawn in zip(group.law.points, axes.containers, strict=True):
            line: Any = drawn[0]
            x, y = float(line.get_xdata()[0]), float(line.get_ydata()[0])
            tested = tally.critical[tally.over == point.over]
            nearest = tested[np.argmin(np.abs(np.log(tested) - np.log(y)))].item()
            if (i := find(setting | {over: point.over, critical: nearest})) is not None:
                leads[point.over] = i
                yield Mark(axes.transData, x, y, i)
        for local in group.law.local:
            if local.over[0] in leads:
                at = float(np.sqrt(local.over[0] * local.over[1]))
                yield Mark(below.transData, at, local.exponent, leads[local.over[0]])


def on_timeline(every: Cells, figure: Figure, found: Timeline) -> Iterator[Mark]:
    """The packs, each of the grid point of its first training."""
    axes = figure.axes[0]
    if axes.collections:  # bars; of very many packs none is drawn
        scale, _ = unit_of(found.runs[-1][1])
        for begin, end, lane, row in zip(found.begin, found.end, found.lane, found.row, strict=True):
            yield Mark(axes.transData, float(begin + end) / 2 / scale, float(lane), int(every.number[row]))


def on_bound(every: Cells, figure: Figure, held: Held) -> Iterator[Mark]:
    """Trainings beside their bound, those of a grid point at their median."""
    if held.cells is None:
        return
    number = every.number[held.cells.row.astype(np.int64)]
    told = pd.DataFrame({"x": held.cells.x, "y": drawable(held.cells.ratio)}).groupby(number).median()
    for i, x, y in told.itertuples(name=None):
        yield Mark(figure.axes[0].transData, x, y, int(i))


def on_curve(found: Study, every: Cells, figure: Figure) -> Iterator[Mark]:
    """The ends of the curves along the training, each of one grid point."""
    over = found.plan["over"]
    parts = [list(by(found.plan, rows)) for _, rows in panelled(found.plan, found.frame)]
    columns = max(map(len, parts), default=0)
    for line, shown in enumerate(parts):
        for axes, (_, rows) in zip(figure.axes[line * columns :], shown, strict=False):
            ends = {str(drawn.get_label()): np.asarray(drawn.get_xydata())[-1] for drawn in axes.get_lines()}
            for value in found.plan["axes"][over]:
                if (end := ends.get(titled({over: value}))) is not None:
                    row = rows.index[rows[over] == value][0]
                    yield Mark(axes.transData, float(end[0]), float(end[1]), int(every.number[row]))


def on_board(groups: Mapping[str, Sequence[Held]], figure: Figure) -> tuple[Line, ...]:
    """Where the board's claims lie, in their order: each leads to the figure that shows it."""
    axes, lines = figure.axes[0], enumerate(board_lines(groups))
    ends = axes.transData.transform([(0, i - 0.5) for i, line in lines if isinstance(line, Held)])[:, 1]
    height = axes.bbox.height / figure.bbox.height / len(board_lines(groups))
    return tuple((round(1 - float(end) / figure.bbox.height, 4), round(height, 4)) for end in ends)


def placed(figure: Figure, marks: Iterable[Mark], most: int) -> list[Spot]:
    """Where points lie on the picture of a figure whose layout is done; grid points from ``most`` on are left out."""
    spots = []
    for mark in marks:
        x, y = mark.transform.transform((mark.x, mark.y)) / (figure.bbox.width, figure.bbox.height)
        if np.isfinite([x, y]).all() and mark.point < most:
            spots.append((round(float(x), 4), round(float(1 - y), 4), mark.point))
    return spots
