"""Outcomes of trainings, checked and counted: the only door into the threshold analysis.

A training at width m (the *critical* axis) and n samples (the *over* axis) succeeds or fails. Fits need
nothing but the counts per (n, m), so a hundred thousand trainings become a few hundred cells here. What is
wrong is refused with the row named; what is missing (a NaN outcome) is left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


class Contradiction(ValueError):
    """One training recorded with both outcomes, in the rows ``first`` and ``second`` (from 0)."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"row {second}: one training is recorded with both outcomes, the other one in row {first}")
        self.first, self.second = first, second


@dataclass(frozen=True)
class SharedSeeds:
    """Where seeds were reused over widths: counts per (cell, cluster), a cluster being one (n, seed)."""

    cell: Index  # (S,) row of the tally
    cluster: Index  # (S,) 0 .. clusters - 1
    successes: Array  # (S,)
    trials: Array  # (S,)


@dataclass(frozen=True)
class Tally:
    """Counts per cell, sorted by (over, second, critical). All arrays have shape (R,), one entry a cell.

    ``second`` is a further axis (d, the init scale) or None. ``dropped`` counts trainings with a NaN
    outcome, ``repeated`` those recorded more than once (same axes, same seed, same outcome: counted once).
    ``falling``: it is failures that are counted, because success ends along the critical axis.
    """

    over: Array
    critical: Array
    successes: Array
    trials: Array
    second: Array | None = None
    shared: SharedSeeds | None = None
    dropped: int = 0
    repeated: int = 0
    over_name: str = "n"
    critical_name: str = "m"
    second_name: str = "d"
    falling: bool = False
    merged: str = ""  # what became of cells too many to fit one by one; see merging.py

    @property
    def trainings(self) -> int:
        return int(self.trials.sum())

    def where(self, keep: npt.NDArray[np.bool_]) -> Tally:
        """The tally of the cells that ``keep`` (R,) marks."""
        shared = None
        if self.shared is not None:
            old, inside = self.shared, keep[self.shared.cell]
            renumber = np.cumsum(keep) - 1
            _, cluster = np.unique(old.cluster[inside], return_inverse=True)
            shared = SharedSeeds(renumber[old.cell[inside]], cluster, old.successes[inside], old.trials[inside])
        second = None if self.second is None else self.second[keep]
        return Tally(
            self.over[keep], self.critical[keep], self.successes[keep], self.trials[keep],
            second, shared, self.dropped, self.repeated,
            self.over_name, self.critical_name, self.second_name, self.falling, self.merged,
        )  # fmt: skip

    def turned(self) -> Tally:
        """Failures counted as successes and the other way round: what ends along the critical axis begins there."""
        old = self.shared
        shared = old and replace(old, successes=old.trials - old.successes)
        return replace(self, successes=self.trials - self.successes, shared=shared, falling=not self.falling)


def tally(
    critical: npt.ArrayLike,
    over: npt.ArrayLike,
    success: npt.ArrayLike,
    seed: npt.ArrayLike | None = None,
    *,
    clustered: bool = True,
    second: npt.ArrayLike | None = None,
    critical_name: str = "m",
    over_name: str = "n",
    second_name: str = "d",
) -> Tally:
    """Count single trainings. Every argument is a column of shape (trainings,).

    ``critical``, ``over`` and ``second`` are positive; ``success`` is 0, 1 or NaN (dropped and counted).
    Without ``seed`` equal rows are independent trainings. With it, equal (over, second, critical, seed)
    are ONE training, counted once; and seeds met at several widths of one n are remembered as clusters,
    unless ``clustered`` is False: then a seed tells repeated records only, and a missing one is of its own.

    Raises ValueError, naming the row (from 0), for a non-positive or non-finite axis value, an outcome
    other than 0, 1 or NaN, columns of unequal length; Contradiction for a training with both outcomes.
    """
    frame = _axes(critical, over, second, (critical_name, over_name, second_name))
    frame["k"] = _column("success", success, len(frame))
    if seed is not None:
        seeds = pd.Series(np.asarray(seed).ravel())
        _same_length("seed", seeds, len(frame))
        missing = seeds.isna().to_numpy()
        if clustered and missing.any():
            _fail(int(np.flatnonzero(missing)[0]), "seed is missing")
        frame["seed"] = np.where(missing, -1 - np.arange(len(seeds)), pd.factorize(seeds)[0])
    outcome = frame["k"]
    _refuse(~(outcome.isna() | outcome.isin([0.0, 1.0])).to_numpy(), "success must be 0, 1 or NaN", outcome)
    kept = frame[outcome.notna()].copy()
    dropped, repeated = len(frame) - len(kept), 0
    if seed is not None:
        axes = ["over", "second", "critical", "seed"]
        again = kept.duplicated(axes).to_numpy()
        clash = again & (kept["k"] != kept.groupby(axes)["k"].transform("first")).to_numpy()
        if clash.any():
            row = kept.index[clash][0]
            raise Contradiction(int(kept.index[(kept[axes] == kept.loc[row, axes]).all(axis=1)][0]), int(row))
        repeated, kept = int(again.sum()), kept[~again].copy()
        kept = kept if clustered else kept.drop(columns="seed")
    kept["N"] = 1.0
    return _collect(kept, dropped, repeated, second is not None, (critical_name, over_name, second_name))


def tally_counts(
    critical: npt.ArrayLike,
    over: npt.ArrayLike,
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    second: npt.ArrayLike | None = None,
    critical_name: str = "m",
    over_name: str = "n",
    second_name: str = "d",
) -> Tally:
    """Count trainings that are already aggregated: ``successes`` k of ``trials`` N per row, shape (rows,).

    Rows of one cell are added up. A NaN count drops its row (counted as its trials, or as one).
    Raises ValueError, naming the row, for k > N, k < 0, N < 0, a count that is not whole, or a bad axis.
    """
    frame = _axes(critical, over, second, (critical_name, over_name, second_name))
    frame["k"] = _column("successes", successes, len(frame))
    frame["N"] = _column("trials", trials, len(frame))
    known = (frame["k"].notna() & frame["N"].notna()).to_numpy()
    for name in ("k", "N"):
        count = frame[name].to_numpy()
        bad = known & ((count < 0) | ~np.isfinite(count) | (count != np.floor(count)))
        _refuse(bad, f"{'successes' if name == 'k' else 'trials'} must be a whole number >= 0", frame[name])
    more = np.flatnonzero(known & (frame["k"] > frame["N"]).to_numpy())
    if more.size:
        k, trained = frame.loc[more[0], ["k", "N"]]
        _fail(int(more[0]), f"more successes than trials: k = {k:g} of N = {trained:g}")
    dropped = int(frame["N"][~known].fillna(1.0).sum())
    kept = frame[known & (frame["N"] > 0).to_numpy()].copy()
    return _collect(kept, dropped, 0, second is not None, (critical_name, over_name, second_name))


def _axes(
    critical: npt.ArrayLike, over: npt.ArrayLike, second: npt.ArrayLike | None, names: tuple[str, str, str]
) -> pd.DataFrame:
    length = int(np.asarray(critical).size)
    columns = {"critical": critical, "over": over, "second": np.ones(length) if second is None else second}
    frame = pd.DataFrame({key: _column(key, values, length) for key, values in columns.items()})
    for key, name in zip(columns, names, strict=True):
        values = frame[key].to_numpy()
        _refuse(~(np.isfinite(values) & (values > 0)), f"{name} must be positive and finite", frame[key])
    return frame


def _column(name: str, values: npt.ArrayLike, length: int) -> pd.Series[float]:
    raw: Any = values if isinstance(values, pd.Series) else pd.Series(np.asarray(values).ravel())
    _same_length(name, raw, length)
    try:
        return pd.Series(raw.to_numpy(dtype=float, na_value=np.nan))
    except (TypeError, ValueError):
        for row, value in enumerate(raw):
            try:
                float("nan" if value is None else value)
            except (TypeError, ValueError):
                _fail(row, f"{name} is not a number: {value!r}")
        raise


def _same_length(name: str, values: pd.Series[Any], length: int) -> None:
    if len(values) != length:
        raise ValueError(f"{name} has {len(values)} rows where the first column has {length}")


def _refuse(bad: npt.NDArray[np.bool_], why: str, values: pd.Series[Any]) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        _fail(row, f"{why}, got {values.iloc[row]:g}")


def _fail(row: int, why: str) -> NoReturn:
    raise ValueError(f"row {row}: {why}")


def _collect(kept: pd.DataFrame, dropped: int, repeated: int, two_axes: bool, names: tuple[str, str, str]) -> Tally:
    """Sum the counts per cell; remember clusters only where a seed really is shared by several widths."""
    axes = ["over", "second", "critical"]
    cells = kept.groupby(axes, sort=True)[["k", "N"]].sum().reset_index()
    shared = None
    if "seed" in kept and len(kept):
        cell = np.asarray(kept.groupby(axes, sort=True).ngroup(), dtype=np.int64)
        seeds = kept.groupby(["over", "second", "seed"], sort=True)
        cluster = np.asarray(seeds.ngroup(), dtype=np.int64)
        if np.bincount(cluster).max() > 1:
            shared = SharedSeeds(cell, cluster, kept["k"].to_numpy(), kept["N"].to_numpy())
    arrays = {key: cells[key].to_numpy(dtype=float) for key in [*axes, "k", "N"]}
    return Tally(
        arrays["over"], arrays["critical"], arrays["k"], arrays["N"],
        arrays["second"] if two_axes else None, shared, dropped, repeated,
        over_name=names[1], critical_name=names[0], second_name=names[2],
    )  # fmt: skip
