"""The critical width m*(n) and its law m* = C n^p, from trainings that succeed or fail.

    law = fit_threshold(tally(m, n, success, seed))     # a fraction of a second; every report
    law = fit_fast(tally(m, n, success))                # milliseconds; live display

Both always return a law with a status, and never raise on data that merely say little:

    ok                              one power law, transitions resolved
    separated                       a line parts failures from successes; the interval holds all such lines
    grid too coarse                 at most n no width had both outcomes, or those that had tell no slope
    censored                        some n never or always succeeded on the grid (the notes name them)
    two n: law untested             a line through two points fits anything
    curved: read the envelope       a 1/n correction is needed; the exponent is that left at large n
    crossover: no single exponent   a floor or a break; the exponent is that of the largest n, over_range says where
    no width effect                 success does not demonstrably rise with m: p is NaN
    reversed                        success demonstrably falls with m: p is NaN
    one n only, all failed, all succeeded, no data: p is NaN, the points keep what is known

The interval is 95% if the form is right. The envelope also covers the neighbouring forms: the hull of the plain
fit, the fit with a 1/n covariate, and any form the data do not exclude, inflated for lack of fit. Verdicts
against a theorem use the envelope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls
from scipy.special import logit

from analysis.thresholds.forms import BROKEN, CORRECTED, FLOOR, SINGLE, Comparison, compare, fit_points
from analysis.thresholds.hierarchical import Posterior, hierarchical
from analysis.thresholds.law import Form, LocalExponent, Threshold, ThresholdLaw, abscissae, exponential
from analysis.thresholds.outcomes import Array, Tally, tally, tally_counts
from analysis.thresholds.points import local_exponents, thresholds
from analysis.thresholds.separation import corrected_exponents
from analysis.thresholds.survey import (
    Setting,
    coarse,
    crossed_range,
    curve,
    finish,
    remarks,
    separated,
    survey,
    with_separation,
)

__all__ = [
    "Form", "LocalExponent", "Tally", "Threshold", "ThresholdLaw",
    "fit_fast", "fit_threshold", "tally", "tally_counts",
]  # fmt: skip

# AICc within which a bent form still counts: for the envelope of a single law, of a bent one, for its interval; and
# within which the single law itself still counts where a bent one is ahead
RIVAL, RIVAL_BENT, CLOSE, SINGLE_STANDS = 4.0, 6.0, 2.0, 8.0
PLATEAU = 10.0  # by which factor the interval of the fit may exceed that of its points
SLOPE_NODES = np.array([-1.2247, 0.0, 1.2247])  # equally likely: right mean and variance of log slope


def fit_fast(data: Tally, level: float = 0.5) -> ThresholdLaw:
    """The joint binomial fit with Firth's penalty and its profile interval: one slope, no scatter or lapses.

    For a live display: milliseconds. The envelope equals the interval here; verdicts need ``fit_threshold``.
    Raises ValueError for a level outside (0, 1) or a tally with a second axis (see plane.py).
    """
    setting = survey(data, level)
    law, joint = setting.law, setting.joint
    if joint is None or not np.isfinite(joint.exponent):
        return law
    fit, (_, x0, z0) = joint.fit, joint.centre
    intercept, slope, tilt = fit.coefficients
    height = x0 + (logit(level) - intercept) / slope  # log m* at log n = z0
    gradient = np.array([[-1 / slope, -(height - x0) / slope, 0.0], [0.0, tilt / slope**2, -1 / slope]])
    covariance = joint.design_effect * gradient @ fit.covariance @ gradient.T
    z = abscissae(setting.where.over)
    rows = np.column_stack([np.ones_like(z), z - z0])
    middle = rows @ np.array([height, joint.exponent])
    error = 1.96 * np.sqrt(np.einsum("gi,ij,gj->g", rows, covariance, rows))
    interval = with_separation(setting, joint.interval)
    law = replace(
        law,
        exponent=joint.exponent,
        interval=interval,
        envelope=interval,
        prefactor=float(exponential(height - joint.exponent * z0)),
        slope=float(slope),
        curve=curve(setting, z, (middle, middle - error, middle + error)),
    )
    return finish(law, setting)


def fit_threshold(data: Tally, level: float = 0.5) -> ThresholdLaw:
    """The hierarchical fit, the envelope, and the comparison of forms: what a report prints.

    The law is fitted to the thresholds at ``level`` themselves, so that where the transition sharpens with n
    the exponent at 0.99 rightly differs from that at 0.5. A lapse rate is net: the level is one of the
    transition between the lapses. Raises as ``fit_fast`` does.
    """
    setting = survey(data, level)
    if setting.joint is None or not np.isfinite(setting.joint.exponent):
        return setting.law
    plain, columns = _posterior(setting, False)
    law = _plain(setting, plain, columns)
    steps = coarse(law.points, setting) or _flat(law, setting)
    if steps:
        law = _from_points(law, setting)
    if sum(point.censored is None for point in law.points) >= 3:
        law = _widen(law, setting, plain.dispersion, steps)
    if steps and law.status == "ok" and separated(setting) is None:
        law = replace(law, status="grid too coarse")
    return finish(law, setting)


def _plain(setting: Setting, plain: Posterior, columns: Callable[[Array], Array]) -> ThresholdLaw:
    """The single power law of the hierarchical fit, and the points with the slopes it found."""
    over, c = setting.where.over, plain.columns
    points = thresholds(
        setting.data, setting.where, setting.brackets, plain.slopes(_centred(over), SLOPE_NODES),
        setting.law.level, lapse=plain.lapse, skew=plain.average(c + 4), inflation=setting.inflation,
    )  # fmt: skip
    z, exponent = abscissae(over), np.array([0.0, 1.0])
    at_one = np.array([1.0, -np.log(over).mean()])  # log n = 0
    interval = with_separation(setting, plain.interval(exponent))
    return replace(
        setting.law,
        exponent=plain.quantile(0.5, exponent),
        interval=interval,
        envelope=interval,
        prefactor=float(exponential(plain.quantile(0.5, at_one))),
        points=points,
        local=local_exponents(points),
        notes=remarks(setting.data, points),
        over_range=crossed_range(points),
        slope=float(exponential(plain.average(c))),
        sharpening=plain.average(c + 1),
        sharpening_interval=plain.interval(np.eye(c + 2)[c + 1]),
        scatter=float(plain.weights @ plain.scatters),
        lapse=plain.lapse,
        curve=curve(setting, z, plain.band(columns(np.exp(z)))),
    )


def _flat(law: ThresholdLaw, setting: Setting) -> bool:
    """Is the interval of the hierarchical fit that of its flat prior? Where steps lie between the widths tried the
    likelihood is a plateau with walls, which Laplace does not see; the points, each by itself, do."""
    if sum(point.censored is None for point in law.points) < 3:
        return False
    low, high = fit_points(law.points, abscissae(setting.where.over))[SINGLE].interval
    return law.interval[1] - law.interval[0] > PLATEAU * (high - low)


def _from_points(law: ThresholdLaw, setting: Setting) -> ThresholdLaw:
    """The law through the brackets' middles, a bracket counting as a flat density over its width."""
    z = abscissae(setting.where.over)
    fit = fit_points(law.points, z)[SINGLE]
    middle, error = fit.ahead
    interval = with_separation(setting, fit.interval)
    return replace(
        law,
        exponent=fit.exponent,
        interval=interval,
        envelope=interval,
        prefactor=_prefactor(z, middle),
        curve=curve(setting, z, (middle, middle - 1.96 * error, middle + 1.96 * error)),
        scatter=fit.scatter,
    )


def _prefactor(z: Array, middle: Array) -> float:
    """C of a straight line tabulated at log n = ``z``."""
    slope = (middle[-1] - middle[0]) / (z[-1] - z[0])
    return float(exponential(middle[0] - slope * z[0]))


def _widen(law: ThresholdLaw, setting: Setting, dispersion: float, steps: bool) -> ThresholdLaw:
    """Envelope and form: what else the exponent could be, and what it is if no single power law fits. ``steps``: the
    law is that of the points."""
    z = abscissae(setting.where.over)
    found = compare(law.points, z, law.over_name)
    if law.status == "ok" and separated(setting):
        found = replace(found, chosen=SINGLE, notes=() if found.forms else found.notes)  # a single line does fit
    law, single = replace(law, form=found.chosen, forms=found.forms, notes=law.notes + found.notes), law.interval
    if steps:
        fits = fit_points(law.points, z)
        asymptotic = fits[CORRECTED].interval if CORRECTED in fits else corrected_exponents(law.points)
    else:
        corrected, columns = _posterior(setting, True)
        asymptotic = corrected.interval(np.array([0.0, 1.0, 0.0]))
    hull = [law.interval, asymptotic]
    if found.chosen == CORRECTED and not steps:
        law = replace(
            law,
            status="curved: read the envelope",
            exponent=corrected.quantile(0.5, np.array([0.0, 1.0, 0.0])),
            interval=asymptotic,
            prefactor=float(exponential(corrected.quantile(0.5, _at_infinity(setting)))),
            curve=curve(setting, z, corrected.band(columns(np.exp(z)))),
        )
    elif found.chosen != SINGLE:
        law, hull = _bent(law, setting, found), []
    curved = [form for form in found.forms if form.name != SINGLE]
    rival = RIVAL if found.chosen == SINGLE else RIVAL_BENT
    hull += [found.tail(form.name) for form in curved if form.aicc < rival]
    if found.chosen != SINGLE:  # which of the bent forms it is may be open: then so is the exponent
        ends = [law.interval, *(found.tail(form.name) for form in curved if form.aicc < CLOSE)]
        ends += [single for form in found.forms if form.name == SINGLE and form.aicc < SINGLE_STANDS]
        law = replace(law, interval=(min(low for low, _ in ends), max(high for _, high in ends)))
    low, high = min(end[0] for end in hull), max(end[1] for end in hull)
    spare = (np.sqrt(max(1.0, dispersion)) - 1) / 2 * (high - low) if np.isfinite(high - low) else 0.0
    envelope = (float(min(low - spare, law.interval[0])), float(max(high + spare, law.interval[1])))
    if not np.isfinite(envelope).any():
        law = replace(law, notes=(*law.notes, f"with a 1/{law.over_name} correction any exponent passes the brackets"))
    return replace(law, envelope=envelope)


def _bent(law: ThresholdLaw, setting: Setting, found: Comparison) -> ThresholdLaw:
    """The law that a bent form gives for the largest n, where it is not that of the smallest."""
    fit = found.fits[found.chosen]
    middle, error = fit.ahead
    z = abscissae(setting.where.over)
    last = np.interp(np.log(law.over_range[1]), z, middle)
    start, prefactor, offset = (
        law.over_range[0],
        float(exponential(last - fit.exponent * np.log(law.over_range[1]))),
        0.0,
    )
    if found.chosen == BROKEN:
        start = found.breaks
    elif found.chosen == FLOOR:
        start, prefactor, offset = _floored(law, fit.exponent, np.exp(np.interp(np.log(_crossed(law)), z, middle)))
    return replace(
        law,
        status="curved: read the envelope" if found.chosen == CORRECTED else "crossover: no single exponent",
        exponent=fit.exponent,
        interval=found.tail(found.chosen),
        prefactor=prefactor,
        offset=offset,
        over_range=(start, law.over_range[1]),
        curve=curve(setting, z, (middle, middle - 1.96 * error, middle + 1.96 * error)),
    )


def _crossed(law: ThresholdLaw) -> Array:
    return np.array([point.over for point in law.points if point.censored is None])


def _floored(law: ThresholdLaw, exponent: float, middle: Array) -> tuple[float, float, float]:
    """(n from which the power law exceeds the floor, C, floor) of the curve ``middle`` (K,) at the crossed n; the n
    is at most the last but one of them."""
    over = _crossed(law)
    scale = float(over.max())
    floor, rise = nnls(np.column_stack([np.ones_like(over), (over / scale) ** exponent]) / middle[:, None], over**0.0)[
        0
    ]
    prefactor = float(rise * exponential(-exponent * np.log(scale)))
    start = scale * (floor / rise) ** (1 / exponent) if floor > 0 and rise > 0 and exponent > 0 else over.min()
    return float(np.clip(start, over.min(), np.sort(over)[-2])), prefactor, float(floor)


def _posterior(setting: Setting, corrected: bool) -> tuple[Posterior, Callable[[Array], Array]]:
    """The hierarchical fit, plain or with a 1/n column, and the function from n (G,) to its columns (G, r)."""
    over, joint = setting.where.over, setting.joint
    assert joint is not None
    z0, inverse = np.log(over).mean(), 1 / over

    def columns(at: Array) -> Array:
        parts = [np.ones_like(at), np.log(at) - z0]
        if corrected:
            parts.append((1 / at - inverse.mean()) / inverse.std())
        return np.column_stack(parts)

    intercept, slope, _ = joint.fit.coefficients
    _, x0, z1 = joint.centre
    height = x0 + (logit(setting.law.level) - intercept) / slope + joint.exponent * (z0 - z1)
    start = np.array([height, joint.exponent, *([0.0] if corrected else []), np.log(slope)])
    fit = hierarchical(
        setting.data, setting.where.of, columns(over), _centred(over), start,
        level=setting.law.level, inflation=joint.design_effect,
    )  # fmt: skip
    return fit, columns


def _centred(over: Array) -> Array:
    return np.asarray(np.log(over) - np.log(over).mean())


def _at_infinity(setting: Setting) -> Array:
    """Direction of log C in the 1/n fit: the height at log n = 0 with no correction left."""
    over = setting.where.over
    return np.array([1.0, -np.log(over).mean(), -(1 / over).mean() / (1 / over).std()])
