"""One curve of `logcurves.py` fitted on log residuals: minimised from several starts, proved to be a minimum, profiled.

The profile interval is the set of e where the profiled cost stays below cost + phi F(1, N - p) (Bates & Watts 1988,
ch. 6); phi is RSS/(N - p), with Huber's loss the scale of the drop-in-dispersion test (Schrader & Hettmansperger 1980).
`fitting.py` chooses among these fits; start reading there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import optimize, stats

from analysis.powerlaws.logcurves import STEEPEST, Array, Points, cost_of, curve, minimise, residuals, starts_of

Interval = tuple[float, float]
NAN_INTERVAL: Interval = (float("nan"), float("nan"))
HUBER = 1.345 * 1.4826  # times the median absolute residual: 95% efficient on Gaussian noise
EXACT = 1e-10  # root mean square log residual below which a fit is taken as exact


@dataclass(frozen=True, eq=False)
class Fit:
    """One fitted form: exponent is e in y ~ x^e; extra is c (units of y) for offset, g for corrected, 0 for power."""

    form: str
    exponent: float
    interval: Interval
    prefactor: float
    extra: float
    cost: float  # sum of squared log residuals (Huber: of clipped ones)
    aicc: float
    converged: bool
    why: str  # what proves the minimum, or what is missing
    theta: Array  # (log a, e[, c or g]) in scaled units
    covariance: Array  # of theta
    phi: float  # residual variance of log y
    dof: int
    x0: float
    y0: float


def fit_form(form: str, pts: Points, clip: float = np.inf, level: float = 0.95, profile: bool = True) -> Fit:
    """Fit one form from several starts. `clip`: the log residual where Huber's loss turns linear.

    Needs more points than parameters (the caller sees to it). `profile=False` leaves the interval NaN.
    """
    tried = [minimise(form, pts, start, np.inf) for start in starts_of(form, pts)]
    if np.isfinite(clip):  # Huber's loss is all but flat far from its minimum: start where least squares ends
        tried = [minimise(form, pts, theta, clip) for theta in tried]
    if form == "offset":  # the floor may be exactly 0: compare with the fit that has none
        line = minimise("power", pts, starts_of("power", pts)[0], np.inf)
        tried.append(np.append(minimise("power", pts, line, clip), 0.0))
    costs = np.array([cost_of(form, theta, pts, clip) for theta in tried])
    best = tried[int(np.argmin(costs))]
    if form == "offset" and costs[-1] <= costs.min() * (1 + 1e-9):
        best = tried[-1]
    cost, n, p = cost_of(form, best, pts, clip), pts.z.size, best.size
    near = costs <= cost * (1 + 1e-6) + n * EXACT**2
    agree = sum(abs(t[1] - best[1]) < 1e-3 * (1 + abs(best[1])) for t, k in zip(tried, near, strict=True) if k)
    converged, why = _proof(form, best, pts, clip, agree, len(tried))
    covariance, phi = _spread(form, best, pts, clip)
    interval = NAN_INTERVAL
    if profile:
        interval, lowest = _profile(form, best, pts, clip, level, covariance, phi)
        if lowest < cost * (1 - 1e-6):
            converged, why = False, why + ", a lower minimum exists"
    extra = 0.0 if form == "power" else float(best[2]) * (pts.y0 if form == "offset" else 1.0)
    prefactor = float(np.exp(np.clip(best[0] + np.log(pts.y0) - best[1] * np.log(pts.x0), -700, 700)))
    scale = (phi, n - p, pts.x0, pts.y0)
    shape = (float(best[1]), interval, prefactor, extra, cost, aicc(cost, n, p), converged, why)
    return Fit(form, *shape, best, covariance, *scale)


def aicc(cost: float, n: int, p: int, overdispersion: float = 1.0) -> float:
    """Akaike's criterion with the small-sample term; p parameters of the mean and one variance. inf if untestable.

    overdispersion: what the evidence is divided by when rows are not independent (Burnham & Anderson 2002, 2.5).
    """
    k = p + 1
    if n - k - 1 <= 0:
        return float("inf")
    return float(n * np.log(max(cost / n, EXACT**2)) / overdispersion + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def residual_variance(r: Array, clip: float, p: int) -> tuple[float, float]:
    """(phi, share of residuals not clipped) of a fit with p parameters; with clip = inf, (RSS/(N - p), 1)."""
    n = r.size
    inner = max(float(np.mean(np.abs(r) <= clip)), 1 / n)
    small_sample = 1 + p / n * (1 - inner) / inner
    return float(small_sample**2 * np.sum(np.clip(r, -clip, clip) ** 2) / (n - p) / inner), inner


def huber_clip(form: str, pts: Points) -> float:
    """Where Huber's loss turns linear: 1.345 normalised median absolute deviations of the form's own residuals."""
    clip = float("inf")
    for _ in range(20):
        theta = fit_form(form, pts, clip, profile=False).theta
        r = residuals(form, theta, pts)
        new = max(HUBER * float(np.median(np.abs(r))), 1e-9)
        if abs(new - clip) <= 1e-4 * new:
            break
        clip = new
    return clip


def band(fit: Fit, x: Array, level: float = 0.95, repeats: float = np.inf) -> tuple[Array, Array, Array]:
    """(y, lo, hi) at x: the fitted curve and its pointwise band; for `repeats` new points, the band of their
    geometric mean. For power and offset fits. Delta method on log y, Student t."""
    z = np.log(x / fit.x0)
    f, jac = curve(fit.form, fit.theta, z, np.zeros_like(z))
    variance = np.einsum("ij,jk,ik->i", jac, fit.covariance, jac) + fit.phi / repeats
    half = float(stats.t.ppf((1 + level) / 2, fit.dof)) * np.sqrt(np.maximum(variance, 0.0))
    y, lo, hi = (fit.y0 * np.exp(np.clip(u, -600, 600)) for u in (f, f - half, f + half))
    return y, lo, hi


def fit_break(pts: Points, clip: float = np.inf) -> tuple[float, float, float, float]:
    """(exponent before, exponent after, x of the break, cost) of the best two-slope law, continuous at the break.

    The break is searched on a grid between the second and the last but one x (no gradient: the cost has kinks), then
    refined. Needs five distinct x.
    """
    knots = np.unique(pts.z)

    def at(t: float) -> tuple[Array, float]:
        hinged = replace(pts, h=np.maximum(pts.z - t, 0.0))
        line = minimise("corrected", hinged, np.zeros(3), np.inf)
        theta = line if np.isinf(clip) else minimise("corrected", hinged, line, clip)
        return theta, cost_of("corrected", theta, hinged, clip)

    grid = np.linspace(knots[1], knots[-2], 33)
    i = int(np.argmin([at(float(t))[1] for t in grid]))
    ends = (float(grid[max(i - 1, 0)]), float(grid[min(i + 1, 32)]))
    fine = optimize.minimize_scalar(lambda t: at(float(t))[1], bounds=ends, method="bounded")
    t = min((float(grid[i]), float(fine.x)), key=lambda t: at(t)[1])
    theta, cost = at(t)
    return float(theta[1]), float(theta[1] + theta[2]), float(pts.x0 * np.exp(t)), cost


def _proof(form: str, theta: Array, pts: Points, clip: float, agree: int, tried: int) -> tuple[bool, str]:
    """Is it a minimum? Two starts must agree and each derivative must be orthogonal to the residuals."""
    r = residuals(form, theta, pts)
    psi, jac = np.clip(r, -clip, clip), curve(form, theta, pts.z, pts.h)[1]
    slope = psi @ jac / (np.linalg.norm(jac, axis=0) * np.linalg.norm(psi) + 1e-300)
    if form == "offset" and theta[2] == 0.0:
        slope[2] = min(slope[2], 0.0)  # at the bound only a descent into c > 0 would matter
    steepest = 0.0 if np.sqrt(np.mean(r * r)) < EXACT else float(np.max(np.abs(slope)))
    inside = abs(theta[1]) < 0.99 * STEEPEST
    why = f"{agree} of {tried} starts agree, relative gradient {steepest:.0e}"
    return bool(agree >= 2 and steepest < 1e-4 and inside), why if inside else why + ", exponent on its bound"


def _spread(form: str, theta: Array, pts: Points, clip: float) -> tuple[Array, float]:
    """(covariance of theta (p, p), phi). A floor at exactly 0 is held there: its row and column are 0."""
    r, jac = residuals(form, theta, pts), curve(form, theta, pts.z, pts.h)[1]
    p = jac.shape[1]
    phi, inner = residual_variance(r, clip, p)
    free = np.ones(p, dtype=bool)
    free[2:] = not (form == "offset" and theta[2] == 0.0)
    covariance = np.zeros((p, p))
    inverse = np.linalg.pinv(jac[:, free].T @ jac[:, free], hermitian=True)
    covariance[np.ix_(free, free)] = phi / inner * inverse
    return covariance, phi


def _profile(
    form: str, theta: Array, pts: Points, clip: float, level: float, covariance: Array, phi: float
) -> tuple[Interval, float]:
    """(profile-F interval of the exponent, lowest cost met); an end not reached by |e| = STEEPEST is infinite."""
    n, p, lowest = pts.z.size, theta.size, cost_of(form, theta, pts, clip)
    if phi < EXACT**2:
        return (float(theta[1]), float(theta[1])), lowest
    allowed = phi * float(stats.f.ppf(level, 1, n - p))
    known = {float(theta[1]): -allowed}  # remembered, so that a sign never changes between two looks at one e
    held = _floored(pts) if form == "offset" and np.isinf(clip) else partial(_held, form, theta, pts, clip)

    def excess(e: float) -> float:
        if e not in known:
            known[e] = held(e) - lowest - allowed
        return known[e]

    # four fifths of the Wald half width: never on the crossing itself, where rounding decides the sign
    step = 0.8 * float(stats.t.ppf((1 + level) / 2, n - p) * np.sqrt(max(covariance[1, 1], 1e-16)))
    low, high = (_crossing(excess, float(theta[1]), sign * step) for sign in (-1.0, 1.0))
    return (low, high), lowest + allowed + min(known.values())


def _floored(pts: Points) -> Callable[[float], float]:
    """The lowest cost of least squares with a floor, by exponent e.

    log a has a closed form given s = log(c / a), and of the rows only their mean at each x is needed. s is searched on
    a grid of step 1/2, from a floor that is 1e-12 of the least a x^e to one 1e12 times the largest, refined five times
    by 16, and c = 0.
    """
    z, group = np.unique(pts.z, return_inverse=True)
    counts = np.bincount(group)
    v = np.bincount(group, pts.v) / counts
    within = float(np.sum((pts.v - v[group]) ** 2))

    def costs(line: Array, s: Array) -> Array:
        gap = v - np.logaddexp(line, s[:, None])
        mean = gap @ counts / counts.sum()
        return np.asarray((gap - mean[:, None]) ** 2 @ counts)

    def lowest(e: float) -> float:
        line = e * z
        low, high = float(line.min()) - 28.0, float(line.max()) + 28.0
        s = np.linspace(low, high, int(2 * (high - low)) + 2)
        found = costs(line, np.array([-np.inf]))
        for _ in range(6):
            some = costs(line, s)
            i = int(np.argmin(some))
            found = np.append(found, some[i])
            s = np.linspace(s[max(i - 1, 0)], s[min(i + 1, s.size - 1)], 33)
        return within + float(found.min())

    return lowest


def _held(form: str, theta: Array, pts: Points, clip: float, e: float) -> float:
    """The lowest cost at exponent e. A floor is searched from inside c > 0 (the solver sticks to its bound), and c = 0
    is a candidate of its own."""
    if form != "offset":
        return cost_of(form, minimise(form, pts, theta, clip, e), pts, clip)
    least = float(np.exp(pts.v.min()))
    level = float(np.mean(pts.v - e * pts.z))
    starts = [np.array([theta[0], e, max(theta[2], 0.02 * least)]), np.array([level, e, 0.5 * least])]
    found = [minimise("offset", pts, start, clip, e) for start in starts]
    found.append(np.append(minimise("power", pts, np.array([level, e]), clip, e), 0.0))
    return min(cost_of("offset", t, pts, clip) for t in found)


def _crossing(excess: Callable[[float], float], inside: float, step: float) -> float:
    """The first e beyond `inside` in the direction of `step` where the cost crosses the target."""
    while True:
        outside = inside + step
        if abs(outside) >= STEEPEST:
            outside = float(np.copysign(STEEPEST, step))
            if excess(outside) <= 0:
                return float(np.copysign(np.inf, step))
            break
        if excess(outside) > 0:
            break
        inside, step = outside, 1.3 * step
    return float(optimize.brentq(excess, inside, outside, xtol=1e-5))
