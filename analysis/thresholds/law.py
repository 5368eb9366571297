"""What a fit of the critical width returns: points, local exponents, forms, and the law with its status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from analysis import notebook_tables
from analysis.thresholds.outcomes import Array

Interval = tuple[float, float]
EVERYTHING: Interval = (-np.inf, np.inf)


@dataclass(frozen=True)
class Threshold:
    """m* at one n: median, 95% interval, and what limits it.

    ``censored``: "above" if m* lies above every width tried (interval open upwards), "below" if below.
    ``separated``: no width had both outcomes; the interval then contains the bracket [last failing m, first
    succeeding m]. ``second`` is the value of the second axis, or None. ``error`` is that of log m*.
    """

    over: float
    critical: float
    interval: Interval
    censored: Literal["below", "above"] | None
    separated: bool
    trainings: int
    error: float = np.nan
    second: float | None = None


@dataclass(frozen=True)
class LocalExponent:
    """d log m* / d log n between two neighbouring n, with a 95% interval."""

    over: Interval
    exponent: float
    interval: Interval


@dataclass(frozen=True)
class Form:
    """One candidate form of the law: its exponent at the largest n, AICc relative to the best (0), and how
    well it predicts the largest n held out: ``surprise`` in standard errors (|.| > 2: missed)."""

    name: str
    exponent: float
    error: float
    aicc: float
    surprise: float
    description: str


@dataclass(frozen=True)
class Curve:
    """m* and its 95% band, tabulated in logs: four arrays (G,), ``log_over`` increasing."""

    log_over: Array
    middle: Array
    low: Array
    high: Array

    def at(self, over: Array) -> tuple[Array, Array, Array]:
        """m*, low and high at ``over`` (n,): (NaN, 0, inf) beyond the table, where nothing should be read."""
        z = np.log(over)
        middle = np.interp(z, self.log_over, self.middle, left=np.nan, right=np.nan)
        low = np.interp(z, self.log_over, self.low, left=-np.inf, right=-np.inf)
        high = np.interp(z, self.log_over, self.high, left=np.inf, right=np.inf)
        return exponential(middle), exponential(low), exponential(high)


def exponential(x: npt.ArrayLike) -> Array:
    """exp, infinite where it overflows: an interval that wide is meant."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.exp(x))


def abscissae(over: Array) -> Array:
    """log n at which curves are tabulated: the range of ``over`` and a factor of 100 beyond either end."""
    return np.linspace(np.log(over.min() / 100), np.log(over.max() * 100), 161)


def mixture_quantile(q: float, weights: Array, means: Array, errors: Array) -> Array:
    """Quantile q of mixtures of T normals: ``weights`` (T,), ``means`` and ``errors`` (..., T) -> (...)."""
    low, high = (means - 9 * errors).min(-1), (means + 9 * errors).max(-1)
    for _ in range(40):  # bisection, to 1e-12 of the span
        middle = (low + high) / 2
        below = ndtr((middle[..., None] - means) / errors) @ weights < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)


@dataclass(frozen=True)
class ThresholdLaw:
    """m* = prefactor n^exponent at success ``level``, as far as the data support it.

    ``interval`` is the 95% interval of the exponent; ``envelope`` the wider one to hold against a theorem;
    ``over_range`` the n it speaks of; ``status`` always says how the fit ended (see thresholds.py) and
    ``notes`` why. ``offset`` is the floor of m* = offset + prefactor n^exponent, 0 in every other form. The
    exponent is NaN where there is none; one-sided knowledge remains in the interval.
    ``sharpening`` is g in slope ~ n^g with its interval, ``scatter`` the sd of log m* per n, ``lapse`` the
    rates of succeeding far below and failing far above m*: NaN in the fast fit, which has none of them.
    """

    exponent: float
    interval: Interval
    envelope: Interval
    prefactor: float
    status: str
    notes: tuple[str, ...]
    points: tuple[Threshold, ...]
    level: float
    over_range: Interval
    trainings: int
    dropped: int
    form: str = "power law"
    forms: tuple[Form, ...] = ()
    local: tuple[LocalExponent, ...] = ()
    slope: float = np.nan
    sharpening: float = np.nan
    sharpening_interval: Interval = EVERYTHING
    scatter: float = np.nan
    lapse: tuple[float, float] = (np.nan, np.nan)
    curve: Curve | None = None
    over_name: str = "n"
    critical_name: str = "m"
    repeated: int = 0
    offset: float = 0.0

    def predict(self, over: npt.ArrayLike) -> tuple[Array, Array, Array]:
        """m* and its 95% band (low, high) at ``over`` (n,): (NaN, 0, inf) where there is no law."""
        at = np.atleast_1d(np.asarray(over, dtype=float))
        if self.curve is None:
            return np.full(at.shape, np.nan), np.zeros(at.shape), np.full(at.shape, np.inf)
        return self.curve.at(at)

    def summary(self) -> str:
        """One line for the law, one for its status and what limits it."""
        m, n, (low, high) = self.critical_name, self.over_name, self.interval
        if np.isfinite(self.exponent):
            floor = f"{self.offset:.3g} + " if self.offset else ""
            law = f"{m}* = {floor}{self.prefactor:.3g} {n}^{self.exponent:.3f}  [{low:.3f}, {high:.3f}]"
            law += f", {n} in [{self.over_range[0]:.4g}, {self.over_range[1]:.4g}]"
        elif np.isfinite(low) or np.isfinite(high):
            one_sided = f">= {low:.3f}" if np.isfinite(low) else f"<= {high:.3f}"
            both = f"in [{low:.3f}, {high:.3f}]"
            law = f"exponent of {m}*({n}) {both if np.isfinite([low, high]).all() else one_sided}"
        else:
            law = f"no exponent of {m}*({n})"
        level = "" if self.level == 0.5 else f" at success {self.level:g}"
        return f"{law}{level} ({self.trainings:,} trainings)\nstatus: " + "; ".join([self.status, *self.notes])

    def _repr_html_(self) -> str:
        """For notebooks: law, envelope, status, points."""
        return shown(self.summary(), self.envelope, (self.over_name, f"{self.critical_name}*"), self.points)


def shown(summary: str, envelope: Interval, names: Sequence[str], points: Sequence[Threshold]) -> str:
    """A law as HTML: the two lines of its summary, the envelope, a table of m* under ``names`` (axes, then m*)."""
    head, status = summary.split("\n", 1)
    rows = [
        [*(f"{at:g}" for at in (point.over, point.second) if at is not None), notebook_tables.number(point.critical),
         notebook_tables.bracket(point.interval), f"{point.trainings:,}", limit(point, names[-1])]
        for point in points
    ]  # fmt: skip
    table = notebook_tables.table([*names, "95% interval", "trainings", ""], rows)
    return notebook_tables.block(
        head, [f"95% envelope of the exponent {notebook_tables.bracket(envelope)}", status], table
    )


def limit(point: Threshold, name: str) -> str:
    """What limits a threshold called ``name`` ("m*"), in words; "" if nothing does."""
    if point.censored is not None:
        return f"{point.censored} every {name.removesuffix('*')} tried"
    return f"no {name.removesuffix('*')} with both outcomes" if point.separated else ""
