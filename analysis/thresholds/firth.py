"""Joint binomial fit with Firth's penalty: logit P = beta (log m - a - p log n), for a live display.

Firth's penalty, half the log determinant of the information, removes the leading bias of logistic regression
and keeps every estimate finite under separation (Firth 1993, Biometrika 80:27; Heinze & Schemper 2002,
Statistics in Medicine 21:2409). The interval of the exponent is the profile of the penalised likelihood over
p, which, like Fieller's, is unbounded exactly when the data do not show that the width matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from analysis.thresholds.outcomes import Array, Tally
from analysis.thresholds.separation import groups

CUTOFF = 3.841458820694124  # 95% quantile of chi-squared with one degree of freedom
STEPS, TOLERANCE = 60, 1e-9


@dataclass(frozen=True)
class FirthFit:
    """Coefficients (c,), their covariance (c, c), penalised log likelihood, and whether it settled."""

    coefficients: Array
    covariance: Array
    likelihood: float
    converged: bool


def firth(
    design: Array, successes: Array, trials: Array, *, penalty: float = 1.0, start: Array | None = None
) -> FirthFit:
    """Logistic regression of ``successes`` (R,) out of ``trials`` (R,) on ``design`` (R, c).

    ``penalty`` 1 is Firth's; 0 is plain maximum likelihood, for comparison: it diverges under separation.
    """
    return _climb(design, np.eye(design.shape[1]), successes, trials, penalty, start)


def _climb(
    design: Array, span: Array, successes: Array, trials: Array, penalty: float, start: Array | None
) -> FirthFit:
    """Maximise over the coefficients span @ free: all of them, or a plane of them for a profile.

    The penalty is always that of the full design, as Heinze & Schemper's profile requires.
    """
    free = np.zeros(span.shape[1]) if start is None else start
    value, score, information = _objective(design, span @ free, successes, trials, penalty)
    settled = False
    for _ in range(STEPS):
        inner = span.T @ information @ span
        step = np.linalg.lstsq(inner, span.T @ score, rcond=None)[0]
        step *= min(1.0, 5.0 / (np.abs(design @ (span @ step)).max() + 1e-12))  # at most 5 logits at once
        gain = float(step @ (span.T @ score))
        if gain < TOLERANCE:
            settled = True
            break
        for _ in range(20):
            trial = _objective(design, span @ (free + step), successes, trials, penalty)
            if trial[0] >= value - 1e-12:
                break
            step = step / 2
        else:
            break
        free, (value, score, information) = free + step, trial
    return FirthFit(span @ free, np.asarray(np.linalg.pinv(information)), value, settled)


def _objective(
    design: Array, coefficients: Array, successes: Array, trials: Array, penalty: float
) -> tuple[float, Array, Array]:
    """Penalised log likelihood, its score (c,) and the Fisher information (c, c)."""
    logits = design @ coefficients
    chance = expit(logits)
    weight = trials * chance * expit(-logits)
    information = (design * weight[:, None]).T @ design
    value = float(successes @ logits - trials @ np.logaddexp(0.0, logits))
    residual = successes - trials * chance
    if penalty:
        sign, determinant = np.linalg.slogdet(information)
        value += penalty * 0.5 * (float(determinant) if sign > 0 else -1e3)
        leverage = weight * np.einsum("ij,jk,ik->i", design, np.linalg.pinv(information), design)
        residual = residual + penalty * leverage * (0.5 - chance)
    return value, design.T @ residual, information


@dataclass(frozen=True)
class JointFit:
    """The fitted law in centred logs: logit P = c + b (log m - x0) + s . (z - z0), exponent p = -s[0] / b.

    ``slope`` is b, ``exponent`` p with its profile ``interval`` (infinite ends: the width effect is not
    shown), ``width_effect`` the statistic of b (see below), ``design_effect`` the factor by which
    shared seeds inflate the variance (1 without).
    """

    fit: FirthFit
    centre: Array
    slope: float
    exponent: float
    error: float
    interval: tuple[float, float]
    width_effect: float
    design_effect: float


def joint_fit(data: Tally) -> JointFit:
    """Firth's fit of one power law to a tally with at least two n, both outcomes; one axis."""
    raw = np.column_stack([np.ones_like(data.over), np.log(data.critical), np.log(data.over)])
    centre = np.append(0.0, np.average(raw[:, 1:], axis=0, weights=data.trials))
    design = raw - centre
    fit = firth(design, data.successes, data.trials)
    effect = design_effect(data, design, fit)
    b, s = fit.coefficients[1], fit.coefficients[2]
    statistic = width_effect(design, data, fit) / effect
    if statistic < CUTOFF:
        return JointFit(fit, centre, b, np.nan, np.inf, (-np.inf, np.inf), statistic, effect)
    p = -s / b
    gradient = np.array([0.0, s / b**2, -1.0 / b])
    error = float(np.sqrt(effect * gradient @ fit.covariance @ gradient))
    interval = _profile(design, data, fit, p, error, CUTOFF * effect)
    return JointFit(fit, centre, b, p, error, interval, statistic, effect)


def width_effect(design: Array, data: Tally, fit: FirthFit) -> float:
    """Penalised likelihood ratio statistic of the second column, log m, with the sign of its coefficient."""
    others = np.delete(np.eye(design.shape[1]), 1, axis=1)
    start = np.delete(fit.coefficients, 1)
    without = _climb(design, others, data.successes, data.trials, 1.0, start)
    return float(np.sign(fit.coefficients[1]) * max(0.0, 2 * (fit.likelihood - without.likelihood)))


def _profile(design: Array, data: Tally, fit: FirthFit, p: float, error: float, cutoff: float) -> tuple[float, float]:
    """All p whose best fit loses less than ``cutoff`` / 2 of penalised log likelihood."""
    free = fit.coefficients[:2]

    def excess(at: float) -> float:
        span = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -at]])
        there = _climb(design, span, data.successes, data.trials, 1.0, free)
        return 2 * (fit.likelihood - there.likelihood) - cutoff

    ends = []
    for side in (-1.0, 1.0):
        inner, reach = 0.0, 1.96 * max(error, 1e-6)
        while excess(p + side * reach) < 0 and reach < 1e4:
            inner, reach = reach, 1.6 * reach
        if reach >= 1e4:
            ends.append(side * np.inf)
        else:
            root = brentq(lambda r, s=side: excess(p + s * r), inner, reach, xtol=1e-4 * reach, rtol=1e-4)
            ends.append(p + side * float(root))
    return ends[0], ends[1]


def design_effect(data: Tally, design: Array, fit: FirthFit, column: int = 2) -> float:
    """Variance of the exponent of ``column`` with (n, seed) clusters over its variance without, never below 1.

    A sandwich over clusters whose scores are centred per n: a misfit of the law at some n is not a
    correlation of seeds (the hierarchical fit's scatter is there for that).
    """
    if data.shared is None:
        return 1.0
    shared, turn = data.shared, np.zeros(design.shape[1])
    turn[1], turn[column] = fit.coefficients[column], -fit.coefficients[1]
    chance = expit(design @ fit.coefficients)[shared.cell]
    residual = shared.successes - shared.trials * chance
    direction = turn @ fit.covariance @ design.T  # influence of a cell on p
    influence = np.bincount(shared.cluster, residual * direction[shared.cell])
    single = shared.trials * chance * (1 - chance) * direction[shared.cell] ** 2
    of = groups(data).of
    group = np.zeros(influence.size, dtype=np.int64)
    group[shared.cluster] = of[shared.cell]
    size = np.bincount(group)
    spread = influence - (np.bincount(group, influence) / size)[group]
    corrected = spread**2 * (size / np.maximum(size - 1, 1))[group]
    return max(1.0, float(corrected.sum() / max(single.sum(), 1e-300)))
