"""Which form the law has: one power law, one with a 1/n correction, a floor plus a power law, or a broken one.

The comparison works on the points (log n, log m*, its error) and allows every form the same kind of scatter
tau about it, integrated out: with few n, scatter is what tells a bend from an accident. Forms are compared by
AICc (Hurvich & Tsai 1989, Biometrika 76:297), whose correction for few n counts only as far as the errors are
estimated from the n themselves; and each form is asked to predict the largest n from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp

from analysis.thresholds.law import Form, Interval, Threshold, mixture_quantile
from analysis.thresholds.outcomes import Array

SINGLE, CORRECTED, FLOOR, BROKEN = "power law", "power law with 1/n", "floor + power law", "broken power law"
FEWEST = 5  # crossed n below which no form can be told from another
MARGIN = 4.0  # AICc by which another form must beat the single power law; see benchmarks/thresholds.md
UNKNOWN = 100.0  # an error of log m* that says nothing
FLAT = 1e-8  # keeps a column that says nothing from being singular
SCATTERS = np.geomspace(0.005, 1.2, 12)
SCATTER_SCALE = 0.25  # half-normal, as in the hierarchical fit
SCATTER_PRIOR = np.log(SCATTERS) - 0.5 * (SCATTERS / SCATTER_SCALE) ** 2


@dataclass(frozen=True)
class Comparison:
    """The forms, best first; the name of the one the data support (the single power law unless another beats it
    by the margin), where it breaks (n, or NaN), and what to tell the reader."""

    forms: tuple[Form, ...]
    chosen: str
    breaks: float
    notes: tuple[str, ...]
    fits: dict[str, Fitted]

    def tail(self, name: str) -> Interval:
        """95% interval of the exponent at large n under the named form."""
        return self.fits[name].interval


def compare(points: tuple[Threshold, ...], further: Array, over_name: str = "n") -> Comparison:
    """Compare the forms on the crossed points of one axis; below five of them only a note comes back.

    ``further`` (G,): log n at which the fits also state log m*, for a curve.
    """
    count = sum(point.censored is None for point in points)
    if count < FEWEST:
        return Comparison((), SINGLE, np.nan, (f"form untested: {count} {over_name} crossed, {FEWEST} needed",), {})
    fits = fit_points(points, further)
    share = min(fit.share for fit in fits.values())
    scores = {name: aicc(fit, count, share) for name, fit in fits.items()}
    best = min(scores.values())
    forms = []
    for name, fit in fits.items():
        words = _describe(fit, name, over_name)
        surprise = _held_out(points, name)
        forms.append(Form(name, fit.exponent, fit.error, scores[name] - best, surprise, words))
    forms.sort(key=lambda form: form.aicc)
    ahead = scores[SINGLE] - best
    chosen = forms[0].name if ahead >= MARGIN else SINGLE
    breaks = float(np.exp(fits[BROKEN].breaks)) if chosen == BROKEN else np.nan
    return Comparison(tuple(forms), chosen, breaks, _notes(forms, chosen, ahead), fits)


def summaries(points: tuple[Threshold, ...]) -> tuple[Array, Array, Array]:
    """log n, log m* and its error, (K,) each, of the crossed points."""
    crossed = [point for point in points if point.censored is None]
    errors = np.array([_error(point) for point in crossed])
    return np.log([point.over for point in crossed]), np.log([point.critical for point in crossed]), errors


def fit_points(points: tuple[Threshold, ...], further: Array) -> dict[str, Fitted]:
    """Every form that the number of crossed points can carry, fitted to them; ``further`` as in ``compare``."""
    z, y, errors = summaries(points)
    known = families(np.append(z, further), len(z))
    return {f.name: fit_family(f, y, errors) for f in known if f.parameters < max(3, len(z))}


def _notes(forms: list[Form], chosen: str, ahead: float) -> tuple[str, ...]:
    notes = []
    if chosen != SINGLE:
        rivals = [form.name for form in forms if form.aicc < 2 and form.name not in (chosen, SINGLE)]
        notes.append(f"{forms[0].description} beats one power law by {ahead:.0f} in AICc")
        if rivals:
            notes.append("not told apart from: " + ", ".join(rivals))
    elif forms[0].name != SINGLE and ahead > 1:
        notes.append(f"form undecided: {forms[0].name} is ahead by {ahead:.1f} in AICc, {MARGIN:g} needed")
    held = next(form for form in forms if form.name == chosen)
    if abs(held.surprise) > 2:
        notes.append(f"the largest n, held out, misses the {chosen} by {held.surprise:+.1f} standard errors")
    return tuple(notes)


def _describe(fit: Fitted, name: str, over_name: str) -> str:
    if name == BROKEN:
        return f"{BROKEN}: exponent {fit.exponent:.2f} above {over_name} = {np.exp(fit.breaks):.3g}"
    return f"{name}: exponent {fit.exponent:.2f} for large {over_name}"


def _error(point: Threshold) -> float:
    """Error of log m*; a bracket counts as a flat density over its interval where that is wider."""
    low, high = (float(np.log(np.clip(end, 1e-43, 1e43))) for end in point.interval)
    error = max(point.error, (high - low) / np.sqrt(12)) if point.separated else point.error
    return min(error, UNKNOWN)


def aicc(fit: Fitted, count: int, share: float) -> float:
    """AICc; ``share`` is the part of the variance that is scatter, estimated from the points themselves."""
    k = fit.parameters
    return fit.deviance + 2 * k + share * 2 * k * (k + 1) / max(count - k - 1, 0.5)


def _held_out(points: tuple[Threshold, ...], name: str) -> float:
    """(seen - predicted) / error at the largest n, from all others; a censored n surprises only past its bound."""
    last = max(points, key=lambda point: point.over)
    rest = [point for point in points if point.censored is None and point is not last]
    z = np.log([point.over for point in [*rest, last]])
    family = next((f for f in families(z, known=len(rest)) if f.name == name), None)
    if family is None:
        return np.nan
    y, errors = np.log([point.critical for point in rest]), np.array([_error(point) for point in rest])
    fit = fit_family(family, y, errors)
    mean, error = float(fit.ahead[0][0]), float(np.hypot(fit.ahead[1][0], fit.scatter))
    if last.censored == "above":
        return max(0.0, float(np.log(last.interval[0]) - mean) / error)
    if last.censored == "below":
        return min(0.0, float(np.log(last.interval[1]) - mean) / error)
    return float((np.log(last.critical) - mean) / np.hypot(error, _error(last)))


@dataclass(frozen=True)
class Family:
    """Candidates of one form: log m* = offset (J, K) + design (J, K, c) @ coefficients, with J values of what is
    not linear. ``ridge`` (c,) is the precision of a prior on the coefficients, ``constant`` (J,) + ``exponent``
    (c,) @ coefficients the exponent at the largest n, ``parameters`` how many are fitted, ``breaks`` (J,)."""

    name: str
    offset: Array
    design: Array
    ridge: Array
    constant: Array
    exponent: Array
    parameters: int
    breaks: Array


def families(z: Array, known: int | None = None) -> list[Family]:
    """The forms at log n = ``z`` (K + G,), of which the first ``known`` = K (default: all) will be fitted. Breaks
    lie between the second and the last but one of those, so that at least two fix each slope."""
    count = len(z) if known is None else known
    line = np.column_stack([np.ones_like(z), z])
    found = [_linear(SINGLE, line), _linear(CORRECTED, np.column_stack([line, np.exp(z.min() - z)])), _floors(z, count)]
    if count > 3:
        breaks = np.linspace(z[1], z[count - 2], 4 * (count - 3) + 1)
        design = np.repeat(line[None], len(breaks), axis=0)
        design = np.concatenate([design, np.maximum(z - breaks[:, None], 0.0)[..., None]], axis=2)
        zeros = np.zeros(len(breaks))
        above = np.array([0.0, 1.0, 1.0])
        found.append(Family(BROKEN, np.zeros(design.shape[:2]), design, np.zeros(3), zeros, above, 4, breaks))
    return found


def _linear(name: str, design: Array) -> Family:
    columns, none = design.shape[1], np.zeros(1)
    slope = np.eye(columns)[1]
    return Family(name, np.zeros((1, len(design))), design[None], np.zeros(columns), none, slope, columns, none)


def _floors(z: Array, known: int) -> Family:
    """m* = floor + C n^rise, linear in small changes about a grid of (rise, log of floor over power law at the
    middle of the range); the prior keeps the changes within a step of the grid."""
    steps = (0.3, 0.75)
    grids = np.meshgrid(np.arange(0.1, 5, steps[0]), np.arange(-4.5, 4.6, steps[1]))
    rise, share = (grid.reshape(-1, 1) for grid in grids)
    run = z - z[:known].mean()
    floor = expit(share - rise * run)  # the floor's part of m*
    design = np.stack([np.ones_like(floor), (1 - floor) * run, floor], axis=2)
    ridge = np.array([0.0, steps[0] ** -2, steps[1] ** -2])
    height, slope = np.logaddexp(share, rise * run), np.array([0.0, 1.0, 0.0])
    return Family(FLOOR, height, design, ridge, rise[:, 0], slope, 3, np.zeros(len(rise)))


@dataclass(frozen=True)
class Fitted:
    """A family fitted to points: -2 log likelihood of its best candidate, and of each (J,); the exponent, its error
    and 95% interval (over candidates and scatter, by likelihood); where it breaks (log n); the part of the
    points' variance that is scatter, and its sd; mean and sd (G,) of log m* at the family's further points."""

    parameters: int
    deviance: float
    profile: Array
    exponent: float
    error: float
    interval: Interval
    breaks: float
    share: float
    scatter: float
    ahead: tuple[Array, Array]


def fit_family(family: Family, y: Array, errors: Array) -> Fitted:
    """Least squares on ``y`` (K,) with ``errors`` (K,) for every candidate and every tau at once; tau is
    integrated, the candidate maximised. A family of K + G points has its last G predicted."""
    count = len(y)
    design, residual = family.design[:, :count], y - family.offset[:, :count]
    variance = errors**2 + SCATTERS[:, None] ** 2  # (T, K)
    normal = np.einsum("jkc,tk,jkd->jtcd", design, 1 / variance, design, optimize=True)
    covariance = np.linalg.inv(normal + np.diag(family.ridge + FLAT))
    right = np.einsum("jkc,tk,jk->jtc", design, 1 / variance, residual, optimize=True)
    best = np.einsum("jtcd,jtd->jtc", covariance, right)
    left = residual[:, None] - np.einsum("jkc,jtc->jtk", design, best)
    logs = -0.5 * (left**2 / variance + np.log(variance)).sum(-1) - 0.5 * best**2 @ family.ridge
    logs = logs + SCATTER_PRIOR - logsumexp(SCATTER_PRIOR)  # (J, T)
    each = logsumexp(logs, axis=1)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()

    keep = np.flatnonzero(weights.sum(1) > 1e-5)  # candidates that matter

    def pooled(rows: Array, constant: Array) -> tuple[Array, Array]:
        """Mean and sd (G,) of constant (J, G) + rows (J, G, c) @ coefficients."""
        means = np.einsum("jgc,jtc->gjt", rows[keep], best[keep]) + constant[keep].T[..., None]
        variances = np.einsum("jgc,jtcd,jgd->gjt", rows[keep], covariance[keep], rows[keep], optimize=True)
        mean = (weights[keep] * means).sum((1, 2))
        return mean, np.sqrt((weights[keep] * (variances + (means - mean[:, None, None]) ** 2)).sum((1, 2)))

    slope = np.repeat(family.exponent[None, None], len(design), axis=0)
    (exponent,), (error,) = pooled(slope, family.constant[:, None])
    means = best[keep] @ family.exponent + family.constant[keep, None]
    errors = np.sqrt(np.einsum("c,jtcd,d->jt", family.exponent, covariance[keep], family.exponent))
    mixture = weights[keep].ravel() / weights[keep].sum(), means.ravel(), errors.ravel()
    interval = float(mixture_quantile(0.025, *mixture)), float(mixture_quantile(0.975, *mixture))
    ahead = pooled(family.design[:, count:], family.offset[:, count:])
    top = int(np.argmax(each))
    share = float(weights.sum(0) @ (SCATTERS[:, None] ** 2 / variance).mean(1))
    scatter = float(np.sqrt(weights.sum(0) @ SCATTERS**2))
    return Fitted(
        family.parameters, float(-2 * each[top]), -2 * each, float(exponent), float(error), interval,
        float(family.breaks[top]), share, scatter, ahead,
    )  # fmt: skip
