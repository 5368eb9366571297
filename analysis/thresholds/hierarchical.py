"""The default fit: m* scatters about the law, the transition sharpens with n, and trainings lapse.

    P(success) = low + (1 - low - high) expit(logit(level) + b_n h(log m - t_n)),   h(x) = (exp(k x) - 1) / k
    t_n = a + p log n (+ further columns) + tau u_n,  u_n ~ N(0, 1);        log b_n = log b + g log n

t_n is log m* at the asked success level, net of lapses. k = 0 is a transition symmetric in log m, k = 1 one
symmetric in m, as where a count concentrates (Cover's law). Given tau, a normal approximation at the posterior's
mode integrates everything else out (Laplace); tau, whose posterior is far from normal, is summed over a grid
(nested Laplace: Rue, Martino & Chopin 2009, JRSS B 71:319). The posterior of p is then a mixture of normals,
with tails as heavy as the number of n warrants. All grid points of tau are solved at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from analysis.thresholds.law import Interval, mixture_quantile
from analysis.thresholds.outcomes import Array, Index, Tally
from analysis.thresholds.transition import MIDDLE, SHAPES, Model, bend, evaluate, transition

SCATTERS = np.geomspace(0.004, 1.2, 16)  # of log m*: a law whose scatter exceeds a factor e is no law
SCATTER_SCALE = 0.25  # of the half-normal prior of tau
STEPS, TOLERANCE = 80, 1e-6
NODES = 49  # quadrature of each u_n, over 6 standard deviations either way


@dataclass(frozen=True)
class Posterior:
    """A mixture over T values of tau: ``weights`` (T,), ``scatters`` (T,), ``means`` (T, q) and
    ``covariances`` (T, q, q) of the parameters: r columns of the law, log b, g, the two lapse logits,
    the skew k, u (K). ``dispersion`` is Pearson's chi-squared per degree of freedom."""

    weights: Array
    scatters: Array
    means: Array
    covariances: Array
    columns: int
    dispersion: float

    def combination(self, direction: Array) -> tuple[Array, Array]:
        """Means and standard deviations (T,) of ``direction`` (c,) @ the first c parameters."""
        c = len(direction)
        variance = np.einsum("i,tij,j->t", direction, self.covariances[:, :c, :c], direction)
        return self.means[:, :c] @ direction, np.sqrt(np.maximum(variance, 1e-18))

    def quantile(self, q: float, direction: Array) -> float:
        """Quantile q of ``direction`` @ the parameters."""
        return float(mixture_quantile(q, self.weights, *self.combination(direction)))

    def interval(self, direction: Array) -> Interval:
        return self.quantile(0.025, direction), self.quantile(0.975, direction)

    def average(self, column: int) -> float:
        return float(self.weights @ self.means[:, column])

    def band(self, columns: Array) -> tuple[Array, Array, Array]:
        """Median and 95% ends (G,) of log m* for rows ``columns`` (G, r) of the law."""
        c = self.columns
        means = columns @ self.means[:, :c].T
        errors = np.sqrt(np.einsum("gi,tij,gj->gt", columns, self.covariances[:, :c, :c], columns))
        middle, low, high = (mixture_quantile(q, self.weights, means, errors) for q in (0.5, 0.025, 0.975))
        return middle, low, high

    @property
    def lapse(self) -> tuple[float, float]:
        """Posterior mean rates of success far below and of failure far above m*."""
        c = self.columns
        low, high = (float(self.weights @ expit(self.means[:, c + j]) / 2) for j in (2, 3))
        return low, high

    def slopes(self, sharpness: Array, nodes: Array) -> Array:
        """Slopes b_n (K, S) at ``nodes`` (S,) posterior standard deviations from their median."""
        found = []
        for w in sharpness:
            direction = np.concatenate([np.zeros(self.columns), [1.0, w]])
            means, errors = self.combination(direction)
            centre = self.weights @ means
            spread = np.sqrt(self.weights @ (errors**2 + (means - centre) ** 2))
            found.append(np.exp(centre + spread * nodes))
        return np.array(found)


def hierarchical(
    data: Tally, of: Index, law: Array, sharpness: Array, start: Array, *, level: float = 0.5,
    inflation: float = 1.0, scatters: Array = SCATTERS, prior: tuple[Array, Array] | None = None,
) -> Posterior:  # fmt: skip
    """Posterior of the hierarchical model.

    ``law`` (K, r): the columns of the law per group, e.g. 1, log n, 1/n, centred. ``sharpness`` (K,): centred
    log n for the slope. ``start`` (r + 1,): coefficients of the law and log slope, from the Firth fit.
    ``inflation`` divides all counts: the design effect of shared seeds (Rao & Scott 1981). ``prior``: means and
    precisions (r,) of the law's coefficients; nearly flat about ``start`` without.
    """
    anchor, precision = prior or (start[:-1], 0.0)
    model = Model(
        np.log(data.critical), data.successes / inflation, data.trials / inflation, of, law, sharpness,
        float(logit(level)), anchor, precision,
    )  # fmt: skip
    # Two starts, with few and with many lapses: the likelihood can have a mode at each.
    first = np.concatenate([start, MIDDLE[1:], np.zeros(len(law))])
    second = first.copy()
    second[len(start) + 1 : len(start) + 3] = logit(0.25)
    second[len(start) - 1] += 0.5
    parameters = np.repeat([first, second], len(scatters), axis=0)
    tau = np.tile(scatters, 2)
    parameters, value, information = _climb(model, parameters, tau)
    determinant = _log_determinant(information)
    scale = -0.5 * (tau / SCATTER_SCALE) ** 2 + np.log(tau)  # half-normal, times the grid's spacing
    evidence = (value - 0.5 * determinant + scale).reshape(2, -1)
    best = np.argmax(evidence, axis=0) * len(scatters) + np.arange(len(scatters))
    score = evidence.max(0) + _beyond_laplace(model, parameters[best], scatters, information[best])
    weights = np.exp(score - score.max())
    top = best[np.argmax(weights)]
    return Posterior(
        weights / weights.sum(), scatters, parameters[best], _inverse(information[best]), model.columns,
        _dispersion(model, parameters[top], tau[top]),
    )  # fmt: skip


def _dispersion(model: Model, parameters: Array, tau: float) -> float:
    chance, tried = transition(model, parameters[None], np.array([tau])).chance[0], model.trials > 0
    variance = model.trials * chance * (1 - chance)
    pearson = ((model.successes - model.trials * chance) ** 2)[tried] / variance[tried]
    return float(pearson.sum() / max(1, tried.sum() - model.columns - 1))


def _climb(model: Model, parameters: Array, tau: Array) -> tuple[Array, Array, Array]:
    """Fisher scoring with halving, for a batch: parameters (B, q) under scatters tau (B,). What has settled
    leaves the batch."""
    parameters, damping = parameters.copy(), np.ones(len(tau))
    value, score, information = evaluate(model, parameters, tau)
    going = np.arange(len(tau))
    for _ in range(STEPS):
        step = (_inverse(information[going]) @ score[going, :, None])[..., 0]
        gain = np.einsum("bi,bi->b", step, score[going])
        on = (gain >= TOLERANCE) & (damping[going] >= 1e-6)
        going, step = going[on], step[on]
        if not len(going):
            break
        step *= np.minimum(1.0, 2.0 / np.abs(step).max(1, keepdims=True))
        trial = parameters[going] + damping[going, None] * step
        tried = evaluate(model, trial, tau[going])
        better = tried[0] >= value[going]
        damping[going] = np.where(better, np.minimum(1.0, 2 * damping[going]), damping[going] / 4)
        new = going[better]
        parameters[new] = trial[better]
        value[new], score[new], information[new] = (part[better] for part in tried)
    return parameters, value, information


def _unit(matrices: Array) -> tuple[Array, Array]:
    """Positive matrices (B, q, q) scaled to a unit diagonal, and the scales (B, q): extreme data leave the rows'
    sizes many powers of ten apart."""
    scale = np.sqrt(np.einsum("bii->bi", matrices))
    return matrices / (scale[:, :, None] * scale[:, None]) + 1e-12 * np.eye(matrices.shape[1]), scale


def _inverse(matrices: Array) -> Array:
    unit, scale = _unit(matrices)
    return np.asarray(np.linalg.inv(unit) / (scale[:, :, None] * scale[:, None]))


def _log_determinant(matrices: Array) -> Array:
    unit, scale = _unit(matrices)
    return np.asarray(np.linalg.slogdet(unit)[1] + 2 * np.log(scale).sum(1))


def _beyond_laplace(model: Model, parameters: Array, tau: Array, information: Array) -> Array:
    """Log of the true integral over each u_n, all else at the mode, minus Laplace's; summed over n (B,).

    Where a bracket holds no training the likelihood of u_n is a plateau with walls. Laplace sees no walls and
    would credit a large tau with all of the prior's mass.
    """
    c, of = model.columns, model.of
    width = 1 / np.sqrt(np.einsum("bii->bi", information)[:, c + SHAPES :])  # (B, K)
    offsets = np.linspace(-6.0, 6.0, NODES)
    shape = parameters[:, c : c + SHAPES, None, None]
    slope = np.exp(shape[:, 0] + shape[:, 1] * model.sharpness[:, None])  # (B, K, 1)
    low, high = expit(shape[:, 2]) / 2, expit(shape[:, 3]) / 2
    u = parameters[:, c + SHAPES :, None] + width[..., None] * offsets  # (B, K, NODES)
    centre = (parameters[:, :c] @ model.law.T)[..., None] + tau[:, None, None] * u
    bent = bend(model.x[:, None] - centre[:, of], shape[:, 4])[0]  # (B, R, NODES)
    chance = np.clip(low + (1 - low - high) * expit(slope[:, of] * bent + model.offset), 1e-12, 1 - 1e-12)
    lost = (model.trials - model.successes)[:, None]
    cells = model.successes[:, None] * np.log(chance) + lost * np.log1p(-chance)
    logs = np.add.reduceat(cells, np.flatnonzero(np.diff(of, prepend=-1)), axis=1) - u**2 / 2
    mode = logs[..., NODES // 2]
    integral = np.exp(np.minimum(logs - mode[..., None], 50.0)).sum(-1) * (offsets[1] - offsets[0])
    return np.asarray(np.log(integral / np.sqrt(2 * np.pi)).sum(-1))
