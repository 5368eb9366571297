"""What a point of a figure is made of: its trainings, their outcomes and losses, and the address of each.

``cells`` reads the rows column by column and keeps of each grid point a few trainings, those of the rarest outcome
first; ``told`` is these and the ``spots`` of the figures as JSON for the script of the page.
"""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from markupsafe import Markup

from analysis.series import share
from analysis.study import Study
from infra.store.schema import OUTCOMES

EACH = 20  # trainings named at one grid point
POINTS, CELLS, CURVES, LOOKS = 10_000, 8_000, 4_000, 32  # on a page: points, trainings, curves; moments of a curve
OTHER = "other"  # any outcome that no sweep writes
CURVE = ("curve_step", "curve_loss")
ADDRESS = re.compile(r"[0-9a-f]{8,64}")  # what may be put into a command line
LONGEST = 40  # characters of a text from the rows
Numbers = npt.NDArray[np.int64]
Line = tuple[float, float]  # of a picture: top and height, as shares of it
Spot = tuple[float, float, int]  # x from the left, y from the top, as shares of the picture; number of the grid point


class Cell(NamedTuple):
    """One training, ready to be shown; ``address`` is "" where the row has none that could be replayed; ``curve``:
    steps, and 100 times the decimal logarithm of the loss there, both empty where it is not shown."""

    seed: str
    outcome: str
    steps: str
    loss: str
    address: str
    curve: tuple[list[int], list[int]]


class Point(NamedTuple):
    """A grid point: its values of ``Cells.names``, how many of its trainings ended how, the share that fits with its
    95% Wilson interval (None where none counts), and the trainings that are named."""

    values: tuple[str, ...]
    counts: dict[str, int]
    share: tuple[float, float, float] | None
    cells: list[Cell]

    @property
    def trainings(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, eq=False)
class Cells:
    """The grid points of a plan, ``left_out`` of which are not among ``points``. ``number`` (rows,): the point of each
    row; ``keys``: the values of ``names`` of every point, also of those left out."""

    names: list[str]
    points: list[Point]
    left_out: int
    number: Numbers
    keys: list[tuple[Any, ...]]
    fixed: str  # the axes that do not vary, in words
    replay: str  # the command, without the address

    @property
    def outcomes(self) -> list[str]:
        """Those that occur."""
        return [name for name in (*OUTCOMES, OTHER) if any(point.counts.get(name) for point in self.points)]


NONE = Cells([], [], 0, np.empty(0, np.int64), [], "", "")  # where no point leads to its trainings


def cells(found: Study, out: str) -> Cells:
    """The grid points of a plan's rows, in the order of their axes, and their trainings."""
    plan, frame, command = found.plan, found.frame, f"widthlaw replay {shlex.quote(out)}"
    varying = [name for name, values in plan["axes"].items() if len(values) > 1]
    wanted = [plan["over"], plan["critical"], plan.get("by"), *varying, tuned(found)]
    names = [name for name in dict.fromkeys(wanted) if name]
    fixed = ", ".join(f"{name} {written(values[0])}" for name, values in plan["axes"].items() if name not in names)
    names = [name for name in names if name in frame and not pa.types.is_nested(found.rows.schema.field(name).type)]
    if frame.empty or not names:
        return Cells(names, [], 0, np.zeros(0, dtype=np.int64), [], fixed, command)
    groups = frame.groupby(names, sort=True, dropna=False)
    number = groups.ngroup().to_numpy().astype(np.int64)
    first = np.unique(number, return_index=True)[1]
    keys = list(frame[names].iloc[first].itertuples(index=False, name=None))
    outcome = pd.Index(OUTCOMES).get_indexer_for(pd.Index(frame["outcome"])).astype(np.int64)
    outcome[outcome < 0] = len(OUTCOMES)
    chosen = some(number, outcome, frame["seed"].to_numpy(), min(EACH, max(1, CELLS // len(keys))))
    named = cells_of(found, number, outcome, chosen, max(1, CURVES // len(keys)))
    counts = np.bincount(number * (len(OUTCOMES) + 1) + outcome, minlength=len(keys) * (len(OUTCOMES) + 1))
    success = frame["success"].to_numpy(dtype=float, na_value=np.nan)
    tried = np.bincount(number[~np.isnan(success)], minlength=len(keys))
    fits = np.bincount(number[success == 1], minlength=len(keys))
    shares: dict[tuple[int, int], Any] = {}
    points, ends = [], np.searchsorted(number[chosen], np.arange(len(keys) + 1))
    for i, key in enumerate(keys[:POINTS]):
        k, n = int(fits[i]), int(tried[i])
        if (k, n) not in shares:
            shares[k, n] = share(k, n) if n else None
        of = dict(zip((*OUTCOMES, OTHER), counts.reshape(len(keys), -1)[i].tolist(), strict=True))
        points.append(Point(tuple(map(written, key)), of, shares[k, n], named[ends[i] : ends[i + 1]]))
    return Cells(names, points, max(0, len(keys) - POINTS), number, keys, fixed, command)


def tuned(found: Study) -> str:
    """The axis that has a value of its own at each grid point; "" for none."""
    return str(found.plan["tuned"].get("axis", "")) if found.plan.get("tuned") else ""


def some(number: Numbers, outcome: Numbers, seed: npt.NDArray[Any], each: int) -> Numbers:
    """Of every listed grid point at most ``each`` rows, by point: failed ones first, then those of the rarest outcome
    there, the smallest seeds first; of one outcome more than half of them only where the others leave room."""
    kind = number * (len(OUTCOMES) + 1) + outcome
    rarity = np.where(outcome == OUTCOMES.index("failed"), 0, np.bincount(kind)[kind])
    order = np.lexsort((seed, kind))
    beyond = np.zeros(len(kind), dtype=bool)
    beyond[order] = place(kind[order]) >= -(-each // 2)
    order = np.lexsort((seed, outcome, rarity, beyond, number))
    of = number[order]
    return np.asarray(order[(place(of) < each) & (of < POINTS)], dtype=np.int64)


def place(sorted_: Numbers) -> Numbers:
    """How many equal numbers come before each of sorted ones."""
    return np.asarray(np.arange(len(sorted_)) - np.searchsorted(sorted_, sorted_))


def cells_of(found: Study, number: Numbers, outcome: Numbers, chosen: Numbers, curves: int) -> list[Cell]:
    """The trainings in the rows ``chosen``, sorted by point; of each point the first ``curves`` have theirs."""
    frame, kinds, schema = found.frame, (*OUTCOMES, OTHER), found.rows.schema
    seed, steps, loss, address = (
        frame[name].iloc[chosen].tolist() if name in frame else [None] * len(chosen)
        for name in ("seed", "steps", "loss", "cell_id")
    )
    recorded = all(name in frame and numbers(schema.field(name).type) for name in CURVE)
    drawn = place(number[chosen]) < curves
    looked_at = [frame[name].to_numpy() for name in CURVE] if recorded else []
    return [
        Cell(
            written(seed[i]), kinds[outcome[row]], count(steps[i]), size(loss[i]),
            str(address[i]) if ADDRESS.fullmatch(str(address[i])) else "",
            thinned(*(column[row] for column in looked_at)) if recorded and drawn[i] else ([], []),
        )
        for i, row in enumerate(chosen.tolist())
    ]  # fmt: skip


def numbers(kind: pa.DataType) -> bool:
    """Whether a column holds lists of numbers, as curves do."""
    of = kind.value_type if pa.types.is_list(kind) else None
    return of is not None and bool(pa.types.is_floating(of) or pa.types.is_integer(of))


def thinned(step: Any, loss: Any) -> tuple[list[int], list[int]]:
    """At most LOOKS moments of a curve, its first and last among them: steps, 100 log10 of positive values."""
    if not all(isinstance(one, (list, np.ndarray)) for one in (step, loss)) or len(step) != len(loss):
        return [], []
    k, y = np.asarray(step, dtype=float), np.asarray(loss, dtype=float)
    shown = np.flatnonzero(np.isfinite(k) & (k >= 0) & (k < 2**53) & np.isfinite(y) & (y > 0))
    if len(shown) > LOOKS:
        shown = shown[np.unique(np.linspace(0, len(shown) - 1, LOOKS).round().astype(int))]
    return k[shown].astype(int).tolist(), np.round(100 * np.log10(y[shown])).astype(int).tolist()


def written(value: Any) -> str:
    """A value of an axis: short, and what a crafted row may hold cut off."""
    return f"{value:g}" if isinstance(value, float) else str(value)[:LONGEST]


def count(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, (int, float)) and abs(value) < 2**63 else "–"


def size(value: Any) -> str:
    """Three digits of a loss."""
    return f"{value:.3g}" if isinstance(value, (int, float)) else "–"


def told(every: Cells, figures: Mapping[str, Sequence[Spot]]) -> Markup:
    """JSON for a ``<script type="application/json">``: no text in it can end the element."""
    outcomes = every.outcomes
    points = [
        [one.values, [one.counts[name] for name in outcomes], one.share and [f"{value:.2f}" for value in one.share],
         [[*cell[:1], outcomes.index(cell.outcome), *cell[2:]] for cell in one.cells]]
        for one in every.points
    ]  # fmt: skip
    content = {"names": every.names, "fixed": every.fixed, "replay": every.replay, "outcomes": outcomes,
               "points": points, "figures": figures}  # fmt: skip
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
