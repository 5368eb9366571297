"""Two-layer ReLU network with a skip connection, f(x, W) = |relu((I + W)^T x)|_1, learning a teacher of its own form.

Li, Yuan 2017, Convergence analysis of two-layer neural networks with ReLU activation, arXiv 1705.09886.

    (1)  f(x, W) = sum_i relu(u_i . x),   u_i = e_i + w_i the columns of U = I + W (d x d),   x ~ N(0, I_d)
    (2)  L(W) = E (f(x, W) - f(x, W*))^2,                                                W <- W - eta grad L(W)
    (3)  E relu(u . x) relu(v . x) = K(u, v) = |u||v| (sin t + (pi - t) cos t) / (2 pi),  t = angle(u, v)
    (4)  L = sum_ij K(u_i, u_j) - 2 K(u*_i, u_j) + K(u*_i, u*_j)                                         [derived]
    (5)  pi grad_j L = sum_i (pi - t_ij) u_i - (pi - t*_ij) u*_i + (|u_i| sin t_ij - |u*_i| sin t*_ij) u_j / |u_j|,
         t_ij = angle(u_i, u_j),  t*_ij = angle(u*_i, u_j)                                               [derived]
    (6)  sampled: grad_j L ~ (2 / batch) sum_x (f(x, W) - f(x, W*)) 1{u_j . x >= 0} x,  fresh x in every step
    (7)  g(W) = sum_i |u*_i| - |u_i|                                            the potential of phase I [recalled]
    (8)  one-point convexity, phase II: <-grad L(W), W* - W> >= c |W - W*|_F^2 for some c > 0

In phase I the gradient may point away from W* (the left side of (8) is negative) while |g| falls. ``start`` is W = 0,
W with entries N(0, init_scale^2 / d), or vanilla: U itself with these entries, without the identity. All three see the
same landscape, eq. (4), and start at another point of it; L does not change when the columns of U are permuted.
At W = 0 the gradient points away from W* where |W*|_F^2 is large and -|W*|_F^2 / 2 < tr W* < 0, worst at -1/4: there
g > 0 and all columns grow, though W* asks the diagonal to shrink [derived].

Differences from the paper: the exact gradient (5) beside SGD (6), one step size ``step_size`` / d (the largest
curvature at W* grows as d), the teacher is Gaussian, less ``contraction`` x I, scaled to its norm.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import axis, claim, generator, key, normal

VERSION = "1"
SHAPE = ("d", "gradient", "batch")


@dataclass(frozen=True)
class Cell:
    d: int = axis("input dimension, also the number of hidden units", "coordinates", 10)
    teacher_norm: float = axis("spectral norm of the teacher, |W*|_2", "1", 0.5, positive=True)
    teacher: Literal["gaussian", "orthogonal"] = axis(
        "W* as in `contraction`, or teacher_norm Q, Q orthogonal with tr W* = -|W*|_F^2 / 4 (d even)",
        "1",
        "gaussian",
    )
    contraction: float = axis("W* is G / (2 sqrt(d)) - contraction I, G_ij ~ N(0, 1), scaled to its norm", "1", 0.0)
    start: Literal["zero", "random", "vanilla"] = axis(
        "first W: 0, random, or such that U = I + W is random (no identity)", "1", "zero"
    )
    init_scale: float = axis(
        "a random start has entries of standard deviation init_scale / sqrt(d)", "1", 1.0, knob=True
    )
    gradient: Literal["population", "sampled"] = axis(
        "exact gradient, eq. (5), or fresh samples, (6)", "1", "population"
    )
    batch: int = axis("fresh samples in a step where the gradient is sampled", "samples", 64)
    step_size: float = axis("step size eta in units of 1/d", "1/d", 1.0, positive=True, knob=True)
    tolerance: float = axis("recovered means |W - W*|_F at most this times |W*|_F", "1", 1e-2, positive=True)
    budget: int = axis("step budget", "steps", 4000)
    seed: int = axis("seed of teacher, start and samples", "1", 0)


SMALL = Cell(d=4, budget=200)

CRITERION = "|W - W*|_F at most `tolerance` times |W*|_F within the step budget"

COLUMNS = {
    "loss": ("population loss, eq. (4)", "1"),
    "distance": ("|W - W*|_F / |W*|_F", "1"),
    "potential": ("g(W), eq. (7)", "1"),
    "one_point": ("<-grad L(W), W* - W> / |W - W*|_F^2, eq. (8); below 0 the gradient points away from W*", "1"),
    "one_point_min": ("least one_point of all steps", "1"),
    "wrong_steps": ("steps from the start on with one_point below 0: the length of phase I", "steps"),
    "potential_wrong": (
        "largest |g| right after a step taken where one_point is below 0; NaN without such a step",
        "1",
    ),
    "distance_permuted": (
        "distance after the best permutation of the columns of U; a lower bound when it is large",
        "1",
    ),
    "recovered_permuted": ("1 if distance_permuted is at most `tolerance`, else 0", "1"),
    "recovery": ("share of recoveries that is claimed for this cell: 1/2 inside the claim's range, else 0", "1"),
    "one_point_start": ("one_point before the training", "1"),
    "potential_start": ("|g| before the training", "1"),
}


_LI, _LI_ARXIV = "Li, Yuan 2017", "1705.09886"
_GAUSS = ("x ~ N(0, I_d)", "the loss is the population's; SGD draws fresh samples")

# fmt: off
CLAIMS = (
    claim(
        "identity beats vanilla (zero start)",
        "with the skip connection, started at W = 0, W* is recovered more often than from a random start without it",
        (_LI, _LI_ARXIV, "abstract, experiments"), "abstract", "order", "teacher_norm",
        order=("start", "vanilla", "zero"), hypotheses=_GAUSS,
    ),
    claim(
        "identity beats vanilla (random start)",
        "with the skip connection, started at random, W* is recovered more often than from a random start without it",
        (_LI, _LI_ARXIV, "abstract, experiments"), "abstract", "order", "teacher_norm",
        order=("start", "vanilla", "random"), hypotheses=(*_GAUSS, "entries of W(0) are O(1/√d)"),
    ),
    claim(
        "recovery from zero",
        "from W = 0, W* is recovered for ‖W*‖₂ up to about 1.6 (read as: at least half of the time)",
        (_LI, _LI_ARXIV, "eq. (5), d = 8 to 10"), "derived", "probability", "teacher_norm", bound="recovery",
        at_least=True, hypotheses=(*_GAUSS, "‖W*‖₂ ≤ 1.6; the bound is 0 beyond"), where={"start": "zero"},
    ),
    claim(
        "recovery from random",
        "from small random W(0), W* is recovered for ‖W*‖₂ up to about 1.6 (read as: at least half of the time)",
        (_LI, _LI_ARXIV, "eq. (5), d = 8 to 10"), "derived", "probability", "teacher_norm", bound="recovery",
        at_least=True, hypotheses=(*_GAUSS, "‖W*‖₂ ≤ 1.6, init_scale ≤ 0.5 (‖W(0)‖₂ ≤ 1); the bound is 0 beyond"),
        where={"start": "random"},
    ),
    claim(
        "no recovery without the identity",
        "from a random U without the identity, W* is not recovered as it is, but for a permutation of columns at best",
        (_LI, _LI_ARXIV, "eq. (5), d = 8 to 10"), "derived", "probability", "teacher_norm", bound="recovery",
        hypotheses=_GAUSS, where={"start": "vanilla"},
    ),
    claim(
        "the potential falls in phase I",
        "while the gradient points away from W*, from the start on, |g| stays at most what it was at the start",
        (_LI, _LI_ARXIV, "phase I"), "recalled", "inequality", "teacher_norm", metric="potential_wrong",
        bound="potential_start", constant=1.0, hypotheses=(*_GAUSS, "‖W*‖₂ below a small constant"),
        where={"start": "zero"},
    ),
)
# fmt: on


class State(NamedTuple):
    U: Float[Tensor, "d d"]  # I + W, columns u_i
    teacher: Float[Tensor, "d d"]  # I + W*
    weights: Float[Tensor, " batch"]  # 1 / batch for each sample of a step; empty where the gradient is exact
    key: Int[Tensor, ""]
    k: Int[Tensor, ""]  # steps taken
    one_point_min: Float[Tensor, ""]
    wrong_steps: Int[Tensor, ""]
    potential_wrong: Float[Tensor, ""]
    eta: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    recovery: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    """Teacher and start of one cell."""
    rng, d = generator("identity_mapping", cell.d, cell.seed), cell.d
    G, R = torch.randn(2, d, d, generator=rng, dtype=torch.float64)
    eye = torch.eye(d, dtype=torch.float64)
    W = G / (2 * math.sqrt(d)) - cell.contraction * eye if cell.teacher == "gaussian" else turned(G, cell.teacher_norm)
    teacher = eye + cell.teacher_norm * W / torch.linalg.matrix_norm(W, 2)
    random = cell.init_scale * R / math.sqrt(d)
    U = {"zero": eye, "random": eye + random, "vanilla": random}[cell.start]
    reach = {"zero": 1.0, "random": float(cell.init_scale <= 0.5), "vanilla": 0.0}[cell.start]
    real = (cell.step_size / d, cell.tolerance, 0.5 * reach * (cell.teacher_norm <= 1.6))
    eta, tolerance, recovery = torch.tensor(real, dtype=torch.float64)
    count, none = torch.tensor(0), torch.tensor(0.0, dtype=torch.float64)
    weights = torch.full((cell.batch if cell.gradient == "sampled" else 0,), 1 / cell.batch, dtype=torch.float64)
    state = State(
        U, teacher, weights, key(rng), count, none, count, none, eta, tolerance, recovery, torch.tensor(cell.budget)
    )
    return state._replace(one_point_min=one_point(U, teacher, gradient(U, teacher)))


def turned(G: Float[Tensor, "d d"], norm: float) -> Float[Tensor, "d d"]:
    """An orthogonal matrix of trace -d norm / 4: one angle in d / 2 random planes. ValueError for odd d."""
    d, cosine = len(G), -norm / 4
    if d % 2 or norm > 4:
        raise ValueError(f"an orthogonal teacher needs an even d and teacher_norm <= 4, got d = {d}, norm {norm:g}")
    sine = math.sqrt(1 - cosine * cosine)
    basis = torch.linalg.qr(G).Q
    Q = torch.block_diag(*[torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)] * (d // 2))
    return basis @ Q @ basis.T


def step(s: State) -> State:
    """One step of eq. (2) with gradient (5) or (6); the side of eq. (8) is told by (5) in both."""
    exact = gradient(s.U, s.teacher)
    G = exact
    if s.weights.shape[0]:
        X = normal(s.key, s.k, s.weights.shape[0], s.U.shape[0])
        G = sampled_gradient(s.U, s.teacher, X, s.weights)
    U = s.U - s.eta * G
    side = one_point(s.U, s.teacher, exact)
    wrong = (side < 0) & (s.wrong_steps == s.k)  # phase I lasts from the start to the first step on the right side
    return s._replace(
        U=U,
        k=s.k + 1,
        one_point_min=torch.minimum(s.one_point_min, side),
        wrong_steps=s.wrong_steps + wrong.long(),
        potential_wrong=torch.where(
            wrong, torch.maximum(s.potential_wrong, potential(U, s.teacher).abs()), s.potential_wrong
        ),
    )


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "loss": loss(s.U, s.teacher),
        "distance": distance(s),
        "potential": potential(s.U, s.teacher),
        "one_point": one_point(s.U, s.teacher, gradient(s.U, s.teacher)),
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    permuted = permuted_distance(s)
    return {
        "one_point_min": torch.minimum(s.one_point_min, one_point(s.U, s.teacher, gradient(s.U, s.teacher))),
        "wrong_steps": s.wrong_steps.double(),
        "potential_wrong": torch.where(s.wrong_steps > 0, s.potential_wrong, math.nan),
        "distance_permuted": permuted,
        "recovered_permuted": (permuted <= s.tolerance).double(),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "recovery": s.recovery,
        "one_point_start": s.one_point_min,
        "potential_start": potential(s.U, s.teacher).abs(),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    return distance(s) <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def lengths(U: Float[Tensor, "d k"]) -> Float[Tensor, " k"]:
    """|u_j| of every column."""
    return U.square().sum(-2).sqrt()


def angles(U: Float[Tensor, "d k"], V: Float[Tensor, "d k"]) -> tuple[Float[Tensor, "k k"], Float[Tensor, "k k"]]:
    """t_ij = angle(u_i, v_j) and its sine; next to an angle of 0, t is exact to about 1e-8 and K(u, v) to rounding."""
    norms = (lengths(U)[:, None] * lengths(V)).clamp(min=1e-300)  # a column may be 0: its angles are then pi / 2
    cosine = ((U.mT @ V) / norms).clamp(-1, 1)
    return cosine.arccos(), ((1 - cosine) * (1 + cosine)).sqrt()


def own_angles(U: Float[Tensor, "d d"]) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    """``angles`` of the columns of U among each other, with t_ii = 0 exactly."""
    t, sine = angles(U, U)
    same = torch.eye(U.shape[0], dtype=torch.bool, device=U.device)
    return torch.where(same, 0.0, t), torch.where(same, 0.0, sine)


def kernel(
    U: Float[Tensor, "d k"], V: Float[Tensor, "d k"], t: Float[Tensor, "k k"], sine: Float[Tensor, "k k"]
) -> Float[Tensor, "k k"]:
    """Eq. (3) for all pairs of columns."""
    return lengths(U)[:, None] * lengths(V) * (sine + (math.pi - t) * t.cos()) / (2 * math.pi)


def loss(U: Float[Tensor, "d d"], teacher: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """Eq. (4); below about 1e-14 d^2 it is rounding, so it is kept from falling below 0."""
    own, cross = kernel(U, U, *own_angles(U)), kernel(teacher, U, *angles(teacher, U))
    return (own - 2 * cross + kernel(teacher, teacher, *own_angles(teacher))).sum((-2, -1)).clamp(min=0)


def gradient(U: Float[Tensor, "d d"], teacher: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Eq. (5), column j for u_j."""
    (t, sine), (t_star, sine_star) = own_angles(U), angles(teacher, U)
    along = (lengths(U)[:, None] * sine).sum(-2) - (lengths(teacher)[:, None] * sine_star).sum(-2)
    radial = U * (along / lengths(U).clamp(min=1e-300))
    return (U @ (math.pi - t) - teacher @ (math.pi - t_star) + radial) / math.pi


def sampled_gradient(
    U: Float[Tensor, "d d"], teacher: Float[Tensor, "d d"], X: Float[Tensor, "b d"], weights: Float[Tensor, " b"]
) -> Float[Tensor, "d d"]:
    """Eq. (6) on the rows of X."""
    Z = X @ U
    r = Z.clamp(min=0).sum(-1) - (X @ teacher).clamp(min=0).sum(-1)
    return X.mT @ torch.where(Z >= 0, (2 * weights * r)[:, None], 0.0)


def one_point(U: Float[Tensor, "d d"], teacher: Float[Tensor, "d d"], G: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """Eq. (8): <-G, W* - W> / |W - W*|_F^2, and 0 at W*."""
    away = U - teacher
    return (G * away).sum((-2, -1)) / away.square().sum((-2, -1)).clamp(min=1e-300)


def potential(U: Float[Tensor, "d d"], teacher: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
    """Eq. (7)."""
    return (lengths(teacher) - lengths(U)).sum(-1)


def teacher_size(s: State) -> Float[Tensor, ""]:
    """|W*|_F^2."""
    return (s.teacher - torch.eye(s.U.shape[0], dtype=s.U.dtype, device=s.U.device)).square().sum((-2, -1))


def distance(s: State) -> Float[Tensor, ""]:
    """|W - W*|_F / |W*|_F."""
    return ((s.U - s.teacher).square().sum((-2, -1)) / teacher_size(s)).sqrt()


def permuted_distance(s: State) -> Float[Tensor, ""]:
    """Every column to its nearest: exact where these pairs are a permutation, as they are near W*, else too small."""
    apart = (s.U[:, :, None] - s.teacher[:, None, :]).square().sum(0)
    nearest = torch.maximum(apart.amin(0).sum(), apart.amin(1).sum())
    return (nearest / teacher_size(s)).sqrt()
