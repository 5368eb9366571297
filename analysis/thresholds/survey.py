"""What every fit of a law needs first and last: the survey of a tally, separation, and the status."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.thresholds.firth import CUTOFF, JointFit, firth, joint_fit, width_effect
from analysis.thresholds.law import EVERYTHING, Curve, Interval, Threshold, ThresholdLaw
from analysis.thresholds.merging import merged
from analysis.thresholds.outcomes import Array, Tally
from analysis.thresholds.points import local_exponents, thresholds
from analysis.thresholds.separation import Brackets, Groups, brackets, corner_lines, groups, line_exponents

REVERSED = "reversed"  # the status where success demonstrably falls with m
SHARPER = 1.25  # factor of the transition's slope, from the least to the largest n, that is worth a note
FEW_AT_ENDS = 5  # trainings at the two ends of a bracket together, below which it may be chance


@dataclass(frozen=True)
class Setting:
    """What every fit needs first: the groups, their brackets, the joint Firth fit if there is one, and the
    law as far as it is known without (a status that stands, or "ok")."""

    data: Tally
    where: Groups
    brackets: Brackets
    joint: JointFit | None
    law: ThresholdLaw

    @property
    def inflation(self) -> float:
        """Variance factor of shared seeds."""
        return self.joint.design_effect if self.joint else 1.0


def survey(data: Tally, level: float) -> Setting:
    """Groups, brackets, joint fit and points; a status other than "ok" where no exponent can be fitted."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level:g}")
    if data.second is not None:
        raise ValueError("this tally has a second axis: use fit_plane, or select one value of it")
    data = merged(data)
    where = groups(data)
    around = brackets(data, where.of, len(where))
    won, joint, slopes = float(data.successes.sum()), None, None
    status = "ok"
    if not data.trainings:
        status = "no data"
    elif won in (0, data.trainings):
        status = "all succeeded" if won else "all failed"
    elif len(where) == 1:
        status, slopes = "one n only", _single_slope(data)
    else:
        joint = joint_fit(data)
        if not np.isfinite(joint.exponent):
            status = REVERSED if joint.width_effect < -CUTOFF else "no width effect"
        else:
            slopes = np.full((len(where), 1), joint.slope)
    points: tuple[Threshold, ...] = ()
    if len(where):
        inflation = joint.design_effect if joint else 1.0
        points = thresholds(data, where, around, slopes, level, inflation=inflation)
    law = _blank(data, level, points, status)
    if status == REVERSED:
        law = replace(law, notes=(falls(data), *law.notes))
    return Setting(data, where, around, joint, law)


def _single_slope(data: Tally) -> Array | None:
    """Slope at a single n, (1, 1), or None if the width effect is not shown (likelihood ratio, 95%)."""
    x = np.log(data.critical)
    design = np.column_stack([np.ones_like(x), x - x.mean()])
    if np.ptp(x) == 0:
        return None
    full = firth(design, data.successes, data.trials)
    if width_effect(design, data, full) < CUTOFF:
        return None
    return np.asarray(full.coefficients[1]).reshape(1, 1)


def falls(data: Tally) -> str:
    """What status "reversed" means."""
    m = data.critical_name
    if data.falling:
        return f"success rises with {m}: there is no {m} from which on it fails"
    return f"success falls with {m}: there is no {m} from which on it succeeds"


def _blank(data: Tally, level: float, points: tuple[Threshold, ...], status: str) -> ThresholdLaw:
    return ThresholdLaw(
        exponent=np.nan,
        interval=EVERYTHING,
        envelope=EVERYTHING,
        prefactor=np.nan,
        status=status,
        notes=remarks(data, points),
        points=points,
        level=level,
        over_range=crossed_range(points),
        trainings=data.trainings,
        dropped=data.dropped,
        repeated=data.repeated,
        local=local_exponents(points),
        over_name=data.over_name,
        critical_name=data.critical_name,
    )


def crossed_range(points: tuple[Threshold, ...]) -> Interval:
    inside = [point.over for point in points if point.censored is None] or [p.over for p in points]
    return (min(inside), max(inside)) if inside else (np.nan, np.nan)


def remarks(data: Tally, points: tuple[Threshold, ...]) -> tuple[str, ...]:
    notes, m = [], data.critical_name
    for side in ("above", "below"):
        where = [f"{point.over:g}" for point in points if point.censored == side]
        if where:
            notes.append(f"{m}* lies {side} every {m} tried at {data.over_name} = {', '.join(where)}")
    if data.dropped:
        notes.append(f"{data.dropped} trainings without an outcome dropped")
    if data.repeated:
        notes.append(f"{data.repeated} repeated records counted once")
    if data.merged:
        notes.append(data.merged)
    if data.shared is not None:
        notes.append(f"seeds shared by several {data.critical_name}: clustered by ({data.over_name}, seed)")
    return tuple(notes)


def separated(setting: Setting) -> tuple[float, float] | None:
    """Range of p over the lines that separate all data, or None."""
    around = setting.brackets
    if not around.clean.all():
        return None
    return line_exponents(setting.where.over, around.low, around.high)


def with_separation(setting: Setting, interval: Interval) -> Interval:
    """The interval, united with the separating set where there is one."""
    lines = separated(setting) or interval
    return min(interval[0], lines[0]), max(interval[1], lines[1])


def curve(setting: Setting, z: Array, band: tuple[Array, Array, Array]) -> Curve:
    """The tabulated band (middle, low, high) at log n = ``z``, widened to every separating line."""
    middle, low, high = band
    if separated(setting):
        around = setting.brackets
        corners = corner_lines(setting.where.over, around.low, around.high)
        if len(corners):
            heights = corners[:, :1] + corners[:, 1:] * z
            low, high = np.minimum(low, heights.min(0)), np.maximum(high, heights.max(0))
    return Curve(z, middle, low, high)


def coarse(points: tuple[Threshold, ...], setting: Setting) -> bool:
    """Most of the crossed n are mere brackets, well tried at both ends: the likelihood is then a plateau with
    walls, not a hill. Where widths were tried once or twice, both outcomes may be missing by chance."""
    around = setting.brackets
    crossed = [i for i, point in enumerate(points) if point.censored is None]
    tried = around.tried >= (0 if separated(setting) else FEW_AT_ENDS)
    return len(crossed) >= 2 and 2 * sum(points[i].separated and tried[i] for i in crossed) > len(crossed)


def finish(law: ThresholdLaw, setting: Setting) -> ThresholdLaw:
    """Status and notes of a law that has an exponent; one-sided where fewer than two n were crossed."""
    points, notes = law.points, list(law.notes)
    crossed = [point for point in points if point.censored is None]
    if len(crossed) < 2:
        interval = point_exponents(points)
        notes.append(f"{len(crossed)} {law.over_name} crossed: no exponent, bounds at most")
        return replace(
            law, exponent=np.nan, prefactor=np.nan, interval=interval, envelope=interval,
            status="censored", notes=tuple(notes), curve=None, forms=(),
        )  # fmt: skip
    separable = separated(setting) is not None
    brackets_only = sum(point.separated for point in crossed)
    if brackets_only and not separable:
        notes.append(f"no width with both outcomes at {brackets_only} of {len(crossed)} {law.over_name}")
    overs = [point.over for point in points]
    change = abs(law.sharpening) * np.log(max(overs) / min(overs))
    if (law.sharpening_interval[0] > 0 or law.sharpening_interval[1] < 0) and change > np.log(SHARPER):
        verb = "sharpens" if law.sharpening > 0 else "blurs"
        notes.append(f"the transition {verb} with {law.over_name}: slope ~ {law.over_name}^{law.sharpening:.2f}")
    law = replace(law, notes=tuple(notes))
    if len(crossed) == 2:
        notes.append(f"two {law.over_name} bound no envelope: a finite-size correction could be any")
        return replace(law, status="two n: law untested", envelope=EVERYTHING, notes=tuple(notes))
    if separable:
        return replace(law, status="separated")
    if law.status != "ok":
        return law
    if len(crossed) < len(points):
        return replace(law, status="censored")
    return replace(law, status="grid too coarse") if coarse(points, setting) else law


def point_exponents(points: tuple[Threshold, ...]) -> Interval:
    """Range of p over the lines through every point's own interval: one-sided when too few n were crossed."""
    low, high = (np.array([point.interval[end] for point in points]) for end in (0, 1))
    return line_exponents(np.array([point.over for point in points]), low, high) or EVERYTHING
