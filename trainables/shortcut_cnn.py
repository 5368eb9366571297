"""Convolutional network without overlap and with a shortcut, both layers trained by population gradient descent.

Liu, Chen, Li, Du, Zhou, Zhao 2019, Towards understanding the importance of shortcut connections in residual networks,
arXiv 1909.04653; and Du, Lee, Tian, Poczos, Singh 2017, Gradient descent learns one-hidden-layer CNN: don't be afraid
of spurious local minima, arXiv 1712.00779, which trains the same network without the shortcut.

    (1)  y = sum_j a*_j relu(v* . Z_j)                 k patches Z_j ~ N(0, I_p) independent,  |v*| = |v| = 1
    (2)  v = (1/sqrt(p) + w) / |1/sqrt(p) + w|         the shortcut is average pooling; ResNet start: w = 0
    (3)  L = 1/2 [(1/2 - 1/(2 pi)) (|a|^2 + |a*|^2) + (1.a - 1.a*)^2 / (2 pi) - ((g - 1) / pi) a.a*]     [derived]
         g(phi) = (pi - phi) cos phi + sin phi,        phi = angle(v, v*)
    (4)  grad_a = (1/(2 pi)) [(11^T + (pi - 1) I) a - (11^T + (g - 1) I) a*]                             [derived]
    (5)  grad_v = -((pi - phi) / (2 pi)) (a.a*) (I - v v^T) v*         along the sphere                  [derived]
    (6)  a <- a - eta_a grad_a,   v <- normalise(v - eta_w grad_v)
    (7)  spurious point: v = -v*, a = (11^T + (pi - 1) I)^{-1} (11^T - I) a*; a local minimum iff        [derived]
         s = (1.a*)^2 / |a*|^2 < 1 + (k - 1) / pi
    (8)  eta_a >> eta_w: success iff g(phi(0)) > g_c = 1 - s (pi - 1) / (k + pi - 1 - s)                 [derived]
    (9)  v(0) uniform on the sphere: (1 + cos phi(0)) / 2 ~ Beta((p - 1)/2, (p - 1)/2)                   [derived]

(8): the output layer settles first, at grad_a = 0, and there a.a* has the sign of g - g_c, by (5) the sign of the turn
towards v*; g only moves away from g_c after that. In (7) L is flat to second order in delta = pi - phi: it changes by
-a.a* delta^3 / (6 pi). So v nears the spurious point as 1/time, and a trapped training is told by a.a* < 0, not by its
distance.

Differences from the paper: |a*| = 1, which the symmetry a -> c a leaves free. v* is uniform on the cap of angle pi/3
about 1/sqrt(p), the prior |w*| <= 1 at |1/sqrt(p) + w*| = 1. Update (6) holds v in place of w. The step sizes are in
units of the largest curvature of L at (v*, a*), and the warm-up is a stage of stated length and ratio [recalled: the
paper's is eta_w = O(eta_a / k^2) up to constants and a logarithm].
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv
from torch import Tensor

from trainables import axis, claim, generator

VERSION = "1"
SHAPE = ("k", "p")


@dataclass(frozen=True)
class Cell:
    k: int = axis("patches", "patches", 25, positive=True)
    p: int = axis("filter dimension", "coordinates", 6, positive=True)
    s: float = axis("(1.a*)^2 / |a*|^2 of the true output layer, from 0 to k", "1", 1.0)
    start: Literal["resnet", "random"] = axis("first filter: 1/sqrt(p), or uniform on the sphere", "1", "resnet")
    a_start: Literal["random", "adversarial"] = axis(
        "first output layer: uniform in the ball of radius |1.a*|/sqrt(k), or its point farthest from a*", "1", "random"
    )
    ratio: float = axis(
        "step size of the filter over that of the output layer, eta_w / eta_a", "1", 0.1, positive=True, knob=True
    )
    warm_up: float = axis("first stage, at the smaller ratio `warm_ratio`", "1/(eta_a lambda_a)", 0.0, knob=True)
    warm_ratio: float = axis("eta_w / eta_a of the first stage", "1", 0.01, positive=True, knob=True)
    step_size: float = axis("the larger step size", "1/curvature at the minimum", 1.0, positive=True, knob=True)
    tolerance: float = axis("a training is fit when its loss is at most this", "|a*|^2", 1e-6, positive=True)
    budget: float = axis(
        "step budget after the warm-up, in time constants of the slower layer at the minimum", "1/(eta lambda)", 100.0,
        positive=True,
    )  # fmt: skip
    max_steps: int = axis("cap on the step budget", "steps", 1_000_000)
    seed: int = axis("seed of the true network and of both starts", "1", 0)


SMALL = Cell(k=6, p=4, start="random", ratio=0.5, budget=20.0)

CRITERION = "population loss at most `tolerance` within the step budget"

COLUMNS = {
    "loss": ("population loss, eq. (3)", "|a*|^2"),
    "angle": ("phi, angle between filter and true filter", "rad"),
    "alignment": ("a.a* / |a*|^2; where the output layer has settled, below 0 means trapped", "1"),
    "global_distance": ("|(v, a) - (v*, a*)|", "1"),
    "spurious_distance": ("distance of (v, a) from the spurious point, eq. (7)", "1"),
    "spurious_loss": ("population loss at the spurious point", "|a*|^2"),
    "spurious_is_minimum": ("1 if the spurious point is a local minimum, eq. (7), else 0", "1"),
    "g_c": ("critical value of g(phi(0)), eq. (8)", "1"),
    "angle0": ("phi(0)", "rad"),
    "predicted_success": ("1 if eq. (8) predicts success for this start, else 0", "1"),
    "success_probability": ("chance of eq. (8) over v(0), by eq. (9); 1 for the ResNet start", "1"),
    "eta_a": ("step size of the output layer", "1"),
    "eta_w": ("step size of the filter after the warm-up", "1"),
    "budget_steps": ("step budget", "steps"),
}

_LIU = ("Liu, Chen, Li, Du, Zhou, Zhao 2019", "1909.04653")
_DU = ("Du, Lee, Tian, Poczos, Singh 2017", "1712.00779")
_MODEL = ("Z ~ N(0, I), population gradients", "∠(v*, 1/√p) ≤ π/3", "‖a(0)‖ ≤ |1·a*|/√k")
_TRAPPED = "s < 1 + (k − 1)/π, else both always succeed"

# fmt: off
CLAIMS = (
    claim(
        "the shortcut avoids the spurious minimum",
        "gradient descent from w = 0 and any a in the ball converges to the global minimum",
        (*_LIU, "abstract"), "derived", "probability", "s", bound="success_probability", at_least=True,
        hypotheses=(*_MODEL, "η_a ≫ η_w"), where={"start": "resnet", "a_start": "random"},
    ),
    claim(
        "chance of a random start",
        "P(success) = P(g(φ₀) > 1 − s(π − 1)/(k + π − 1 − s)), (1 + cos φ₀)/2 ~ Beta((p − 1)/2, (p − 1)/2)",
        (*_DU, "output layer settled first"), "derived", "probability", "s", bound="success_probability",
        hypotheses=(*_MODEL, "η_a ≫ η_w", "a budget that grows as s nears 1 + (k − 1)/π"),
        where={"start": "random", "a_start": "random"},
    ),
    claim(
        "shortcut beats random start",
        "the ResNet start succeeds more often than a filter uniform on the sphere",
        (*_DU, "output layer settled first"), "derived", "order", "s", order=("start", "random", "resnet"),
        hypotheses=(*_MODEL, "η_a ≫ η_w", _TRAPPED), where={"a_start": "random"},
    ),
    claim(
        "warm-up saves an adversarial output layer",
        "from the worst a(0) in the ball a large η_w/η_a fails without a first stage of small η_w, and not with it",
        (*_LIU, "step-size warm-up"), "derived", "order", "ratio", order=("warm_up", 0.0, 20.0),
        hypotheses=(*_MODEL, "η_w ≫ η_a", _TRAPPED),
        where={"start": "resnet", "a_start": "adversarial", "ratio": 100.0},
    ),
    claim(
        "warm-up suffices",
        "with a first stage of small η_w the ResNet start converges to the global minimum from the worst a(0)",
        (*_LIU, "step-size warm-up"), "derived", "probability", "ratio", bound="success_probability", at_least=True,
        hypotheses=_MODEL, where={"start": "resnet", "a_start": "adversarial", "warm_up": 20.0},
    ),
)
# fmt: on


class State(NamedTuple):
    a: Float[Tensor, " k"]
    v: Float[Tensor, " p"]
    a_star: Float[Tensor, " k"]
    v_star: Float[Tensor, " p"]
    eta_a: Float[Tensor, ""]
    eta_w: Float[Tensor, ""]
    eta_warm: Float[Tensor, ""]  # step size of the filter during the warm-up
    warm_steps: Int[Tensor, ""]
    steps: Int[Tensor, ""]  # steps taken
    g_c: Float[Tensor, ""]
    success_probability: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    k, p, s = cell.k, cell.p, cell.s
    if k < 2 or p < 2 or not 0 <= s <= k:
        raise ValueError(f"needs k >= 2, p >= 2 and 0 <= s <= k; k = {k}, p = {p}, s = {s}")
    rng = generator("shortcut_cnn", k, p, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    across, direction = torch.randn(2, k, **normal)
    side, uniform = torch.randn(2, p, **normal)
    height, radius = torch.rand(2, **normal).tolist()

    a_star = math.sqrt(s) / k + math.sqrt(1 - s / k) * unit(across - across.mean())
    pooling = torch.full((p,), 1 / math.sqrt(p), dtype=torch.float64)
    # (1 - cosine)/2 of a uniform direction has law (9); on the cap of angle pi/3 it is at most 1/4
    half = (p - 1) / 2
    cosine = 1 - 2 * float(betaincinv(half, half, height * betainc(half, half, 0.25)))
    v_star = cosine * pooling + math.sqrt(1 - cosine * cosine) * unit(side - dot(side, pooling) * pooling)
    v = pooling if cell.start == "resnet" else unit(uniform)
    ball = math.sqrt(s / k)
    a = -ball * a_star if cell.a_start == "adversarial" else ball * radius ** (1 / k) * unit(direction)

    lambda_a, lambda_v = (math.pi - 1) / (2 * math.pi), 1 / 2  # smallest curvatures of L at (v*, a*) in a and in v
    eta_a = cell.step_size / max((k + math.pi - 1) / (2 * math.pi), cell.ratio * lambda_v)
    warm_steps = math.ceil(cell.warm_up / (eta_a * lambda_a))
    steps = warm_steps + math.ceil(cell.budget / (eta_a * min(lambda_a, cell.ratio * lambda_v)))
    g_c = critical_value(k, s)
    probability = 1.0 if cell.start == "resnet" else chance(p, g_c)
    real = [eta_a, cell.ratio * eta_a, cell.warm_ratio * eta_a, g_c, probability, cell.tolerance]
    eta, eta_w, eta_warm, critical, expected, tolerance = torch.tensor(real, dtype=torch.float64)
    warm, zero, most = torch.tensor([warm_steps, 0, min(steps, cell.max_steps)])
    return State(a, v, a_star, v_star, eta, eta_w, eta_warm, warm, zero, critical, expected, tolerance, most)


def step(s: State) -> State:
    """Update (6), both gradients at the old point."""
    grad_a, grad_v = gradients(s.a, s.v, s.a_star, s.v_star)
    eta_w = torch.where(s.steps < s.warm_steps, s.eta_warm, s.eta_w)
    return s._replace(a=s.a - s.eta_a * grad_a, v=unit(s.v - eta_w * grad_v), steps=s.steps + 1)


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "loss": loss(s.a, s.v, s.a_star, s.v_star),
        "angle": angle(s.v, s.v_star),
        "alignment": dot(s.a, s.a_star),
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "global_distance": distance(s, s.a_star, s.v_star),
        "spurious_distance": distance(s, spurious(s.a_star), -s.v_star),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    k, total = s.a.shape[0], s.a_star.sum()
    phi = angle(s.v, s.v_star)
    return {
        "spurious_loss": loss(spurious(s.a_star), -s.v_star, s.a_star, s.v_star),
        "spurious_is_minimum": (total.square() < 1 + (k - 1) / math.pi).to(s.a.dtype),
        "g_c": s.g_c,
        "angle0": phi,
        "predicted_success": (overlap(phi) > s.g_c).to(s.a.dtype),
        "success_probability": s.success_probability,
        "eta_a": s.eta_a,
        "eta_w": s.eta_w,
        "budget_steps": s.budget.to(s.a.dtype),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    return loss(s.a, s.v, s.a_star, s.v_star) <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def loss(
    a: Float[Tensor, " k"], v: Float[Tensor, " p"], a_star: Float[Tensor, " k"], v_star: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """Eq. (3), ordered so that nothing cancels near the minimum."""
    difference, g = a - a_star, overlap(angle(v, v_star))
    square = (1 / 2 - 1 / (2 * math.pi)) * dot(difference, difference)
    return (square + difference.sum().square() / (2 * math.pi) + (math.pi - g) / math.pi * dot(a, a_star)) / 2


def gradients(
    a: Float[Tensor, " k"], v: Float[Tensor, " p"], a_star: Float[Tensor, " k"], v_star: Float[Tensor, " p"]
) -> tuple[Float[Tensor, " k"], Float[Tensor, " p"]]:
    """Eqs. (4) and (5)."""
    phi = angle(v, v_star)
    grad_a = a.sum() - a_star.sum() + (math.pi - 1) * a - (overlap(phi) - 1) * a_star
    grad_v = (phi - math.pi) * dot(a, a_star) * (v_star - dot(v, v_star) * v)
    return grad_a / (2 * math.pi), grad_v / (2 * math.pi)


def angle(v: Float[Tensor, " p"], u: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    """Angle between unit vectors; exact to rounding near 0 and pi, where arccos is not. (atan2 would round by lane.)"""
    return 2 * (norm(v - u) / norm(v + u)).atan()


def overlap(phi: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """g(phi): 2 pi E relu(v.Z) relu(v*.Z)."""
    return (math.pi - phi) * phi.cos() + phi.sin()


def spurious(a_star: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Output layer of the spurious point, eq. (7)."""
    k, total = a_star.shape[0], a_star.sum()
    return ((math.pi * total) / (k + math.pi - 1) - a_star) / (math.pi - 1)


def critical_value(k: int, s: float) -> float:
    """g_c of eq. (8); 0 or less when no start is trapped."""
    return 1 - s * (math.pi - 1) / (k + math.pi - 1 - s)


def chance(p: int, g_c: float) -> float:
    """P(g(phi) > g_c) for a uniform direction, eqs. (8) and (9): g falls from pi at 0 to 0 at pi."""
    if g_c <= 0:
        return 1.0
    critical = brentq(lambda phi: (math.pi - phi) * math.cos(phi) + math.sin(phi) - g_c, 0.0, math.pi, xtol=1e-14)
    return float(betainc((p - 1) / 2, (p - 1) / 2, (1 - math.cos(critical)) / 2))


def distance(s: State, a: Float[Tensor, " k"], v: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    return (dot(s.a - a, s.a - a) + dot(s.v - v, s.v - v)).sqrt()


def dot(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    return (x * y).sum(-1)


def norm(x: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    return dot(x, x).sqrt()


def unit(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return x / norm(x)
