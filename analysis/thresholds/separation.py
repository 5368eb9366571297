"""Separation and censoring: what the data say without any model of the transition.

Data are separated when a line log m = a + p log n has every failure on or below it and every success on or
above it (Albert & Anderson 1984, Biometrika 71:1). Maximum likelihood then diverges, and the honest answer is
the set of all such lines. Each n contributes a bracket [last failing m, first succeeding m], open-ended where
the n never or always succeeds on the grid, and the lines are those that pass through every bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from analysis.thresholds.law import Threshold
from analysis.thresholds.outcomes import Array, Index, Tally

SLACK = 1e-9  # in log m: brackets that touch in exact arithmetic must touch here


@dataclass(frozen=True)
class Groups:
    """The distinct n (or (n, d)) of a tally: ``over`` (K,), ``second`` (K,) or None, ``of`` (R,) by cell."""

    over: Array
    second: Array | None
    of: Index

    def __len__(self) -> int:
        return len(self.over)


def groups(data: Tally) -> Groups:
    """The groups of a tally, in its order (increasing n, then d)."""
    columns = [data.over] if data.second is None else [data.over, data.second]
    distinct, of = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    return Groups(distinct[:, 0], None if data.second is None else distinct[:, 1], of.reshape(-1))


@dataclass(frozen=True)
class Brackets:
    """Per group (K,): last failing m (0: none failed), first succeeding m (inf: none succeeded), the grid's
    ends, ``clean``: no failure lies above a success, so that the bracket separates this group, and ``tried``:
    trainings at the bracket's two ends."""

    low: Array
    high: Array
    least: Array
    most: Array
    clean: npt.NDArray[np.bool_]
    tried: Array


def brackets(data: Tally, of: Index, count: int) -> Brackets:
    """The bracket of each group; see the module's text."""
    low, high = np.zeros(count), np.full(count, np.inf)
    least, most = np.full(count, np.inf), np.zeros(count)
    failed, won = data.successes < data.trials, data.successes > 0
    np.maximum.at(low, of[failed], data.critical[failed])
    np.minimum.at(high, of[won], data.critical[won])
    np.minimum.at(least, of, data.critical)
    np.maximum.at(most, of, data.critical)
    at_end = (data.critical == low[of]) | (data.critical == high[of])
    tried = np.bincount(of, data.trials * at_end, minlength=count).astype(float)
    return Brackets(low, high, least, most, low < high, tried)


def line_exponents(over: Array, low: Array, high: Array) -> tuple[float, float] | None:
    """Range of p over the lines log m = a + p log n through all K brackets [low, high], or None.

    ``low`` may be 0 and ``high`` inf. Exact: eliminating a from the two-variable linear programme leaves
    log low_i - log high_j <= p (log n_i - log n_j) for every pair.
    """
    with np.errstate(divide="ignore"):
        bottom, top, z = np.log(low), np.log(high), np.log(over)
    if np.any(bottom > top + SLACK):
        return None
    i, j = np.triu_indices(len(z), 1)
    least = np.max((bottom[j] - top[i]) / (z[j] - z[i]), initial=-np.inf)
    most = np.min((top[j] - bottom[i]) / (z[j] - z[i]), initial=np.inf)
    return (float(least), float(most)) if least <= most + SLACK else None


def corrected_exponents(points: Sequence[Threshold]) -> tuple[float, float]:
    """Range of p over the curves log m = a + p log n + c / n through every point's interval, by linear programming:
    what a 1/n correction leaves open where the n are too few to fit one. Infinite where nothing bounds it."""
    over = np.array([point.over for point in points])
    with np.errstate(divide="ignore"):
        low, high = np.log(np.array([point.interval for point in points]).T)
    rows = np.column_stack([np.ones_like(over), np.log(over), over.min() / over])
    limits = np.vstack([rows[np.isfinite(high)], -rows[np.isfinite(low)]])
    bounds = np.append(high[np.isfinite(high)], -low[np.isfinite(low)]) + SLACK
    ends = []
    for sign in (1.0, -1.0):
        found = linprog(sign * np.eye(3)[1], A_ub=limits, b_ub=bounds, bounds=(None, None))
        ends.append(float(np.asarray(found.x)[1]) if found.status == 0 else -sign * np.inf)
    return ends[0], ends[1]


def corner_lines(over: Array, low: Array, high: Array) -> Array:
    """The extreme lines through the brackets, as rows (a, p), shape (V, 2): at any n the set of separating
    lines spans the least and greatest of them. Groups with an open end give no corner on that side."""
    with np.errstate(divide="ignore"):
        bottom, top, z = np.log(low), np.log(high), np.log(over)
    i, j = np.triu_indices(len(z), 1)
    lines = []
    for first in (bottom, top):
        for last in (bottom, top):
            finite = np.isfinite(first[i]) & np.isfinite(last[j])
            p = (last[j][finite] - first[i][finite]) / (z[j] - z[i])[finite]
            lines.append(np.column_stack([first[i][finite] - p * z[i][finite], p]))
    candidates = np.vstack(lines)
    heights = candidates[:, :1] + candidates[:, 1:] * z
    return candidates[np.all((heights >= bottom - SLACK) & (heights <= top + SLACK), axis=1)]
