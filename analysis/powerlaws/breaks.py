"""A power law that breaks in two: both slopes, where, and what is known of the last one; the pure error of repeats.

The headline of a broken law is its last part, as with thresholds: its slope's interval holds every slope that some
break explains nearly as well as the best (profile F over the break), `pure error` what repeats at one x scatter by.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.powerlaws.logcurves import Array, Points, loss
from analysis.powerlaws.logfits import EXACT, Fit, Interval, aicc, fit_break, residual_variance

NAN = float("nan")
BREAK_WINS = 4.0  # AICc lead of a break over every single exponent: < 5% false alarms (benchmarks/powerlaws.md)
STEPS = 257  # breaks tried for the interval


@dataclass(frozen=True, eq=False)
class Break:
    """Two slopes, continuous at x = at: the alternative to a single exponent. aicc as in `Fit`.

    interval: of ``after`` (its 95% profile, at the caller's level); prefactor: of the last part, y = prefactor x^after.
    lack_of_fit: p-value, NaN without repeats; inflation: what it multiplies intervals by. theta: log y at the break and
    the two slopes (scaled units), with their covariance at this break, on dof.
    """

    before: float
    after: float
    at: float
    aicc: float
    interval: Interval = (NAN, NAN)
    prefactor: float = NAN
    lack_of_fit: float = NAN
    inflation: float = 1.0
    cost: float = NAN
    theta: Array | None = None
    covariance: Array | None = None
    dof: int = 0

    @property
    def inflated(self) -> Interval:
        """The interval, widened by the lack of fit."""
        (low, high), e, factor = self.interval, self.after, self.inflation
        return e - factor * (e - low), e + factor * (high - e)

    def band(self, x: Array, level: float) -> tuple[Array, Array, Array]:
        """(y, lo, hi) at x (units of the data): the curve and its pointwise band, the break taken as known."""
        assert self.theta is not None and self.covariance is not None
        rows = _columns(np.log(x / self.at), 0.0)
        half = float(stats.t.ppf((1 + level) / 2, self.dof)) * np.sqrt(
            np.einsum("ij,jk,ik->i", rows, self.covariance, rows)
        )
        middle = rows @ self.theta
        y, low, high = (np.exp(np.clip(u, -600, 600)) for u in (middle, middle - half, middle + half))
        return y, low, high


def find_break(
    fits: tuple[Fit, ...], pts: Points, clip: float, level: float, labels: NDArray[np.generic] | None = None
) -> tuple[Break | None, float]:
    """(two-slope law, its AICc lead over the best single exponent); (None, -inf) with fewer than six x or seven rows.

    Where the x means scatter about the broken law itself by more than the pure error (F test at .05), the evidence is
    divided by that ratio: a factor common to all rows at one x must not look like a break. ``labels`` (N,) of shared
    seeds widen the interval to the jackknife's. Without a lead of ``BREAK_WINS`` the slopes and aicc are all it says.
    """
    n = pts.z.size
    if np.unique(pts.z).size < 6 or n < 7:
        return None, -np.inf
    before, after, at, cost = fit_break(pts, clip)
    ratio, p_value = excess(cost, 4, pts, clip)
    spread = ratio if p_value < 0.05 else 1.0
    lead = min(aicc(f.cost, n, f.theta.size, spread) for f in fits) - aicc(cost, n, 4, spread)
    if lead <= BREAK_WINS:
        return Break(before, after, at, aicc(cost, n, 4)), lead
    t = float(np.log(at / pts.x0))
    rows = _columns(pts.z, t)
    theta = np.linalg.lstsq(rows, pts.v, rcond=None)[0]
    r = pts.v - rows @ theta
    weights = np.ones(n)
    for _ in range(1 if np.isinf(clip) else 50):  # Huber's loss by reweighting
        weights = np.minimum(1.0, clip / np.maximum(np.abs(r), 1e-300))
        theta = _solve(rows, pts.v, weights)[0]
        r = pts.v - rows @ theta
    phi = residual_variance(r, clip, 4)[0]
    interval = _slopes(pts, weights, t, phi, level, (after, after))
    if labels is not None:
        interval = _jackknife(pts, weights, rows, labels, level, interval, after)
    covariance = np.asarray(phi * np.linalg.pinv((rows * weights[:, None]).T @ rows, hermitian=True))
    height = theta[0] + np.log(pts.y0)
    prefactor = float(np.exp(np.clip(height - after * np.log(at), -700, 700)))
    exact = cost < n * EXACT**2
    found = Break(
        before, after, at, aicc(cost, n, 4), interval, prefactor, NAN if exact else p_value,
        1.0 if exact else inflation(ratio, phi, 4, pts, clip, level), cost,
        np.asarray([height, before, after], dtype=np.float64), covariance, n - 4,
    )  # fmt: skip
    return found, lead


def _columns(z: Array, t: float) -> Array:
    """Columns of log y = height at the break + before x (its left) + after x (its right), (N, 3)."""
    return np.column_stack([np.ones_like(z), np.minimum(z - t, 0.0), np.maximum(z - t, 0.0)])


def _solve(rows: Array, v: Array, weights: Array) -> tuple[Array, float, float]:
    """(coefficients, weighted cost, variance of the last one per unit of phi)."""
    inverse = np.linalg.pinv((rows * weights[:, None]).T @ rows, hermitian=True)
    theta = inverse @ (rows.T @ (weights * v))
    return theta, float(weights @ (v - rows @ theta) ** 2), float(inverse[2, 2])


def _slopes(pts: Points, weights: Array, best: float, phi: float, level: float, after: Interval) -> Interval:
    """Every last slope whose cost, at the break that suits it best, stays within phi F(1, N - 4) of the least."""
    if phi < EXACT**2:
        return after
    knots = np.unique(pts.z)
    found = [
        _solve(_columns(pts.z, float(t)), pts.v, weights) for t in [best, *np.linspace(knots[1], knots[-2], STEPS)]
    ]
    limit = min(cost for _, cost, _ in found) + phi * float(stats.f.ppf(level, 1, pts.z.size - 4))
    kept = [(theta[2], np.sqrt((limit - cost) * unit)) for theta, cost, unit in found if cost <= limit]
    return float(min(e - half for e, half in kept)), float(max(e + half for e, half in kept))


def _jackknife(
    pts: Points, weights: Array, rows: Array, labels: NDArray[np.generic], level: float, interval: Interval, e: float
) -> Interval:
    """The interval's hull with e +- t SE, SE from leaving out one cluster at a time, at the same break."""
    names = np.unique(labels)
    if names.size < 5:
        return interval
    each = [_solve(rows[labels != name], pts.v[labels != name], weights[labels != name])[0][2] for name in names]
    se = float(np.sqrt((names.size - 1) * np.var(each)))
    half = float(stats.t.ppf((1 + level) / 2, names.size - 1)) * se
    return min(interval[0], e - half), max(interval[1], e + half)


def pure_error(pts: Points, clip: float) -> tuple[float, float, int]:
    """(cost, variance, number of x) of log y about a value of its own at each x: the mean, or Huber's.

    The variance is NaN where nothing repeats.
    """
    _, group = np.unique(pts.z, return_inverse=True)
    counts = np.bincount(group)
    middle = np.zeros(counts.size)
    for _ in range(1 if np.isinf(clip) else 50):
        middle += np.bincount(group, np.clip(pts.v - middle[group], -clip, clip)) / counts
    r = pts.v - middle[group]
    cost = loss(r, clip)
    testable = r.size > counts.size and cost > 0
    return cost, residual_variance(r, clip, counts.size)[0] if testable else NAN, counts.size


def excess(cost: float, p: int, pts: Points, clip: float) -> tuple[float, float]:
    """(F, p-value): scatter of the x means about a curve of p parameters over the pure error; NaN without repeats."""
    within, variance, n_x = pure_error(pts, clip)
    ratio = max(cost - within, 0.0) / (n_x - p) / variance if n_x > p else NAN
    return ratio, float(stats.f.sf(ratio, n_x - p, pts.z.size - n_x))


def inflation(ratio: float, phi: float, p: int, pts: Points, clip: float, level: float) -> float:
    """Factor >= 1 for an interval of p parameters whose x means scatter by F = ``ratio`` of the pure error."""
    if not ratio > 1:
        return 1.0
    n_x, n = np.unique(pts.z).size, pts.z.size
    t_means, t_rows = (float(stats.t.ppf((1 + level) / 2, dof)) for dof in (n_x - p, n - p))
    return max(1.0, float(np.sqrt(ratio * pure_error(pts, clip)[1] / phi)) * t_means / t_rows)
