"""Curves on log-log axes and the search for their least-squares (or Huber) parameters from one start.

    power      log y = log a + e log x
    offset     log y = log(a x^e + c),  a > 0, c >= 0 (a floor that y falls to, or rises from)
    corrected  log y = log a + e log x + g h(x); h = x_min/x is a finite-size correction, and
               h = max(log x - log t, 0) a law that breaks at t

x and y are divided by their geometric means: nothing depends on the units. `logfits.py` proves what is found here.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

Array = NDArray[np.float64]
STEEPEST = 20.0  # |exponent| is searched up to here; a fit that ends there is not a result


@dataclass(frozen=True, eq=False)
class Points:
    """Scaled data: z = log(x/x0), v = log(y/y0), h the covariate of `corrected`; all of shape (N,)."""

    z: Array
    v: Array
    h: Array
    x0: float
    y0: float

    def where(self, keep: NDArray[np.bool_]) -> "Points":
        """The same points, fewer; the scaling stays."""
        return replace(self, z=self.z[keep], v=self.v[keep], h=self.h[keep])


def scaled(x: Array, y: Array) -> Points:
    """Points from positive x and y of shape (N,)."""
    x0, y0 = (float(np.exp(np.mean(np.log(u)))) for u in (x, y))
    return Points(np.log(x / x0), np.log(y / y0), np.min(x) / x, x0, y0)


def curve(form: str, theta: Array, z: Array, h: Array) -> tuple[Array, Array]:
    """The form's log y, shape (N,), and its derivatives by theta, shape (N, p)."""
    line = theta[0] + theta[1] * z
    if form == "power":
        return line, np.stack([np.ones_like(z), z], axis=1)
    if form == "corrected":
        return line + theta[2] * h, np.stack([np.ones_like(z), z, h], axis=1)
    power = np.exp(line)
    total = power + theta[2]
    return np.log(total), np.stack([power / total, z * power / total, 1 / total], axis=1)


def residuals(form: str, theta: Array, pts: Points) -> Array:
    """Curve minus log y, shape (N,)."""
    return curve(form, theta, pts.z, pts.h)[0] - pts.v


def loss(r: Array, clip: float) -> float:
    """Twice Huber's loss of residuals r (N,): the sum of squares where nothing exceeds clip."""
    size = np.abs(r)
    return float(np.sum(r * r if np.isinf(clip) else np.where(size <= clip, r * r, (2 * size - clip) * clip)))


def cost_of(form: str, theta: Array, pts: Points, clip: float) -> float:
    """The loss at theta."""
    return loss(residuals(form, theta, pts), clip)


def starts_of(form: str, pts: Points) -> list[Array]:
    """Two starts, or for an offset two for each of the three best valleys of the least-squares cost on a grid.

    The grid: 41 exponents, dense near 0, by 31 floors in units of a x^e at its least. The other forms are convex.
    """
    slope = float(np.polyfit(pts.z, pts.v, 1)[0])
    if form == "power":
        return [np.array([0.0, slope]), np.array([0.0, 0.0])]
    if form == "corrected":
        return [np.array([0.0, slope, 0.0]), np.array([0.0, 0.0, 1.0])]
    z, group = np.unique(pts.z, return_inverse=True)
    counts = np.bincount(group)
    few = slice(None, None, 1 + z.size // 200)  # a start needs no more
    z, v, weight = z[few], (np.bincount(group, pts.v) / counts)[few], counts[few] / counts[few].sum()
    exponents = np.sinh(np.linspace(-1, 1, 41) * np.arcsinh(0.9 * STEEPEST))
    powers = np.exp(exponents[:, None] * z)
    floors = np.geomspace(1e-3, 1e3, 31) * powers.min(axis=1, keepdims=True)  # (41, 31), in units of a
    gap = v - np.log(powers[:, None, :] + floors[:, :, None])  # log a, as each x has it
    mean = gap @ weight
    costs = (gap - mean[:, :, None]) ** 2 @ weight
    valley = costs.min(axis=1)
    padded = np.concatenate([[np.inf], valley, [np.inf]])
    bottoms = np.flatnonzero((valley <= padded[:-2]) & (valley <= padded[2:]))
    starts = []
    for i in bottoms[np.argsort(valley[bottoms])][:3]:
        j = int(np.argmin(costs[i]))
        a = float(np.exp(mean[i, j]))
        starts.append(np.array([np.log(a), exponents[i], a * floors[i, j]]))
        starts.append(np.array([np.log(a), 0.9 * exponents[i], 0.5 * a * floors[i, j]]))
    return starts


def _linear(columns: Array, v: Array, start: Array, clip: float, tolerance: float) -> Array:
    """Coefficients of least squares, one exact solve; of Huber's loss, convex, by least squares reweighted until they
    stand still."""
    if np.isinf(clip):
        return np.asarray(np.linalg.lstsq(columns, v)[0])
    theta = start
    for _ in range(300):
        root = np.sqrt(np.minimum(1.0, clip / np.maximum(np.abs(v - columns @ theta), 1e-300)))
        last, theta = theta, np.asarray(np.linalg.lstsq(columns * root[:, None], v * root)[0], dtype=np.float64)
        if np.all(np.abs(theta - last) <= tolerance * (1 + np.abs(theta))):
            break
    return theta


def minimise(form: str, pts: Points, start: Array, clip: float, exponent: float | None = None) -> Array:
    """theta at the minimum reached from one start; with `exponent` given, e is held there."""
    theta = start.copy()
    free = np.ones(theta.size, dtype=bool)
    tolerance = 1e-13 if exponent is None else 1e-10  # the profile's ends are wanted to 1e-5 only
    if exponent is not None:
        theta[1], free[1] = exponent, False
    if form != "offset":  # a linear problem
        columns = curve(form, theta, pts.z, pts.h)[1]
        rest = pts.v - columns[:, ~free] @ theta[~free]
        theta[free] = _linear(columns[:, free], rest, theta[free], clip, tolerance)
        return theta

    def full(u: Array) -> Array:
        t = theta.copy()
        t[free] = u
        return t

    def distance(u: Array) -> Array:
        return residuals(form, full(u), pts)

    def jacobian(u: Array) -> Array:
        return curve(form, full(u), pts.z, pts.h)[1][:, free]

    low, high = np.array([-400.0, -STEEPEST, 0.0]), np.array([400.0, STEEPEST, np.inf])
    found = optimize.least_squares(
        distance,
        theta[free],
        jac=jacobian,
        bounds=(low[free], high[free]),
        loss="huber" if np.isfinite(clip) else "linear",
        f_scale=clip if np.isfinite(clip) else 1.0,
        x_scale="jac",
        ftol=tolerance,
        xtol=tolerance,
        gtol=tolerance,
        max_nfev=300,
    )
    return full(np.asarray(found.x, dtype=np.float64))
