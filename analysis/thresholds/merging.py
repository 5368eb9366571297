"""Fewer cells where widths lie on no shared grid: every fit's cost grows with the distinct (n, m), not the trainings.

Up to ``CELLS`` cells and ``GROUPS`` n (every shared grid of usual size) a tally comes back as it is. Beyond:

- m within each n goes into bins of 1, 1/2, ... 1/256 octave, finest where both outcomes are frequent; a bin's width is
  the mean log m of its trainings. The ends of each n's bracket and of its grid stay cells of their own: a
  separation, and which n are censored, is told from the widths that were trained.
- Many distinct n go into ``BANDS`` log-spaced bands at their mean log n. Each training's m moves along the joint law,
  m (band's n / its n)^p, so that a band does not smear the transition; errors of p cancel to first order, for the
  moves average to nothing. Brackets are then of moved widths, no longer of trained ones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.thresholds.firth import firth
from analysis.thresholds.outcomes import Array, Index, SharedSeeds, Tally

CELLS, TARGET = 600, 400  # cells up to which nothing is merged; about how many are left otherwise
GROUPS, BANDS = 40, 12  # the same for n; over two axes for the pairs (n, d), and PLANE_BANDS for either axis
PLANE_GROUPS, PLANE_BANDS = 100, 8
FINEST = 8  # halvings of an octave
SHOWN = 3.0  # standard errors of the joint slope from which on the joint law is trusted to move widths along


def merged(data: Tally) -> Tally:
    """The tally with at most about ``TARGET`` cells (a few more where n are many), its ``merged`` saying what was
    done; the same object where it is small enough."""
    if not data.trainings:
        return data
    fewer = _fewer_groups(data)
    return _fewer_widths(fewer)


def _fewer_groups(data: Tally) -> Tally:
    axes = [data.over] if data.second is None else [data.over, data.second]
    count = len(np.unique(np.column_stack(axes), axis=0))
    limit, most = (GROUPS, BANDS) if data.second is None else (PLANE_GROUPS, PLANE_BANDS)
    if count <= limit:
        return data
    logs = [np.log(axis) for axis in axes]
    bands = [_bands(axis, most) for axis in logs]
    of = np.unique(np.column_stack(bands), axis=0, return_inverse=True)[1].reshape(-1)
    middles = [_means(axis, data.trials, of)[of] for axis in logs]
    x = np.log(data.critical)
    for power, axis, middle in zip(_powers(data, x, logs, of), logs, middles, strict=True):
        x = x + power * (middle - axis)
    names = data.over_name if data.second is None else f"({data.over_name}, {data.second_name})"
    note = f"{count:,} {names} merged into {of.max() + 1} bands, widths moved along the joint law"
    second = None if data.second is None else np.exp(middles[1])
    return collected(replace(data, over=np.exp(middles[0]), second=second, critical=np.exp(x), merged=note))


def _bands(logs: Array, most: int) -> Index:
    """Log-spaced bands (R,) of an axis; its own values where they are few."""
    distinct, of = np.unique(logs, return_inverse=True)
    if len(distinct) <= most:
        return np.asarray(of.reshape(-1), dtype=np.int64)
    share = (logs - distinct[0]) / (distinct[-1] - distinct[0])
    return np.asarray(np.minimum((share * most).astype(np.int64), most - 1), dtype=np.int64)


def _powers(data: Tally, x: Array, logs: list[Array], of: Index) -> list[float]:
    """Exponents of the joint law, from a Firth fit to cells of a band and a quarter octave; 0 without a clear one."""
    coarse = np.unique(np.column_stack([of, np.floor(4 * x / np.log(2))]), axis=0, return_inverse=True)[1].reshape(-1)
    columns = np.column_stack([_means(column, data.trials, coarse) for column in (x, *logs)])
    trials = _sums(coarse, data.trials)
    design = np.column_stack([np.ones(len(trials)), columns - np.average(columns, axis=0, weights=trials)])
    fit = firth(design, _sums(coarse, data.successes), trials)
    slope = fit.coefficients[1]
    if not slope > SHOWN * np.sqrt(fit.covariance[1, 1]):
        return [0.0] * len(logs)
    return [float(-power / slope) for power in fit.coefficients[2:]]


def _fewer_widths(data: Tally) -> Tally:
    count = len(data.critical)
    if count <= CELLS:
        return data
    axes = [data.over] if data.second is None else [data.over, data.second]
    group = np.unique(np.column_stack(axes), axis=0, return_inverse=True)[1].reshape(-1)
    octaves = np.log2(data.critical)
    bins = np.stack([np.floor((octaves - octaves.min()) * 2.0**level) for level in range(FINEST + 1)])
    unsure = np.stack([_unsure(data, _ids(group, row), level) for level, row in enumerate(bins)])
    stay = _ends(data, group)
    # Bins are halved while they are unsure by more than a limit: the least limit that leaves few enough of them.
    limits = np.geomspace(max(unsure.max(), 1e-9), 1e-9, 61)
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high + 1) // 2
        few = len(np.unique(_labels(group, bins, unsure, stay, limits[middle]))) <= TARGET
        low, high = (middle, high) if few else (low, middle - 1)
    labels = _labels(group, bins, unsure, stay, limits[low])
    of = np.unique(labels, return_inverse=True)[1].reshape(-1)
    level = _levels(unsure, limits[low])
    finest = f"1/{2 ** int(level.max())} octave" if level.max() else "an octave"
    note = f"{count:,} cells merged into {of.max() + 1}, bins of {data.critical_name} down to {finest}"
    note = f"{data.merged}; {note}" if data.merged else note
    critical = np.exp(_means(np.log(data.critical), data.trials, of))
    single = np.bincount(of) == 1
    critical[of[single[of]]] = data.critical[single[of]]  # exactly: a mean of one rounds
    return collected(replace(data, critical=critical[of], merged=note))


def _unsure(data: Tally, of: Index, level: int) -> Array:
    """Trainings x q (1 - q) x width^2 of each cell's bin (R,): what the bin's width hides of the transition."""
    trials, won = _sums(of, data.trials), _sums(of, data.successes)
    q = (won + 0.5) / (trials + 1)
    return np.asarray((trials * q * (1 - q) * 4.0**-level)[of])


def _levels(unsure: Array, limit: float) -> Index:
    """The first level of halving (R,) at which a cell's bin is sure enough, or the last."""
    sure = unsure <= limit
    return np.asarray(np.where(sure.any(0), sure.argmax(0), len(unsure) - 1), dtype=np.int64)


def _labels(group: Index, bins: Array, unsure: Array, stay: Array, limit: float) -> Index:
    """A number (R,) per bin; cells that ``stay`` have one each, and a bin does not reach across them."""
    level = _levels(unsure, limit)
    at = bins[level, np.arange(len(group))]
    return _ids(_ids(group, stay), level * (bins.max() + 2) + at)


def _ends(data: Tally, group: Index) -> Array:
    """2 x the cells before it that must stay, of its group, + whether it stays itself (R,): those at the bracket's
    ends and the grid's. A tally is sorted by group and m."""
    failed, won = data.successes < data.trials, data.successes > 0
    stays = np.zeros(len(group), dtype=bool)
    for mask, last in ((failed, True), (won, False), (np.ones_like(stays), True), (np.ones_like(stays), False)):
        index = np.flatnonzero(mask)
        inside = group[index]
        edge = np.diff(inside, append=-1) != 0 if last else np.diff(inside, prepend=-1) != 0
        stays[index[edge]] = True
    return 2.0 * (np.cumsum(stays) - stays) + stays


def _ids(a: Array | Index, b: Array | Index) -> Index:
    """Numbers from 0 (R,) of the distinct pairs of whole numbers."""
    _, first = np.unique(np.asarray(a, dtype=np.int64), return_inverse=True)
    _, second = np.unique(np.asarray(b, dtype=np.int64), return_inverse=True)
    _, of = np.unique(first.reshape(-1) * (second.max() + 1) + second.reshape(-1), return_inverse=True)
    return np.asarray(of.reshape(-1), dtype=np.int64)


def _sums(of: Index, weights: Array) -> Array:
    return np.asarray(np.bincount(of, weights=weights), dtype=float)


def _means(values: Array, weights: Array, of: Index) -> Array:
    return _sums(of, weights * values) / _sums(of, weights)


def collected(data: Tally) -> Tally:
    """Equal cells added up, in a tally's order, with the seeds that they share."""
    second = np.ones_like(data.over) if data.second is None else data.second
    frame = pd.DataFrame({"over": data.over, "second": second, "critical": data.critical})
    rows = frame.groupby(["over", "second", "critical"], sort=True)
    of = np.asarray(rows.ngroup(), dtype=np.int64)
    first = np.unique(of, return_index=True)[1]
    shared = data.shared
    if shared is not None:
        shared = SharedSeeds(of[shared.cell], shared.cluster, shared.successes, shared.trials)
    return replace(
        data, over=data.over[first], critical=data.critical[first],
        second=None if data.second is None else second[first],
        successes=_sums(of, data.successes), trials=_sums(of, data.trials), shared=shared,
    )  # fmt: skip
