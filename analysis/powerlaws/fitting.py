"""A power law of a continuous metric, y = a x^e + c, with an interval one can trust and a status that says when not.

Sign convention: the exponent is e in y ~ x^e, the same as p in m* ~ n^p. A curve a x^-b has exponent -b, so that
"slope -1/2 on log-log axes" reads exponent = -0.5 everywhere.

What is done, in order (`logfits.py` and `logcurves.py` have the numerics):
  1. y <= 0 or not finite is dropped and counted: a logarithm cannot see it.
  2. c = 0 and free c >= 0 are both fitted on log residuals; AICc chooses, and both are kept in `alternatives`.
  3. A 1/x correction and a law that breaks in two are fitted as rivals. Every one-exponent form that the data do not
     rule out widens the `envelope`, also a form that AICc finds too rich for so few points; a clear break makes the
     status "broken": no single exponent describes these x, and the law is that of the last part (`breaks.py`).
  4. Repeated y at one x (seeds) give the pure error. Where the x means scatter more than it explains, the envelope
     is inflated by that factor, on the degrees of freedom of the means.
  5. The largest x is predicted from the others: a falsification check, never a selector.

Seeds. Rows are taken as independent given x. Shared data sets or initialisations break that: a factor common to all
rows at one x is seen by 4; a seed reused at every x is not, so pass `cluster` (one label a row) and the interval
becomes the hull of the profile interval and the delete-one-cluster jackknife's.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.powerlaws.breaks import BREAK_WINS, Break, excess, find_break, inflation
from analysis.powerlaws.law import NAN, Holdout, PowerLaw, require_positive
from analysis.powerlaws.logcurves import Array, Points, residuals, scaled
from analysis.powerlaws.logfits import NAN_INTERVAL, Fit, Interval, band, fit_form, huber_clip

RIVAL = 6.0  # dof x log(cost / best cost) up to here does not rule a form out (likelihood ratio above 1/20)
ROUNDING = 1e-7  # root mean square log residual below which what is left is rounding (of a printed table, a float32)
FAR = 5.0  # robust standard deviations beyond which a row is called an outlier
ENOUGH = 12  # rows below which a robust standard deviation is too uncertain to call one
IDLE = 1.25  # factor of y over all x, below which a slope that may be 0 is called no dependence
BREAK = 0.25  # two slopes nearer than this are one exponent to every verdict


def fit_power_law(
    x: ArrayLike,
    y: ArrayLike,
    *,
    robust: bool = False,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> PowerLaw:
    """Fit y ~ x^e. x, y: shape (N,), any units, repeats welcome; cluster: shape (N,), labels of shared seeds.

    robust=True: Huber's loss, linear beyond 1.345 normalised MAD of the log residuals; ask for it when there are
    outliers. level: of every interval. Raises ValueError when shapes differ, when level is not in (0, 1), or when an
    x is not positive and finite (it names the row). No data raises: a status says what is missing.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    labels = np.arange(xs.size) if cluster is None else np.asarray(cluster)
    if xs.ndim != 1 or ys.shape != xs.shape or labels.shape != xs.shape:
        raise ValueError(f"x, y, cluster must share one shape (N,): got {xs.shape}, {ys.shape}, {labels.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    require_positive(xs)
    finite, positive = np.isfinite(ys), ys > 0
    keep = finite & positive
    empty = _no_law(xs[keep], ys[keep], int(np.sum(finite & ~positive)), int(np.sum(~finite)), level)
    if empty.status:
        return empty
    pts = scaled(xs[keep], ys[keep])
    clip = huber_clip("offset" if empty.n_x > 3 and pts.z.size > 4 else "power", pts) if robust else np.inf
    return _assemble(empty, pts, clip, None if cluster is None else labels[keep])


def _assemble(empty: PowerLaw, pts: Points, clip: float, labels: NDArray[Any] | None) -> PowerLaw:
    """Fit the forms, choose, widen, check."""
    forms = ("power", "offset", "corrected") if empty.n_x > 3 else ("power",)
    fits = tuple(fit_form(form, pts, clip, empty.level) for form in forms)
    proved = [f for f in fits if f.form != "corrected" and f.converged]
    chosen = min(proved, key=lambda f: f.aicc) if proved else fits[0]
    unproved = not chosen.converged or any(f.form == "offset" and f.aicc < chosen.aicc for f in fits)
    notes = list(empty.notes)
    idle = _exact(chosen) and chosen.converged  # a rival of an exact law has nothing left to explain
    notes += [f"{f.form}: not converged ({f.why})" for f in fits if not (f.converged or idle)]
    if not any(f.form == "offset" and np.isfinite(f.aicc) for f in fits):
        notes.append(f"{pts.z.size} points at {empty.n_x} x cannot tell an offset from none: c = 0 is forced")
    if labels is not None:
        wider, note = _jackknife(chosen, pts, clip, labels, empty.level)
        fits = tuple(replace(f, interval=wider) if f is chosen else f for f in fits)
        chosen, notes = next(f for f in fits if f.form == chosen.form), [*notes, note]
    broken, lead = find_break(fits, pts, clip, empty.level, labels)
    is_broken = broken is not None and lead > BREAK_WINS and abs(broken.after - broken.before) > BREAK
    status = "not converged" if unproved else "broken" if is_broken else "ok"
    broken_law = broken if status == "broken" else None
    p_value = broken_law.lack_of_fit if broken_law else _lack_of_fit(chosen, pts, clip, empty.level)[0]
    if p_value < 0.01:
        notes.append(
            f"lack of fit (p = {p_value:.1g}): the x means scatter more than repeats explain; envelope inflated"
        )
    if broken is not None and is_broken:
        notes.append(
            f"slope {broken.before:.2f} up to x = {broken.at:.3g}, then {broken.after:.2f}: "
            + ("the law is that of the last part" if broken_law else "fit each part")
        )
    notes += _remarks(chosen, pts, clip, broken_law)
    holdout = _hold_out(chosen, pts, clip, empty.level)
    if holdout is not None and not holdout.inside:
        notes.append(f"the law fitted below x = {holdout.x:.3g} does not predict y there")
    cost, dof = min((f.cost, f.dof) for f in fits)
    if broken_law and broken_law.cost < cost:
        cost, dof = broken_law.cost, broken_law.dof
    rivals = [f for f in fits if (f is chosen and not broken_law) or (f.converged and not _ruled_out(f, cost, dof))]
    ends = [_inflated(f, pts, clip, empty.level) for f in rivals]
    ends += [broken_law.inflated] if broken_law else []
    law = replace(
        empty,
        exponent=chosen.exponent,
        interval=chosen.interval,
        envelope=(min(lo for lo, _ in ends), max(hi for _, hi in ends)),
        prefactor=chosen.prefactor,
        offset=chosen.extra,
        status=status,
        notes=tuple(notes),
        lack_of_fit=p_value,
        alternatives=fits,
        chosen=chosen.form,
        broken=broken,
        holdout=holdout,
    )
    if broken_law is None:
        return law
    last = (broken_law.at, empty.over_range[1])
    return replace(
        law, exponent=broken_law.after, interval=broken_law.interval, prefactor=broken_law.prefactor, offset=0.0,
        over_range=last,
    )  # fmt: skip


def _remarks(chosen: Fit, pts: Points, clip: float, broken: Break | None) -> list[str]:
    """What a reader should know of the points: rows far off, and whether y depends on x at all."""
    notes = []
    if broken is None:
        r = residuals(chosen.form, chosen.theta, pts)
        spread = 1.4826 * float(np.median(np.abs(r - np.median(r))))
        far = int(np.sum(np.abs(r) > FAR * spread)) if spread > ROUNDING else 0
        if far and np.isinf(clip) and r.size >= ENOUGH:
            notes.append(f"{far} of {r.size} rows lie more than {FAR:g} robust standard deviations off: try --robust")
        (low, high), change = chosen.interval, abs(chosen.exponent) * float(np.ptp(pts.z))
        if chosen.form == "power" and low <= 0 <= high and change < np.log(IDLE):
            notes.append("no dependence on x shown")
    return notes


def _no_law(x: Array, y: Array, nonpositive: int, nonfinite: int, level: float) -> PowerLaw:
    """A law of NaNs, with the counts and, when the data cannot bear a fit, the status that says why ("" otherwise)."""
    few = {0: "no points", 1: "one x", 2: "two x: law untested"}
    n_x = int(np.unique(x).size)
    status = few.get(n_x, "constant y" if np.all(y == y[:1]) else "")
    notes = []
    if nonpositive:
        notes.append(f"{nonpositive} rows with y <= 0 dropped: what is left is biased upwards")
    if nonfinite:
        notes.append(f"{nonfinite} rows with y not finite dropped")
    span = (float(x.min()), float(x.max())) if x.size else NAN_INTERVAL
    numbers = (NAN, NAN_INTERVAL, NAN_INTERVAL, NAN, NAN)
    return PowerLaw(*numbers, status, tuple(notes), span, x.size, n_x, nonpositive, nonfinite, level)


def _exact(fit: Fit) -> bool:
    return fit.cost < (fit.dof + fit.theta.size) * ROUNDING**2


def _lack_of_fit(fit: Fit, pts: Points, clip: float, level: float) -> tuple[float, float]:
    """(p-value, factor >= 1 for the interval); (NaN, 1) without repeats and for an exact law."""
    if _exact(fit):
        return NAN, 1.0
    ratio, p_value = excess(fit.cost, fit.theta.size, pts, clip)
    return p_value, inflation(ratio, fit.phi, fit.theta.size, pts, clip, level)


def _ruled_out(fit: Fit, cost: float, dof: int) -> bool:
    """By its fit alone, beside the best ``cost`` on ``dof``: that a form has more parameters does not speak against it
    (AICc would, with few points)."""
    return dof * float(np.log(max(fit.cost, 1e-300) / max(cost, 1e-300))) > RIVAL


def _inflated(fit: Fit, pts: Points, clip: float, level: float) -> Interval:
    factor = _lack_of_fit(fit, pts, clip, level)[1]
    (lo, hi), e = fit.interval, fit.exponent
    return e - factor * (e - lo), e + factor * (hi - e)


def _hold_out(fit: Fit, pts: Points, clip: float, level: float) -> Holdout | None:
    """None when the other x are no more than the form's parameters."""
    last = pts.z == pts.z.max()
    if np.unique(pts.z[~last]).size <= fit.theta.size:
        return None
    rest = fit_form(fit.form, pts.where(~last), clip, level, profile=False)
    x = float(pts.x0 * np.exp(pts.z.max()))
    middle, worth = (np.mean, 1.0) if np.isinf(clip) else (np.median, 2 / np.pi)  # efficiency of a median
    observed = float(pts.y0 * np.exp(middle(pts.v[last])))
    y, lo, hi = (float(u[0]) for u in band(rest, np.array([x]), level, repeats=max(1.0, worth * last.sum())))
    slack = 10 * ROUNDING * observed  # an exact law predicts to rounding, which extrapolation magnifies
    return Holdout(x, observed, y, (lo, hi), lo - slack <= observed <= hi + slack)


def _jackknife(fit: Fit, pts: Points, clip: float, labels: NDArray[Any], level: float) -> tuple[Interval, str]:
    """The profile interval's hull with e +- t SE, SE from leaving out one cluster at a time (t on clusters - 1)."""
    names = np.unique(labels)
    parts = [pts.where(labels != name) for name in names]
    if names.size < 5 or any(np.unique(part.z).size <= fit.theta.size for part in parts):
        return fit.interval, f"{names.size} clusters are too few to widen the interval by"
    e = np.array([fit_form(fit.form, part, clip, level, profile=False).exponent for part in parts])
    se = float(np.sqrt((names.size - 1) * np.mean((e - e.mean()) ** 2)))
    half = float(stats.t.ppf((1 + level) / 2, names.size - 1)) * se
    wide = (min(fit.interval[0], fit.exponent - half), max(fit.interval[1], fit.exponent + half))
    return wide, f"interval holds for {names.size} clusters (jackknife standard error {se:.3g})"
