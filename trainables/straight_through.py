"""Two-layer network of binary units, trained through a straight-through estimator (coarse gradient descent).

Yin, Lyu, Zhang, Osher, Qi, Xin 2019, Understanding straight-through estimator in training activation quantized neural
nets, arXiv 1903.05662.

    (1)  y = v . s(Z w),  s(x) = 1{x > 0};  Z an m x d matrix of N(0, 1);  y* = v* . s(Z w*),  |w*| = 1
    (2)  f = E (y - y*)^2 / 2 = (1/8) [|v - v*|^2 + (1.(v - v*))^2 + (4 theta / pi) v.v*],   theta = angle(w, w*)
    (3)  df/dv = (1/4) [(I + 11^T) (v - v*) + (2 theta / pi) v*]
    (4)  df/dw = -(v.v*) / (2 pi |w|) unit((I - u u^T) w*),   u = w / |w|
    (5)  g = Z^T (mu'(Z w) o v) (y - y*)              coarse gradient; mu' in place of s', which is 0 almost everywhere
         identity mu' = 1,   ReLU mu' = 1{x > 0},   clipped ReLU mu' = 1{0 < x < 1}
    (6)  sqrt(2 pi) E g = |v|^2 u - (v.v*) w*                                                       identity
         sqrt(2 pi) E g = (h / 2) u - (v.v*) (u + w*) / 2                                           ReLU
         h = |v|^2 + (1.v)^2 - (1.v)(1.v*) + v.v*
         sqrt(2 pi) E g = (1 - e) (h / 2) u - (v.v*) [(1/2 - e N(cot(theta) / |w|)) u               clipped ReLU
                          + (N(1 / (|w| sin theta)) - 1/2) w*],   e = exp(-1 / (2 |w|^2))           [derived]
         N the standard normal distribution function
    (7)  v <- v - eta df/dv,   w <- w - ratio eta E g;   the paper has ratio = 1
    (8)  <E g, df/dw> = b sin(theta) (v.v*)^2 / ((2 pi)^{3/2} |w|) >= 0;   b = 1 for the identity, 1/2 for ReLU,
         N(1 / (|w| sin theta)) - 1/2 for clipped ReLU                                      [clipped: derived]
    (9)  spurious point: theta = pi, v = (I + 11^T)^{-1} (11^T - I) v* = 2 (1.v*) / (m + 1) 1 - v*, a minimum iff
         (1.v*)^2 < (m + 1)/2 |v*|^2;  there E g = 0, but 2 (m - 1) (1.v*)^2 / (sqrt(2 pi) (m + 1)^2) u for the identity
    (10) v* ~ N(0, I): P(it is a minimum) = P(B < (m + 1) / (2 m)),  B ~ Beta(1/2, (m - 1)/2)       [derived]
    (11) ratio -> 0, ReLU or clipped ReLU: success iff 1 - 2 theta(0) / pi > -c / (m + 1 - c),      [derived]
         c = (1.v*)^2 / |v*|^2 ~ m B;   (1 + cos theta(0)) / 2 ~ Beta((d - 1)/2, (d - 1)/2)

(8) holds for the identity too, and yet its descent fails: f does not see |w|, the coarse gradient does. At the spurious
point the identity shortens w at a constant pace until a step jumps over w = 0, theta falls from pi to 0 and f rises.
(11): v settles first, v.v* has the sign of the difference of the two sides, and by (8) that is the sign of the turn.

Differences from the paper: ``d`` is its n. v* is uniform on the sphere of radius sqrt(m), whose size (10) and (11) do
not see. v(0) is N(0, init_scale^2), w(0) uniform on the unit sphere. The layers may have two step sizes; |w(0)| = r at
ratio 1 is the training of |w(0)| = 1 at ratio 1/r, but for the clipped ReLU. ``gradient`` = sampled has fresh samples
of (5) and of its like for v at every step. (2) and (3) are written so that nothing cancels near the minimum.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from trainables import axis, claim, generator, key, normal
from trainables._straight_through import angle, chance, chance_spurious, dot, norm, normal_cdf, unit

VERSION = "1"
SHAPE = ("m", "d", "gradient", "batch")
ESTIMATORS = ("identity", "relu", "clipped_relu")
ROUNDING = 1e-12  # a smaller rise of the loss, in units of |v*|^2, is none
SAMPLING = float(stats.chi2.isf(1e-6, 1))  # sampling_ratio exceeds it once in a million


@dataclass(frozen=True)
class Cell:
    m: int = axis("width: rows of Z, hidden units sharing the filter w", "units", 8, positive=True)
    d: int = axis("filter dimension, the paper's n", "coordinates", 8, positive=True)
    ste: Literal["identity", "relu", "clipped_relu"] = axis("estimator: whose derivative stands for s'", "1", "relu")
    start: Literal["random", "spurious"] = axis(
        "first weights: random, or the spurious point of eq. (9)", "1", "random"
    )
    init_scale: float = axis("standard deviation of each entry of v(0) of the random start", "1", 1.0, knob=True)
    noise: float = axis("length of the random displacement of v and of w from the spurious point", "|v*|, |w|", 0.0)
    gradient: Literal["expected", "sampled"] = axis(
        "update by the expectations (3) and (6), or by the mean of `batch` fresh samples", "1", "expected"
    )
    batch: int = axis("samples a step where the gradient is sampled", "samples", 64, positive=True)
    ratio: float = axis(
        "step size of the filter over that of the output layer; the paper's is 1", "1", 1.0, positive=True, knob=True
    )
    step_size: float = axis(
        "step size eta of the output layer", "4/(m + 1), 1/curvature", 0.05, positive=True, knob=True
    )
    tolerance: float = axis("a training is fit when its loss is at most this", "|v*|^2", 1e-4, positive=True)
    budget: float = axis(
        "step budget, in time constants of the slower layer at the minimum with |w| = 1", "1/(eta lambda)", 30.0,
        positive=True,
    )  # fmt: skip
    max_steps: int = axis("cap on the step budget", "steps", 1_000_000)
    seed: int = axis("seed of the true network, the start and the samples", "1", 0)


SMALL = Cell(m=5, d=4, ste="clipped_relu", step_size=0.5, tolerance=1e-2, budget=8.0)

CRITERION = "population loss at most `tolerance` |v*|^2 and theta below pi/2 within the step budget"

COLUMNS = {
    "loss": ("population loss, eq. (2)", "|v*|^2"),
    "theta": ("angle between filter and true filter", "rad"),
    "spurious_distance": ("|(v/|v*|, w/|w|) - spurious point|, eq. (9)", "1"),
    "global_distance": ("|(v/|v*|, w/|w|) - (v*/|v*|, w*)|", "1"),
    "violations": ("steps in which the population loss rose, beyond rounding", "steps"),
    "largest_rise": ("largest rise of the population loss in one step, at least 1e-16", "|v*|^2"),
    "anticorrelation": ("largest -|w| <E g, df/dw> on the way, at least 1e-16", "|v*|^4"),
    "norm_min": ("smallest |w| on the way; the theorem wants it bounded below", "1"),
    "norm_bounded": ("1 where |w| stayed above 0.1: the theorem wants it bounded below", "1"),
    "v_overlap": ("v.v* / |v*|^2; where v has settled, below 0 means trapped", "1"),
    "coarse_gradient": ("|E g| at the last weights", "|v*|^2"),
    "sampling_ratio": ("|sum of (g - E g)|^2 / sum of |g - E g|^2, g sampled; 1 on average if eq. (6) holds", "1"),
    "spurious_coarse_gradient": ("|E g| at the spurious point, eq. (9)", "|v*|^2"),
    "spurious_exists": ("1 if the spurious point is a local minimum, eq. (9), else 0", "1"),
    "chance_spurious_exists": ("its probability over v*, eq. (10)", "1"),
    "spurious_loss": ("population loss at the spurious point", "|v*|^2"),
    "predicted_success": ("1 if eq. (11) predicts success for this random start, else 0", "1"),
    "success_probability": ("random start: chance of eq. (11); spurious start: chance that it is no minimum", "1"),
    "eta": ("step size of the output layer", "1"),
    "budget_steps": ("step budget", "steps"),
}

_YIN, _ARXIV = "Yin, Lyu, Zhang, Osher, Qi, Xin 2019", "1903.05662"
_MODEL = ("Zᵢⱼ ~ N(0, 1) independent", "‖w*‖ = 1")
_SMALL = (*_MODEL, "η small enough (the paper leaves its size unstated)", "‖w(k)‖ bounded below")
_EXPECTED = {"gradient": "expected"}
_SPURIOUS = {"start": "spurious", "gradient": "expected"}
_descent = partial(
    claim, source=(_YIN, _ARXIV, "convergence theorem"), tag="paper", direction="inequality", over="m",
    metric="largest_rise", bound=ROUNDING, met="norm_bounded", hypotheses=_SMALL,
)  # fmt: skip

# fmt: off
CLAIMS = (
    _descent("descent with ReLU", "the ReLU coarse gradient lowers the population loss at every step",
             where=_EXPECTED | {"ste": "relu"}),
    _descent("descent with clipped ReLU", "the clipped-ReLU coarse gradient lowers the population loss at every step",
             where=_EXPECTED | {"ste": "clipped_relu"}),
    claim(
        "positive correlation", "⟨E g, ∂f/∂w⟩ ≥ 0 everywhere, for identity, ReLU and clipped ReLU",
        (_YIN, _ARXIV, "lemmas on the coarse gradients"), "paper", "inequality", "m", metric="anticorrelation",
        bound=ROUNDING, hypotheses=_MODEL,
    ),
    claim(
        "identity does not descend near the spurious minimum",
        "started at the spurious minimum, the loss rises with the identity and not with ReLU",
        (_YIN, _ARXIV, "instability of the identity"), "paper", "order", "m", metric="largest_rise",
        order=("ste", "relu", "identity"), hypotheses=_SMALL, where=_SPURIOUS,
    ),
    claim(
        "identity is repelled by the spurious minimum",
        "started at the spurious minimum, training stays with ReLU and leaves with the identity",
        (_YIN, _ARXIV, "instability of the identity"), "paper", "order", "m", metric="spurious_distance",
        order=("ste", "relu", "identity"), hypotheses=_SMALL, where=_SPURIOUS,
    ),
    claim(
        "ReLU leaves the spurious point iff it is no minimum",
        "P(success) = 1 − P(B < (m + 1)/(2m)), B ~ Beta(1/2, (m − 1)/2), from beside the spurious point",
        (_YIN, _ARXIV, "condition for spurious minima, v* ~ N(0, I)"), "derived", "probability", "m",
        bound="success_probability", hypotheses=(*_SMALL, "a small displacement", "a budget that lets it leave"),
        where=_SPURIOUS | {"ste": "relu", "ratio": 1.0},
    ),
    claim(
        "chance of a random start with ReLU", "P(success) = P(1 − 2θ₀/π > −c/(m + 1 − c)), c = (1·v*)²/‖v*‖²",
        (_YIN, _ARXIV, "output layer settled first"), "derived", "probability", "m", bound="success_probability",
        hypotheses=(*_SMALL, "filter's step size ≪ output layer's"),
        where=_EXPECTED | {"start": "random", "ste": "relu", "ratio": 0.05},
    ),
    claim(
        "closed form of the coarse gradient", "sampled coarse gradients have the expectation of the closed form",
        (_YIN, _ARXIV, "lemmas on the coarse gradients"), "paper", "inequality", "m", metric="sampling_ratio",
        bound=SAMPLING, hypotheses=_MODEL, where={"gradient": "sampled"},
    ),
)
# fmt: on

Output = Float[Tensor, " m"]
Filter = Float[Tensor, " d"]


class State(NamedTuple):
    v: Output
    w: Filter
    v_star: Output
    w_star: Filter
    ste: Int[Tensor, ""]  # place in ESTIMATORS
    samples: Float[Tensor, " batch"]  # empty, but for its length: 0 where the gradient is expected
    key: Int[Tensor, ""]
    eta: Float[Tensor, ""]
    eta_w: Float[Tensor, ""]
    steps: Int[Tensor, ""]  # steps taken
    loss: Float[Tensor, ""]  # over |v*|^2
    violations: Int[Tensor, ""]
    largest_rise: Float[Tensor, ""]
    anticorrelation: Float[Tensor, ""]
    norm_min: Float[Tensor, ""]
    drift: Filter  # sum over steps of sampled - expected coarse gradient
    spread: Float[Tensor, ""]  # sum over steps of its squared length
    exists: Float[Tensor, ""]  # chance that the spurious point is a minimum
    success_probability: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    m, d = cell.m, cell.d
    if m < 2 or d < 2:
        raise ValueError(f"needs m >= 2 and d >= 2; m = {m}, d = {d}")
    rng = generator("straight_through", m, d, cell.seed)
    v_star, v, dv = torch.randn(3, m, generator=rng, dtype=torch.float64)
    w_star, w, dw = torch.randn(3, d, generator=rng, dtype=torch.float64)
    v_star, w_star = math.sqrt(m) * unit(v_star), unit(w_star)
    exists = chance_spurious(m)
    if cell.start == "random":
        v, w, probability = cell.init_scale * v, unit(w), chance(m, d)
    else:
        v = spurious(v_star) + cell.noise * norm(v_star) * unit(dv)
        w, probability = cell.noise * unit(dw) - w_star, 1 - exists
    first = loss(v, w, v_star, w_star) / dot(v_star, v_star)
    eta = 4 * cell.step_size / (m + 1)
    # rates at the minimum: 1/4 is the least curvature in v; w turns by |v*|^2 / (2 sqrt(2 pi) |w|), |v*|^2 = m
    steps = cell.budget / (eta * min(1 / 4, cell.ratio * m / (2 * math.sqrt(2 * math.pi))))
    real = [eta, cell.ratio * eta, exists, probability, cell.tolerance]
    eta_v, eta_w, chance_exists, expected, tolerance = torch.tensor(real, dtype=torch.float64)
    whole = [ESTIMATORS.index(cell.ste), 0, 0, min(math.ceil(steps), cell.max_steps)]
    ste, taken, none, most = torch.tensor(whole)
    zero, least = torch.tensor([0.0, 1e-16], dtype=torch.float64)
    samples = cell.batch if cell.gradient == "sampled" else 0
    batch = torch.zeros(samples, dtype=torch.float64)
    return State(
        v, w, v_star, w_star, ste, batch, key(rng), eta_v, eta_w, taken, first, none, least, least, norm(w),
        torch.zeros_like(w), zero, chance_exists, expected, tolerance, most,
    )  # fmt: skip


def step(s: State) -> State:
    """Update (7), both gradients at the old point; what must be seen at every step is noted."""
    grad_v, grad_w = gradients(s.v, s.w, s.v_star, s.w_star)
    coarse = coarse_gradient(s.v, s.w, s.v_star, s.w_star, s.ste)
    scale = dot(s.v_star, s.v_star)
    against = 0 - norm(s.w) * dot(coarse, grad_w) / scale.square()  # 0 - x is never -0
    drift, spread = s.drift, s.spread
    if s.samples.shape[0]:
        Z = normal(s.key, s.steps, s.samples.shape[0], s.v.shape[0], s.w.shape[0])
        grad_v, sampled = sampled_gradients(Z, s.v, s.w, s.v_star, s.w_star, s.ste)
        drift, spread = drift + (sampled - coarse), spread + dot(sampled - coarse, sampled - coarse)
        coarse = sampled
    v, w = s.v - s.eta * grad_v, s.w - s.eta_w * coarse
    after = loss(v, w, s.v_star, s.w_star) / scale
    rise = after - s.loss
    return s._replace(
        v=v, w=w, loss=after, drift=drift, spread=spread, steps=s.steps + 1,
        violations=s.violations + (rise > ROUNDING).long(),
        largest_rise=torch.maximum(s.largest_rise, rise),
        anticorrelation=torch.maximum(s.anticorrelation, against),
        norm_min=torch.minimum(s.norm_min, norm(w)),
    )  # fmt: skip


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "loss": s.loss,
        "theta": angle(unit(s.w), s.w_star),
        "spurious_distance": distance(s, spurious(s.v_star), -s.w_star),
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    scale = dot(s.v_star, s.v_star)
    return {
        "violations": s.violations.to(s.v.dtype),
        "largest_rise": s.largest_rise,
        "anticorrelation": s.anticorrelation,
        "norm_min": s.norm_min,
        "sampling_ratio": dot(s.drift, s.drift) / s.spread.clamp(min=1e-300),
        "norm_bounded": (s.norm_min >= 0.1).to(s.v.dtype),
        "v_overlap": dot(s.v, s.v_star) / scale,
        "global_distance": distance(s, s.v_star, s.w_star),
        "coarse_gradient": norm(coarse_gradient(s.v, s.w, s.v_star, s.w_star, s.ste)) / scale,
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    m, scale = s.v.shape[0], dot(s.v_star, s.v_star)
    c = s.v_star.sum().square() / scale
    at_spurious = 2 * (m - 1) * c / (math.sqrt(2 * math.pi) * (m + 1) * (m + 1))
    overlap = 1 - 2 * angle(unit(s.w), s.w_star) / math.pi
    return {
        "spurious_coarse_gradient": torch.where(s.ste == 0, at_spurious, 0.0),
        "spurious_exists": (c < (m + 1) / 2).to(s.v.dtype),
        "chance_spurious_exists": s.exists,
        "spurious_loss": loss(spurious(s.v_star), -s.w_star, s.v_star, s.w_star) / scale,
        "predicted_success": (overlap > -c / (m + 1 - c)).to(s.v.dtype),
        "success_probability": s.success_probability,
        "eta": s.eta,
        "budget_steps": s.budget.to(s.v.dtype),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    """Where 1.v* is near 0 the spurious point is nearly as good; it is no success."""
    return (s.loss <= s.tolerance) & (angle(unit(s.w), s.w_star) < math.pi / 2)


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def loss(v: Output, w: Filter, v_star: Output, w_star: Filter) -> Float[Tensor, ""]:
    """Eq. (2)."""
    gap, theta = v - v_star, angle(unit(w), w_star)
    return (dot(gap, gap) + gap.sum().square() + (4 / math.pi) * theta * dot(v, v_star)) / 8


def gradients(v: Output, w: Filter, v_star: Output, w_star: Filter) -> tuple[Output, Filter]:
    """Eqs. (3) and (4). At theta = 0 and pi the loss has a cone; there df/dw counts as 0."""
    u, gap = unit(w), v - v_star
    grad_v = (gap + gap.sum() + (2 / math.pi) * angle(u, w_star) * v_star) / 4
    across = w_star - dot(w_star, u) * u
    across = across - dot(across, u) * u  # again: what rounding left along u would show where theta is near 0 or pi
    across = torch.where(norm(across) > 1e-9, unit(across), 0.0)
    return grad_v, -dot(v, v_star) / (2 * math.pi * norm(w)) * across


def coarse_gradient(v: Output, w: Filter, v_star: Output, w_star: Filter, ste: Int[Tensor, ""]) -> Filter:
    """E g, eq. (6), for the estimator in place ``ste`` of ESTIMATORS."""
    u, size, overlap = unit(w), norm(w), dot(v, v_star)
    theta = angle(u, w_star)
    h = dot(v, v) + v.sum().square() - v.sum() * v_star.sum() + overlap
    cut = (-1 / (2 * size.square())).exp()
    sine = theta.sin().clamp(min=1e-300)
    along = 1 / 2 - cut * normal_cdf(theta.cos() / (sine * size))
    towards = normal_cdf(1 / (sine * size)) - 1 / 2
    identity = dot(v, v) * u - overlap * w_star
    relu = h / 2 * u - overlap / 2 * (u + w_star)
    clipped = (1 - cut) * h / 2 * u - overlap * (along * u + towards * w_star)
    return torch.where(ste == 0, identity, torch.where(ste == 1, relu, clipped)) / math.sqrt(2 * math.pi)


def sampled_gradients(
    Z: Float[Tensor, "batch m d"], v: Output, w: Filter, v_star: Output, w_star: Filter, ste: Int[Tensor, ""]
) -> tuple[Output, Filter]:
    """Means over a batch of s(Z w) (y - y*) and of the coarse gradient, eq. (5)."""
    x = (Z * w).sum(-1)
    active = (x > 0).to(v.dtype)
    residual = ((active * v).sum(-1) - (((Z * w_star).sum(-1) > 0) * v_star).sum(-1))[:, None]
    through = torch.where(ste == 0, 1.0, torch.where(ste == 1, active, active * (x < 1)))
    return (active * residual).mean(0), ((through * v * residual)[:, :, None] * Z).sum(1).mean(0)


def spurious(v_star: Output) -> Output:
    """Output layer of the spurious point, eq. (9)."""
    return 2 * v_star.sum() / (v_star.shape[0] + 1) - v_star


def distance(s: State, v: Output, w: Filter) -> Float[Tensor, ""]:
    dv, dw = s.v - v, unit(s.w) - w
    return (dot(dv, dv) / dot(s.v_star, s.v_star) + dot(dw, dw)).sqrt()
