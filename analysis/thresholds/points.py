"""m* at each n by itself, with the slope of the transition borrowed from the joint fit."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from analysis.thresholds.law import Interval, LocalExponent, Threshold, exponential
from analysis.thresholds.outcomes import Array, Index, Tally
from analysis.thresholds.separation import Brackets, Groups
from analysis.thresholds.transition import bend

GRID = 161  # positions of log m* per n and pass; the second pass zooms onto the posterior of the first
TAILS = (0.025, 0.5, 0.975)


def thresholds(
    data: Tally,
    where: Groups,
    brackets: Brackets,
    slopes: Array | None,
    level: float,
    *,
    lapse: tuple[float, float] = (0.0, 0.0),
    skew: float = 0.0,
    inflation: float = 1.0,
) -> tuple[Threshold, ...]:
    """One Threshold per group.

    ``slopes`` (K, S): S equally likely slopes of the logit in log m for each group, or None if no slope is
    known (then only brackets remain). ``lapse``: rates of success far below and of failure far above m*;
    ``skew``: k of the transition's shape (see hierarchical.py); ``inflation``: the variance factor of shared seeds.
    """
    trained = np.bincount(where.of, data.trials, minlength=len(where)).astype(int)
    won = np.bincount(where.of, data.successes, minlength=len(where))
    if slopes is None:
        quantiles = np.full((3, len(where)), np.nan)
        errors = np.full(len(where), np.nan)
    else:
        logs, errors = _posterior(data, where.of, slopes, level, lapse, skew, inflation)
        quantiles = exponential(logs)
    found = []
    for i in range(len(where)):
        censored = _side(won[i], trained[i], quantiles[1, i], brackets.least[i], brackets.most[i])
        clean = bool(brackets.clean[i]) and censored is None
        critical, interval = float(quantiles[1, i]), (float(quantiles[0, i]), float(quantiles[2, i]))
        if slopes is None:
            interval = (0.0, np.inf)
        if censored == "above":
            critical, interval = np.nan, (min(_or(interval[0], np.inf), brackets.most[i]), np.inf)
            if slopes is None:
                interval = (float(brackets.most[i]), np.inf)
        elif censored == "below":
            critical, interval = np.nan, (0.0, max(_or(interval[1], 0.0), brackets.least[i]))
            if slopes is None:
                interval = (0.0, float(brackets.least[i]))
        elif clean:
            low, high = float(brackets.low[i]), float(brackets.high[i])
            critical = float(np.sqrt(low * high))
            interval = (min(_or(interval[0], low), low), max(_or(interval[1], high), high))
            if slopes is None:
                interval = (low, high)
        second = None if where.second is None else float(where.second[i])
        found.append(
            Threshold(
                float(where.over[i]), critical, interval, censored, clean, int(trained[i]),
                float(errors[i]), second,
            )
        )  # fmt: skip
    return tuple(found)


def _or(value: float, otherwise: float) -> float:
    return otherwise if np.isnan(value) else value


def _side(won: float, trained: int, middle: float, least: float, most: float) -> Literal["below", "above"] | None:
    """Censored: never or always succeeded, or so nearly that the crossing lies off the grid."""
    if won == 0 or middle > most:
        return "above"
    if won == trained or middle < least:
        return "below"
    return None


def _posterior(
    data: Tally, of: Index, slopes: Array, level: float, lapse: tuple[float, float], skew: float, inflation: float
) -> tuple[Array, Array]:
    """Quantiles (3, K) and standard deviations (K,) of log m* per group, on a grid zoomed once.

    The prior is Jeffreys' for a known slope (the square root of the information), which does for one n what
    Firth's penalty does for all.
    """
    x, count = np.log(data.critical), len(slopes)
    reach = 12.0 / slopes.min(1)
    low = np.array([x[of == i].min() for i in range(count)]) - reach
    high = np.array([x[of == i].max() for i in range(count)]) + reach
    for final in (False, True):
        theta = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, GRID)
        density = _density(data, x, of, theta, slopes, level, lapse, skew, inflation)
        mass = np.cumsum(density, axis=1) - density / 2
        mass /= density.sum(1, keepdims=True)
        if not final:
            edge = np.array([np.interp((1e-4, 1 - 1e-4), mass[i], theta[i]) for i in range(count)])
            step = (high - low) / (GRID - 1)
            low, high = edge[:, 0] - step, edge[:, 1] + step
    quantiles = np.array([np.interp(TAILS, mass[i], theta[i]) for i in range(count)]).T
    weight = density / density.sum(1, keepdims=True)
    mean = (weight * theta).sum(1)
    return quantiles, np.sqrt((weight * (theta - mean[:, None]) ** 2).sum(1))


def _density(
    data: Tally, x: Array, of: Index, theta: Array, slopes: Array, level: float,
    lapse: tuple[float, float], skew: float, inflation: float,
) -> Array:  # fmt: skip
    """Posterior density (K, GRID), up to a factor, averaged over the slopes."""
    k, n = data.successes[:, None] / inflation, data.trials[:, None] / inflation
    logs = []
    bent, rate, _ = bend(x[:, None] - theta[of], np.array(skew))
    for s in range(slopes.shape[1]):
        slope = slopes[of, s][:, None]
        core = expit(slope * bent + logit(level))
        chance = np.clip(lapse[0] + (1 - sum(lapse)) * core, 1e-12, 1 - 1e-12)
        fit = k * np.log(chance) + (n - k) * np.log1p(-chance)
        tilt = (1 - sum(lapse)) * slope * rate * core * (1 - core)
        information = n * tilt**2 / (chance * (1 - chance))
        total, known = np.zeros_like(theta), np.zeros_like(theta)
        np.add.at(total, of, fit)
        np.add.at(known, of, information)
        logs.append(total + 0.5 * np.log(known + 1e-300))
    stacked = np.array(logs)
    return np.asarray(np.exp(stacked - stacked.max((0, 2), keepdims=True)).mean(0))


def local_exponents(points: tuple[Threshold, ...]) -> tuple[LocalExponent, ...]:
    """Exponents between neighbouring n.

    The interval combines the ends of both points in squares (Donner & Zou 2002's method of variance
    estimates), or adds them where a point is a bracket, which has no error law.
    """
    found = []
    for left, right in pairwise(points):
        run = np.log(right.over / left.over)
        low, high = _difference(left, right)
        exponent = float(np.log(right.critical / left.critical) / run)
        found.append(LocalExponent((left.over, right.over), exponent, (low / run, high / run)))
    return tuple(found)


def _difference(left: Threshold, right: Threshold) -> Interval:
    with np.errstate(divide="ignore"):
        (a_low, a_high), (b_low, b_high) = np.log(left.interval), np.log(right.interval)
    brackets = left.separated or right.separated or left.censored or right.censored
    if brackets or not np.isfinite([left.critical, right.critical]).all():
        return float(b_low - a_high), float(b_high - a_low)
    a, b = np.log(left.critical), np.log(right.critical)
    return (
        float(b - a - np.hypot(b - b_low, a_high - a)),
        float(b - a + np.hypot(b_high - b, a - a_low)),
    )
