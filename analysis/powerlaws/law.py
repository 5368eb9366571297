"""What a fit of a power law says: exponent, interval, envelope, status, and the curve with its band."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis import notebook_tables
from analysis.powerlaws.breaks import Break
from analysis.powerlaws.logcurves import Array
from analysis.powerlaws.logfits import Fit, Interval, band

NAN = float("nan")


@dataclass(frozen=True)
class Holdout:
    """The largest x, predicted by the chosen form fitted to the others.

    observed: the geometric mean of y there (robust fits: the median). interval: of the prediction of `observed`.
    """

    x: float
    observed: float
    predicted: float
    interval: Interval
    inside: bool


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """y = prefactor x^exponent + offset on `over_range` (units of x); prefactor and offset in the units of y.

    status: "ok" | "broken" | "not converged" | "no points" | "one x" | "two x: law untested" | "constant y".
    "ok" and "broken" are answers; "broken" has the numbers of the last part, the largest x (`over_range`), and both
    slopes in `broken`. The last four leave every number NaN; "not converged" keeps them for display.
    `interval` belongs to the chosen form; `envelope` is for verdicts. `lack_of_fit` is a p-value, NaN without repeats;
    passing it proves little.
    """

    exponent: float
    interval: Interval
    envelope: Interval
    prefactor: float
    offset: float
    status: str
    notes: tuple[str, ...]
    over_range: Interval
    n_points: int
    n_x: int
    dropped_nonpositive: int
    dropped_nonfinite: int
    level: float
    lack_of_fit: float = NAN
    alternatives: tuple[Fit, ...] = ()  # power, offset, corrected: those that could be fitted
    chosen: str = ""  # which of them this law is
    broken: Break | None = None
    holdout: Holdout | None = None

    def predict(self, x: ArrayLike) -> tuple[Array, Array, Array]:
        """(y, lo, hi), each of x's shape: the curve and its pointwise band at `level`; NaN when there is no law.

        The band is for the curve, not for a new training's y. ValueError when an x is not positive.
        """
        at = np.atleast_1d(np.asarray(x, dtype=np.float64))
        require_positive(at)
        if self.status == "broken" and self.broken is not None:
            y, lo, hi = (u.reshape(np.shape(x)) for u in self.broken.band(at.ravel(), self.level))
            return y, lo, hi
        fit = next((f for f in self.alternatives if f.form == self.chosen), None)
        nothing = np.full(at.shape, NAN)
        flat = (nothing, nothing, nothing) if fit is None else band(fit, at.ravel(), self.level)
        y, lo, hi = (u.reshape(np.shape(x)) for u in flat)
        return y, lo, hi

    def _repr_html_(self) -> str:
        """For notebooks: law, envelope, status."""
        floor = f" + {self.offset:.3g}" if self.offset else ""
        head = f"y = {self.prefactor:.3g} x^{self.exponent:.3f}{floor}  {notebook_tables.bracket(self.interval)}"
        head += f", x in {notebook_tables.bracket(self.over_range)}"
        if np.isnan(self.exponent):
            head = "no exponent of y(x)"
        envelope = f"{self.level:.0%} envelope of the exponent {notebook_tables.bracket(self.envelope)}"
        status = "status: " + "; ".join([self.status, *self.notes])
        return notebook_tables.block(f"{head} ({self.n_points} points at {self.n_x} x)", [envelope, status])


def require_positive(x: Array) -> None:
    bad = np.flatnonzero(~(np.isfinite(x) & (x > 0)))
    if bad.size:
        raise ValueError(f"x must be positive and finite; row {bad[0]} has {x.flat[bad[0]]}")
