"""The chance of success about m*: its shape, its priors, and the derivatives the hierarchical fit climbs by.

    P(success) = low + (1 - low - high) expit(logit(level) + b_n h(log m - t_n)),   h(x) = (exp(k x) - 1) / k
    t_n = columns of the law + tau u_n;   log b_n = log b + g (centred log n)

Parameters, in order: r coefficients of the law; log b, g, the logits of 2 low and 2 high, k; u_n (K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from analysis.thresholds.outcomes import Array, Index

# Weak priors (mean, sd), in natural logs: slopes of real transitions lie in 0.3 .. 120, and lapses are rare.
SLOPE, SHARPENING, LAPSE, SKEW = (np.log(6.0), 1.5), (0.0, 0.5), (logit(0.04), 1.5), (0.0, 0.5)
MIDDLE, SPREAD = np.array([SLOPE, SHARPENING, LAPSE, LAPSE, SKEW]).T
SHAPES = len(MIDDLE)  # parameters of the transition's shape, after the columns of the law
FLAT = 1e-4  # precision of the law's coefficients: all but flat, yet no data leave them undetermined


@dataclass(frozen=True)
class Model:
    """Data and design of a fit: log m ``x`` (R,), counts (R,), the group ``of`` each cell (R,), the columns of the
    ``law`` (K, r), centred log n for the slope (K,), and logit(level)."""

    x: Array
    successes: Array
    trials: Array
    of: Index
    law: Array
    sharpness: Array
    offset: float
    anchor: Array  # (r,) where the prior of the law's coefficients is centred, and
    precision: Array | float = 0.0  # (r,) its precision beyond FLAT

    @property
    def columns(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True)
class Transition:
    """What a batch of parameters predicts per cell (B, R), and the pieces its derivatives are made of."""

    chance: Array
    core: Array
    low: Array
    high: Array
    slope: Array
    distance: Array
    rate: Array
    by_skew: Array


def transition(model: Model, parameters: Array, tau: Array) -> Transition:
    """Chances (B, R) under ``parameters`` (B, q) and scatters ``tau`` (B,)."""
    c, of = model.columns, model.of
    slope = np.exp(parameters[:, c, None] + parameters[:, c + 1, None] * model.sharpness)[:, of]
    centre = parameters[:, :c] @ model.law.T + tau[:, None] * parameters[:, c + SHAPES :]
    bent, rate, by_skew = bend(model.x - centre[:, of], parameters[:, c + 4, None])
    core = expit(slope * bent + model.offset)
    low, high = expit(parameters[:, c + 2, None]) / 2, expit(parameters[:, c + 3, None]) / 2
    chance = np.clip(low + (1 - low - high) * core, 1e-12, 1 - 1e-12)
    return Transition(chance, core, low, high, slope, slope * bent, rate, by_skew)


def derivatives(model: Model, parameters: Array, tau: Array) -> tuple[Array, Array]:
    """Chances (B, R) and their derivatives (B, q, R) by the parameters."""
    c, of = model.columns, model.of
    batch, q = parameters.shape
    t = transition(model, parameters, tau)
    core, low, high = t.core, t.low, t.high
    tilt = (1 - low - high) * core * (1 - core)
    pull = -tilt * t.slope * t.rate
    jacobian = np.zeros((batch, q, len(of)))
    jacobian[:, :c] = pull[:, None] * model.law.T[:, of]
    jacobian[:, c] = tilt * t.distance
    jacobian[:, c + 1] = jacobian[:, c] * model.sharpness[of]
    jacobian[:, c + 2] = (1 - core) * low * (1 - 2 * low)
    jacobian[:, c + 3] = -core * high * (1 - 2 * high)
    jacobian[:, c + 4] = tilt * t.slope * t.by_skew
    jacobian[:, c + SHAPES + of, np.arange(len(of))] = tau[:, None] * pull
    return t.chance, jacobian


def evaluate(model: Model, parameters: Array, tau: Array) -> tuple[Array, Array, Array]:
    """Log posterior (B,), its gradient (B, q) and the expected information plus prior precision (B, q, q)."""
    c, q = model.columns, parameters.shape[1]
    chance, jacobian = derivatives(model, parameters, tau)
    value = np.log(chance) @ model.successes + np.log1p(-chance) @ (model.trials - model.successes)
    variance = chance * (1 - chance)
    score = (jacobian @ ((model.successes - model.trials * chance) / variance)[..., None])[..., 0]
    information = (jacobian * (model.trials / variance)[:, None]) @ jacobian.transpose(0, 2, 1)
    middle = np.zeros(q)
    middle[:c] = model.anchor
    middle[c : c + SHAPES] = MIDDLE
    precision = np.ones(q)
    precision[:c] = FLAT + model.precision
    precision[c : c + SHAPES] = SPREAD**-2.0
    away = parameters - middle
    value = value - 0.5 * (precision * away**2).sum(1)
    return value, score - precision * away, information + np.diag(precision)


def bend(x: Array, skew: Array) -> tuple[Array, Array, Array]:
    """h(x) = (exp(k x) - 1) / k, dh/dx and dh/dk, smooth through k = 0; exponents beyond 4 are cut off."""
    k = np.where(np.abs(skew) < 1e-3, 1e-3, skew)
    power = np.exp(np.clip(k * x, -20.0, 4.0))
    bent = (power - 1) / k
    return bent, power, (x * power - bent) / k
