"""Which worker trained which pack, and when: from the rows, one bar a pack, idle time in white."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.claims.theory import Array
from analysis.figures.style import COLOURS, STYLE, sign

ANOTHER_RUN = 30.0  # seconds in which no worker trains: the next pack is of another run
BARS, LANES = 3000, 32  # more are no longer told apart: then the share of the workers that train
BINS = 400
NAMED = 7  # values in the legend
COLUMNS = ("host", "worker", "started", "finished")


@dataclass(frozen=True)
class Timeline:
    """Packs (K,): begin and end in seconds since the first began, the time between runs left out; the lane of each, the
    row of its first training, and its value of the axis they are told apart by (None where it has several). ``lanes``
    are names; ``runs`` are the (begin, end, number of workers) of each run."""

    begin: Array
    end: Array
    lane: Array
    row: Array
    values: list[Any]
    lanes: list[str]
    runs: list[tuple[float, float, int]]

    @property
    def worker_seconds(self) -> float:
        """Workers times seconds, over all runs."""
        return sum((end - begin) * workers for begin, end, workers in self.runs)

    @property
    def idle(self) -> float:
        """Share of the worker seconds in which a worker trained nothing."""
        return 1 - float((self.end - self.begin).sum()) / self.worker_seconds

    @property
    def idle_at_the_end(self) -> float:
        """Share of the worker seconds in which a worker had no pack left while another still trained."""
        waited = 0.0
        for first, last, _ in self.runs:
            inside = (self.begin >= first) & (self.end <= last)
            waited += sum(last - self.end[inside & (self.lane == lane)].max() for lane in np.unique(self.lane[inside]))
        return waited / self.worker_seconds


def timeline(rows: pa.Table, axis: str) -> Timeline | None:
    """The packs that ``rows`` (those of a plan) came from, told apart by ``axis``; None where no row says when its pack
    began, as those of earlier versions."""
    if not {*COLUMNS, axis} <= set(rows.column_names):
        return None
    numbered = rows.select([*COLUMNS, axis]).append_column("row", pa.array(np.arange(len(rows))))
    known = numbered.filter(pc.and_(pc.is_valid(rows["started"]), pc.is_valid(rows["finished"])))
    if not len(known):
        return None
    columns = [("finished", "max"), (axis, "min"), (axis, "max"), ("row", "min")]
    frame = known.group_by(["host", "worker", "started"]).aggregate(columns).to_pandas()
    begin, end = (pd.to_datetime(frame[name], utc=True, format="ISO8601") for name in ("started", "finished_max"))
    origin = begin.min()
    frame["begin"], frame["end"] = (begin - origin).dt.total_seconds(), (end - origin).dt.total_seconds()
    frame["end"] = np.maximum(frame["end"], frame["begin"] + 1e-3)  # a clock may be set back
    frame = frame.sort_values(["begin", "host", "worker"], ignore_index=True)
    reach = np.maximum.accumulate(frame["end"].to_numpy())
    pauses = np.maximum(frame["begin"].to_numpy()[1:] - reach[:-1], 0)
    left_out = np.cumsum(np.concatenate([[0.0], np.where(pauses > ANOTHER_RUN, pauses, 0)]))
    frame["run"] = np.unique(left_out, return_inverse=True)[1]
    frame["begin"], frame["end"] = frame["begin"] - left_out, frame["end"] - left_out
    lane, lanes = placed(frame)
    runs = [(float(run["begin"].min()), float(run["end"].max()), len(set(lane[run.index])))
            for _, run in frame.groupby("run")]  # fmt: skip
    low, high = frame[f"{axis}_min"].tolist(), frame[f"{axis}_max"].tolist()
    values = [value if value == other else None for value, other in zip(low, high, strict=True)]
    row = frame["row_min"].to_numpy()
    return Timeline(frame["begin"].to_numpy(), frame["end"].to_numpy(), lane, row, values, lanes, runs)


def placed(frame: pd.DataFrame) -> tuple[Array, list[str]]:
    """The lane (K,) of each pack, and the lanes' names: a worker has one lane of its host, from which one that has
    ended in time, or of an earlier run, is gone."""
    free: dict[str, list[tuple[int, float]]] = {}  # (lane, last end) by host
    lane_of: dict[tuple[Any, ...], int] = {}
    names: list[str] = []
    spans = frame.groupby(["run", "host", "worker"]).agg(begin=("begin", "min"), end=("end", "max"))
    spans = spans.reset_index().sort_values(["begin", "worker"])
    for run, host, worker, begin, end in spans.itertuples(index=False, name=None):
        lanes = free.setdefault(host, [])
        i = next((i for i, (_, last) in enumerate(lanes) if last <= begin), len(lanes))
        if i == len(lanes):
            lanes.append((len(names), 0.0))
            names.append(f"{host} {i + 1}")
        lanes[i] = lanes[i][0], end
        lane_of[run, host, worker] = lanes[i][0]
    lane = np.array([lane_of[key] for key in zip(frame["run"], frame["host"], frame["worker"], strict=True)])
    return lane, names if len(free) > 1 else [name.rpartition(" ")[2] for name in names]


def timeline_figure(found: Timeline, axis: str, stamp: str) -> Figure:
    """One lane a worker, one bar a pack; of very many the share of the workers that train, over time."""
    many = len(found.begin) > BARS or len(found.lanes) > LANES
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.4 if many else 1.25 + 0.26 * len(found.lanes)))
        axes = figure.subplots()
        scale, unit = unit_of(found.runs[-1][1])
        if many:
            draw_share(axes, found, scale)
        else:
            draw_bars(axes, found, scale, axis)
        for begin, *_ in found.runs[1:]:
            axes.axvline(begin / scale, color="0.35", lw=0.8, ls=":")
        axes.set_xlim(0, found.runs[-1][1] / scale)
        axes.set_xlabel(f"time since the first pack began ({unit})" + (", dotted: another run" * bool(found.runs[1:])))
        sign(figure, stamp)
    return figure


def draw_bars(axes: Axes, found: Timeline, scale: float, axis: str) -> None:
    """Bars coloured by the packs' value of an axis."""
    colours = colours_of(found.values)
    edge = 0.25 if len(found.begin) < 150 * len(found.lanes) else 0.0  # points; of many it would hide the bars
    for value, colour in colours.items():
        some = [i for i, own in enumerate(found.values) if own == value]
        corners = [[(x, y - 0.4), (x, y + 0.4), (z, y + 0.4), (z, y - 0.4)] for x, y, z in
                   zip(found.begin[some] / scale, found.lane[some], found.end[some] / scale, strict=True)]  # fmt: skip
        axes.add_collection(PolyCollection(corners, facecolors=colour, edgecolors="white", linewidths=edge))
    axes.set_ylim(len(found.lanes) - 0.4, -0.6)
    axes.set_yticks(range(len(found.lanes)), found.lanes)
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("worker")
    shown = list(colours)[:: -(-len(colours) // NAMED)]
    marks = [Patch(color=colours[value], label=written(axis, value)) for value in shown]
    axes.legend(handles=marks, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(marks), borderaxespad=0.2,
                handlelength=1.0, columnspacing=1.2)  # fmt: skip


def draw_share(axes: Axes, found: Timeline, scale: float) -> None:
    """How many of the workers train, in each of BINS stretches of time."""
    ends = np.linspace(0, found.runs[-1][1], BINS + 1)
    busy = np.diff(until(found.begin, ends) - until(found.end, ends)) / np.diff(ends)
    axes.stairs(busy, ends / scale, fill=True, color="#31688e")
    axes.set_ylim(0, len(found.lanes))
    axes.set_ylabel(f"workers that train,\nof {len(found.lanes):,}")


def until(times: Array, ends: Array) -> Array:
    """Seconds gone since each of ``times`` (K,), in all, at ``ends`` (T,)."""
    times = np.sort(times)
    count = np.searchsorted(times, ends)
    return np.asarray(count * ends - np.concatenate([[0.0], np.cumsum(times)])[count])


def colours_of(values: list[Any]) -> Mapping[Any, Any]:
    """A colour for each value, in their order; grey for packs of several."""
    known = sorted({value for value in values if value is not None})
    shades = mpl.colormaps[COLOURS](np.linspace(0.0, 0.95, max(len(known), 2)))
    return dict(zip(known, shades, strict=False)) | ({None: "0.6"} if None in values else {})


def written(axis: str, value: Any) -> str:
    if value is None:
        return f"several {axis}"
    return f"{axis} = {value if isinstance(value, str) else format(value, 'g')}"


def unit_of(seconds: float) -> tuple[float, str]:
    """Seconds in the unit that reads best, and its name."""
    return next(((size, name) for size, name in ((3600.0, "h"), (60.0, "min")) if seconds > 3 * size), (1.0, "s"))


def told(found: Timeline, axis: str) -> str:
    """The caption."""
    what = f"packs by worker over time, colours are {axis}" if len(found.begin) <= BARS else "workers that train"
    return (
        f"Timeline of the training: {len(found.begin):,} pack{'s' * (len(found.begin) > 1)}; {what}. "
        f"Idle: {found.idle:.1%} of the workers' time, {found.idle_at_the_end:.1%} at the end."
    )
