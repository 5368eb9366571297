"""Is m*(n, d) a function of n / d^k alone? Judged on the points, without assuming a power law.

log m* as a parabola in log n - k log d, for k = 1 and for a free k, against a parabola in both logs. Where one
holds, trainings are counted anew over that one axis, on which the forms can be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.thresholds.firth import CUTOFF
from analysis.thresholds.forms import MARGIN, Family, aicc, fit_family, summaries
from analysis.thresholds.law import EVERYTHING, Interval, Threshold
from analysis.thresholds.merging import collected
from analysis.thresholds.outcomes import Array, Tally

FEWEST = 9  # crossed (n, d) below which a collapse is not judged: a parabola in both logs takes six
HOLDS = 2.0  # AICc above the best up to which a collapse holds
POWERS = np.linspace(-2.0, 4.0, 601)  # of d in n / d^k
NAMES = ("ratio", "scaled", "surface", "plane")


@dataclass(frozen=True)
class Collapse:
    """Does m* depend on n / d^k alone? ``power`` k with its 95% interval; AICc of n/d and of n/d^k above that of
    the best of the three descriptions, the third being a free surface. ``bent``: the surface beats a plane (one
    exponent per axis) by the margin; ``tail``: 95% interval of its exponent of n at the largest n, middle d."""

    power: float
    interval: Interval
    ratio: float
    scaled: float
    bent: bool = False
    tail: Interval = EVERYTHING

    @property
    def onto(self) -> float | None:
        """The k onto which m* collapses, or None. A k at the end of its range is not known."""
        if self.ratio < HOLDS:
            return 1.0
        known = self.interval[0] > POWERS[0] and self.interval[1] < POWERS[-1]
        return self.power if self.scaled < HOLDS and known else None

    @property
    def powers(self) -> Interval:
        """95% interval of that k."""
        return (1.0, 1.0) if self.ratio < HOLDS else self.interval


def collapse_of(points: tuple[Threshold, ...]) -> Collapse | None:
    """Judge the collapse on the crossed points (n, d); None below nine of them."""
    crossed = [point for point in points if point.censored is None and point.second is not None]
    if len(crossed) < FEWEST:
        return None
    z, y, errors = summaries(points)
    v: Array = np.log([point.second or np.nan for point in crossed])
    z, v = z - z.mean(), v - v.mean()
    one = np.ones_like(z)
    at_end = np.array([0.0, 1.0, 0.0, 2 * z.max(), 0.0, 0.0])
    fits = [
        fit_family(_parabola(np.array([1.0]), z, v, 3), y, errors),
        fit_family(_parabola(POWERS, z, v, 4), y, errors),
        fit_family(_family(np.column_stack([one, z, v, z * z, z * v, v * v])[None], 6, np.zeros(1), at_end), y, errors),
        fit_family(_family(np.column_stack([one, z, v])[None], 3, np.zeros(1)), y, errors),
    ]
    share = min(fit.share for fit in fits)
    scores = np.array([aicc(fit, len(z), share) for fit in fits])
    inside = POWERS[fits[1].profile <= fits[1].deviance + CUTOFF]
    ratio, scaled = (float(score) for score in (scores[:3] - scores[:3].min())[:2])
    return Collapse(
        fits[1].breaks, (float(inside.min()), float(inside.max())), ratio, scaled,
        bool(scores[3] - scores[2] >= MARGIN), fits[2].interval,
    )  # fmt: skip


def _parabola(powers: Array, z: Array, v: Array, parameters: int) -> Family:
    run: Array = z - powers[:, None] * v
    return _family(np.stack([np.ones_like(run), run, run**2.0], axis=2), parameters, powers)


def _family(design: Array, parameters: int, label: Array, exponent: Array | None = None) -> Family:
    count, columns = len(design), design.shape[2]
    return Family(
        "collapse", np.zeros(design.shape[:2]), design, np.zeros(columns), np.zeros(count),
        np.eye(columns)[1] if exponent is None else exponent, parameters, label,
    )  # fmt: skip


def collapse_notes(collapse: Collapse | None, data: Tally) -> tuple[str, ...]:
    m, n, d = data.critical_name, data.over_name, data.second_name
    if collapse is None:
        return ()
    if collapse.ratio < HOLDS:
        return (f"{m}* collapses onto {n}/{d}",)
    if collapse.scaled < HOLDS:
        low, high = collapse.interval
        return (f"{m}* collapses onto {axis_name(collapse.power, data)} [{low:.2f}, {high:.2f}], not onto {n}/{d}",)
    return (f"{m}* does not collapse onto {n} over a power of {d}",)


def axis_name(power: float, data: Tally) -> str:
    """n/d, n/d^0.33, n*d^0.50."""
    n, d = data.over_name, data.second_name
    if power == 1:
        return f"{n}/{d}"
    return f"{n}/{d}^{power:.2f}" if power > 0 else f"{n}*{d}^{-power:.2f}"


def along(data: Tally, power: float) -> Tally:
    """The trainings counted over n / d^power alone; equal to twelve digits is equal."""
    assert data.second is not None
    ratio = data.over / data.second**power
    digits = 11 - np.floor(np.log10(ratio))
    ratio = np.array([round(float(x), int(k)) for x, k in zip(ratio, digits, strict=True)])
    return collected(replace(data, over=ratio, second=None, over_name=axis_name(power, data)))
