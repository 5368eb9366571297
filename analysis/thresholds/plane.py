"""The critical width over two axes: m* = C n^p d^q, and whether it is a function of n/d alone.

The fit is the hierarchical one of ``fit_threshold`` with a column more. Where the points collapse onto n / d^k
(collapse.py), the forms are compared on that axis, by ``fit_threshold`` itself: a floor or a break there makes the
law that of the largest n / d^k, with its status, range and envelope. Where nothing collapses and the surface bends,
the status is ``CURVED`` and there are no exponents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog
from scipy.special import logit

from analysis.thresholds.collapse import FEWEST, Collapse, along, axis_name, collapse_notes, collapse_of
from analysis.thresholds.firth import CUTOFF, design_effect, firth, width_effect
from analysis.thresholds.fitting import fit_threshold
from analysis.thresholds.hierarchical import hierarchical
from analysis.thresholds.law import EVERYTHING, Form, Interval, Threshold, exponential, shown
from analysis.thresholds.merging import merged
from analysis.thresholds.outcomes import Array, Tally
from analysis.thresholds.points import thresholds
from analysis.thresholds.separation import Brackets, Groups, brackets, groups
from analysis.thresholds.survey import REVERSED, falls, remarks

CURVED = "curved: one exponent per axis is no answer"
NODES = np.array([-1.2247, 0.0, 1.2247])


@dataclass(frozen=True)
class PlaneLaw:
    """m* = prefactor n^exponents[0] d^exponents[1], with 95% intervals, that of their ``total`` (0 in a power law
    of n/d), status, notes, the points per (n, d), and the collapse if it could be judged.

    ``envelope`` is the wider interval of exponents[0], infinite where the form could not be tested (a note says so).
    Where a floor or a break was found along ``axis`` ("n/d"), all numbers are of its largest values, ``over_range``,
    there m* = offset + prefactor axis^exponents[0]; ``forms`` are those compared along it, ``form`` the one chosen.
    """

    exponents: tuple[float, float]
    intervals: tuple[Interval, Interval]
    total: Interval
    prefactor: float
    status: str
    notes: tuple[str, ...]
    points: tuple[Threshold, ...]
    level: float
    trainings: int
    dropped: int
    collapse: Collapse | None = None
    names: tuple[str, str, str] = ("m", "n", "d")
    repeated: int = 0
    envelope: Interval = EVERYTHING
    over_range: Interval = (np.nan, np.nan)
    axis: str = ""
    form: str = ""
    forms: tuple[Form, ...] = ()
    offset: float = 0.0

    def summary(self) -> str:
        """One line for the law, one for its status."""
        m, n, d = self.names
        (p, q), ((a, b), (e, f)) = self.exponents, self.intervals
        law = f"{m}* = {self.prefactor:.3g} {n}^{p:.3f} {d}^{q:.3f}  [{a:.3f}, {b:.3f}] [{e:.3f}, {f:.3f}]"
        if np.isfinite(self.over_range).all():
            x = f"({self.axis})" if len(self.axis) > 1 else self.axis
            floor = f"{self.offset:.3g} + " if self.offset else ""
            law = f"{m}* = {floor}{self.prefactor:.3g} {x}^{p:.3f}  [{a:.3f}, {b:.3f}]"
            law += f", {self.axis} in [{self.over_range[0]:.4g}, {self.over_range[1]:.4g}]"
        law = law if np.isfinite(p) else f"no exponents of {m}*({n}, {d})"
        return f"{law} ({self.trainings:,} trainings)\nstatus: " + "; ".join([self.status, *self.notes])

    def _repr_html_(self) -> str:
        """For notebooks: law, envelope, status, points."""
        m, *axes = self.names
        return shown(self.summary(), self.envelope, (*axes, f"{m}*"), self.points)


def fit_plane(data: Tally, level: float = 0.5) -> PlaneLaw:
    """Fit the law over both axes of a tally that has a ``second`` one; as tolerant of poor data as
    ``fit_threshold``. Raises ValueError for a level outside (0, 1) or a tally with one axis."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level:g}")
    if data.second is None:
        raise ValueError("this tally has one axis: use fit_threshold")
    data = merged(data)
    assert data.second is not None
    where = groups(data)
    around = brackets(data, where.of, len(where))
    raw = np.column_stack([np.ones_like(data.over), np.log(data.critical), np.log(data.over), np.log(data.second)])
    status = _degenerate(data, where, raw)
    if status:
        return _none(data, level, status, thresholds(data, where, around, None, level) if len(where) else ())
    design = raw - np.append(0.0, raw[:, 1:].mean(0))
    joint = firth(design, data.successes, data.trials)
    rises = width_effect(design, data, joint)
    if rises < CUTOFF:
        status = REVERSED if rises < -CUTOFF else "no width effect"
        return _none(data, level, status, thresholds(data, where, around, None, level))
    effect = max(design_effect(data, design, joint, column) for column in (2, 3))
    return _fit(data, level, where, around, joint.coefficients, raw[:, 1:].mean(0), effect)


def _degenerate(data: Tally, where: Groups, raw: Array) -> str:
    won = data.successes.sum()
    if not data.trainings:
        return "no data"
    if won in (0, data.trainings):
        return "all succeeded" if won else "all failed"
    if np.linalg.matrix_rank(raw[:, [0, 2, 3]]) < 3:
        return f"one axis only: {data.over_name} and {data.second_name} do not vary independently"
    return "" if len(where) > 3 else "three points: law untested"


def _none(data: Tally, level: float, status: str, points: tuple[Threshold, ...]) -> PlaneLaw:
    notes = (falls(data),) if status == REVERSED else ()
    return PlaneLaw(
        (np.nan, np.nan), (EVERYTHING, EVERYTHING), EVERYTHING, np.nan, status, notes + remarks(data, points), points,
        level, data.trainings, data.dropped, None, (data.critical_name, data.over_name, data.second_name),
        data.repeated,
    )  # fmt: skip


def _fit(
    data: Tally, level: float, where: Groups, around: Brackets, joint: Array, centre: Array, effect: float
) -> PlaneLaw:
    assert where.second is not None
    logs = np.column_stack([np.log(where.over), np.log(where.second)])
    middle = logs.mean(0)
    columns = np.column_stack([np.ones(len(where)), logs - middle])
    p, q = -joint[2:] / joint[1]
    height = centre[0] + (logit(level) - joint[0]) / joint[1] + np.array([p, q]) @ (middle - centre[1:])
    fit = hierarchical(
        data, where.of, columns, logs[:, 0] - middle[0], np.array([height, p, q, np.log(joint[1])]),
        level=level, inflation=effect,
    )  # fmt: skip
    slopes = fit.slopes(logs[:, 0] - middle[0], NODES)
    points = thresholds(
        data, where, around, slopes, level,
        lapse=fit.lapse, skew=fit.average(fit.columns + 4), inflation=effect,
    )  # fmt: skip
    rows = np.eye(3)
    intervals = fit.interval(rows[1]), fit.interval(rows[2])
    lines = separating_planes(logs, around)
    if lines is not None:
        intervals = _hull(intervals[0], lines[0]), _hull(intervals[1], lines[1])
    crossed = sum(point.censored is None for point in points)
    status = "separated" if lines is not None else "censored" if crossed < len(points) else "ok"
    collapse = collapse_of(points)
    notes = remarks(data, points) + collapse_notes(collapse, data)
    if crossed < 4:
        return _none(data, level, "censored", points)
    names = (data.critical_name, data.over_name, data.second_name)
    law = PlaneLaw(
        (fit.quantile(0.5, rows[1]), fit.quantile(0.5, rows[2])), intervals, fit.interval(rows[1] + rows[2]),
        float(exponential(fit.quantile(0.5, np.append(1.0, -middle)))), status, notes, points, level, data.trainings,
        data.dropped, collapse, names, data.repeated,
    )  # fmt: skip
    return _formed(law, data, level, crossed)


def _formed(law: PlaneLaw, data: Tally, level: float, crossed: int) -> PlaneLaw:
    """Envelope and form, along the axis onto which m* collapses; the law of its largest values where it bends."""
    found, names = law.collapse, f"({data.over_name}, {data.second_name})"
    if found is None:
        return replace(law, notes=(*law.notes, f"form untested: {crossed} {names} crossed, {FEWEST} needed"))
    if found.onto is None:
        if found.bent and law.status != "separated":
            nothing = (np.nan, np.nan)
            return replace(
                law, status=CURVED, exponents=nothing, intervals=(EVERYTHING, EVERYTHING), total=EVERYTHING,
                prefactor=np.nan,
            )  # fmt: skip
        return replace(law, envelope=_hull(law.intervals[0], found.tail))
    line = fit_threshold(along(data, found.onto), level)
    law = replace(law, axis=axis_name(found.onto, data), form=line.form, forms=line.forms)
    if law.status == "separated" or not line.status.startswith(("curved", "crossover")):
        return replace(law, envelope=_hull(law.intervals[0], line.envelope))
    of_d = [-k * end for k in found.powers for end in line.interval]
    total = [(1 - k) * end for k in found.powers for end in line.interval]
    told = tuple(note for note in line.notes if note not in law.notes)
    return replace(
        law, status=line.status, exponents=(line.exponent, -found.onto * line.exponent),
        intervals=(line.interval, (min(of_d), max(of_d))), total=(min(total), max(total)), envelope=line.envelope,
        prefactor=line.prefactor, offset=line.offset, over_range=line.over_range, notes=law.notes + told,
    )  # fmt: skip


def _hull(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def separating_planes(logs: Array, around: Brackets) -> tuple[Interval, Interval] | None:
    """Ranges of p and q over the planes log m = a + p log n + q log d through every bracket, by linear
    programming; None if there are none. ``logs`` (K, 2)."""
    if not around.clean.all():
        return None
    rows = np.column_stack([np.ones(len(logs)), logs])
    high, low = np.isfinite(around.high), around.low > 0
    limits = np.vstack([rows[high], -rows[low]])
    bounds = np.append(np.log(around.high[high]), -np.log(around.low[low])) + 1e-9
    ends = []
    for cost in (np.eye(3)[1], np.eye(3)[2]):
        for sign in (1.0, -1.0):
            found = linprog(sign * cost, A_ub=limits, b_ub=bounds, bounds=(None, None))
            if found.status == 2:
                return None
            ends.append(float(found.x @ cost) if found.status == 0 else -sign * np.inf)
    return (ends[0], ends[1]), (ends[2], ends[3])
