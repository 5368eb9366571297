"""Rows -> what a sweep shows: shares of success and metrics along its axis, and along the training.

A *panel* is one value of the axes that are neither ``over`` nor ``by``; a *series* in it is one value of ``by``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.claims.theory import Array, claims
from analysis.titles import titled

SUCCESS = "success"
HUGE = 1e300  # stands for infinity


@dataclass(frozen=True, eq=False)
class Series:
    """One curve: x (K,), numbers or names; the share of successes with its 95% Wilson interval, or the median of a
    metric over seeds with its quartiles; trainings per point; for shares what a claim predicts (NaN if none); and the
    label of one row of each point in its frame."""

    label: str
    x: list[Any]
    middle: Array
    low: Array
    high: Array
    trainings: Array
    predicted: Array
    row: Array


@dataclass(frozen=True, eq=False)
class Panel:
    title: str
    series: tuple[Series, ...]


def shown(plan: Mapping[str, Any], frame: pd.DataFrame) -> list[str]:
    """What a sweep shows along ``over``: the share of successes, unless a threshold says it already or it is the same
    everywhere, and the metrics it names."""
    told = [] if plan["critical"] or frame.empty or frame[SUCCESS].nunique() < 2 else [SUCCESS]
    named = [name for name in dict.fromkeys([*told, *plan.get("metrics", ())]) if name in frame]
    return [name for name in named if pd.api.types.is_numeric_dtype(frame[name])]


def panels(plan: Mapping[str, Any], frame: pd.DataFrame, metric: str) -> list[Panel]:
    """A metric, or ``success``, along ``over``; panels and series without a value are left out."""
    return [
        Panel(title, tuple(found))
        for title, part in panelled(plan, frame)
        if (found := [one for one in (series(plan, rows, metric, label) for label, rows in by(plan, part)) if one.x])
    ]


def panelled(plan: Mapping[str, Any], frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows by the axes that vary and are neither ``over`` nor ``by``, with a title such as "d = 16"."""
    parts = []
    for setting in settings(plan, plan.get("by")):
        inside = np.ones(len(frame), dtype=bool)
        for name, value in setting.items():
            inside &= (frame[name] == value).to_numpy()
        if inside.any():
            parts.append((titled(setting), frame[inside]))
    return parts


def settings(plan: Mapping[str, Any], beside: str | None) -> list[dict[str, Any]]:
    """Every combination of the axes that vary, but for ``over`` and ``beside``."""
    names = [name for name, values in plan["axes"].items() if len(values) > 1 and name not in (plan["over"], beside)]
    return [dict(zip(names, values, strict=True)) for values in product(*(plan["axes"][name] for name in names))]


def by(plan: Mapping[str, Any], frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of a panel by the value of ``by``, in the plan's order."""
    name = plan.get("by")
    if not name or name not in frame:
        return [("", frame)]
    return [(titled({name: value}), frame[frame[name] == value]) for value in plan["axes"][name]]


def series(plan: Mapping[str, Any], frame: pd.DataFrame, metric: str, label: str) -> Series:
    """One curve; trainings without a value (failed, diverged) are left out of a metric, failed ones of a share."""
    known = frame[frame[metric].notna()]
    x, points = [], []
    for value in plan["axes"][plan["over"]]:
        rows = known[known[plan["over"]] == value]
        if len(rows):
            x.append(value)
            found = share(int(rows[metric].sum()), len(rows)) if metric == SUCCESS else quartiles(rows[metric])
            told = prediction(plan, rows) if metric == SUCCESS else np.nan
            points.append((*found, float(len(rows)), told, float(rows.index[0])))
    columns = np.array(points, dtype=float).reshape(-1, 6).T
    return Series(label, x, *columns)


def share(k: int, n: int) -> tuple[float, float, float]:
    """Share of k successes in n trainings with its 95% Wilson interval."""
    interval = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    return k / n, float(interval.low), float(interval.high)


def quartiles(values: "pd.Series[Any]") -> tuple[float, float, float]:
    """Median and quartiles."""
    low, middle, high = np.quantile(values.to_numpy(dtype=float), [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)


def prediction(plan: Mapping[str, Any], rows: pd.DataFrame) -> float:
    """The success probability that a claim states for these rows; NaN if none does."""
    for claim in claims(plan):
        exact = (
            claim.direction == "probability"
            and not (claim.at_least or claim.metric)
            and set(claim.columns) <= set(rows)
        )
        if exact and all((rows[name] == value).all() for name, value in claim.where.items()):
            return float(claim.bounds(rows).mean())
    return float("nan")


def along(rows: pd.DataFrame, name: str) -> tuple[Array, Array, Array, Array]:
    """A curve along the training: steps (K,), and median and quartiles over the trainings at each.

    A training counts with its latest value at or before the step, a finished one keeps its last; NaN (a training that
    diverged) counts as infinite.
    """
    column = f"curve_{name}"
    pairs = zip(rows["curve_step"], rows[column], strict=True) if column in rows else ()
    curves = [(np.asarray(k), np.asarray(y, dtype=float)) for k, y in pairs if k is not None and len(k)]
    if not curves:
        return (np.zeros(0),) * 4
    steps = np.unique(np.concatenate([k for k, _ in curves]))
    full = np.array([y[np.searchsorted(k, steps, side="right") - 1] for k, y in curves])
    finite = np.clip(np.nan_to_num(full, nan=HUGE), -HUGE, HUGE)  # quantiles between infinities are not numbers
    low, middle, high = (np.where(q > HUGE / 1e3, np.inf, q) for q in np.quantile(finite, [0.25, 0.5, 0.75], axis=0))
    return steps, middle, low, high
