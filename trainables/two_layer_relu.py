"""Two-layer ReLU network, first layer trained by full-batch gradient descent.

Du, Zhai, Poczos, Singh 2018, Gradient descent provably optimizes over-parameterized neural networks, arXiv 1810.02054.

    (1)  f(x) = m^{-1/2} sum_r a_r relu(w_r . x)          w_r(0) ~ N(0, init_scale^2 I_d),  a_r ~ Unif{-1, +1} fixed
    (2)  L(W) = 1/2 sum_i r_i^2,   r_i = f(x_i) - y_i      W <- W - eta grad L(W)
    (3)  H_ij = (x_i . x_j / m) sum_r 1{w_r . x_i >= 0} 1{w_r . x_j >= 0}                            Gram matrix
    (4)  Hinf_ij = |x_i||x_j| cos(t) (pi - t) / (2 pi),  t = angle(x_i, x_j)                         E H(0)
    (5)  Theorem 4.1: |r(k)|^2 <= (1 - eta lambda0 / 2)^k |r(0)|^2,   lambda0 = lambda_min(Hinf)
    (6)  Corollary 4.1: |w_r(k) - w_r(0)| <= 4 sqrt(n) |r(0)| / (sqrt(m) lambda0)                    [recalled]

Large width [derived]: (1/m) sum_r |w_r(k) - w_r(0)|^2 -> r(0) . Hinf^{-1} r(0) / m as the loss goes to 0.

Two exact forms of update (2), chosen by shape alone: the plain one holds W (m x d); the Gram form holds C (n x m) with
W = W(0) + C^T X, so that pre-activations are Z = X W^T = Z(0) + G C, G = X X^T. 2 n^2 m flops a step against 4 n d m.

Differences from the paper: data are random, inputs uniform on the unit sphere; inputs may carry noise (then |x_i| is
not exactly 1), weights an initialisation scale; the step size is ``step_size`` / lambda_max(Hinf) instead of an
unstated eta = O(lambda0 / n^2); a training ends at ``tolerance`` or with its budget, where the paper's goes on to 0.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import axis, claim, generator
from trainables._spectrum import eigenvalues, ends

VERSION = "6"
SHAPE = ("n", "m", "d", "dtype")
IN_CACHE = 2**16  # pre-activations that are worked on at a time: half a MiB


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, hidden units", "units")
    n: int = axis("samples", "samples")
    d: int = axis("input dimension", "coordinates", 16)
    init_scale: float = axis("standard deviation of each initial weight; the paper's is 1", "1", 1.0, knob=True)
    noise: float = axis("input perturbation: x + noise g / sqrt(d), g ~ N(0, I_d), added to unit inputs", "|x|", 0.0)
    labels: Literal["gauss", "sign"] = axis("labels before noise: N(0, 1) or uniform on {-1, +1}", "1", "sign")
    label_noise: float = axis("standard deviation of N(0, 1) noise added to the labels", "|y|", 0.0)
    step_size: float = axis(
        "step size eta in units of 1 / lambda_max(Hinf)", "1/lambda_max", 1.0, positive=True, knob=True
    )
    tolerance: float = axis(
        "a training is fit when its mean squared residual is at most this", "|y|^2", 1e-3, positive=True
    )
    budget: float = axis("step budget in units of 1 / (eta lambda0)", "1/(eta lambda0)", 20.0, positive=True)
    max_steps: int = axis("cap on the step budget", "steps", 10_000)
    dtype: Literal["float64", "float32"] = axis("precision of the training", "1", "float64")
    seed: int = axis("seed of data, labels and initialisation", "1", 0)


SMALL = Cell(m=32, n=8, d=4, tolerance=1e-2, max_steps=500)

CRITERION = "mean squared residual at most `tolerance` within the step budget"

COLUMNS = {
    "loss": ("1/2 sum of squared residuals, eq. (2)", "|y|^2"),
    "flips": ("share of (sample, unit) pairs whose activation differs from initialisation", "1"),
    "dist_max": ("max over units of |w_r - w_r(0)|", "1"),
    "dist_rms": ("root mean square over units of |w_r - w_r(0)|", "1"),
    "mean_squared_residual": ("(1/n) sum of squared residuals", "|y|^2"),
    "lambda_min_init": ("smallest eigenvalue of H(0), eq. (3)", "1"),
    "lambda_min_end": ("smallest eigenvalue of H at the last step", "1"),
    "gram_init_gap": ("spectral norm of H(0) - Hinf", "1"),
    "gram_drift": ("spectral norm of H(end) - H(0)", "1"),
    "rms_over_limit": ("dist_rms over its large-width limit at zero loss", "1"),
    "rate": ("late rate: -log of the factor of |r|^2 in the step after the last", "1/step"),
    "rate_over_limit": ("late rate over its large-width limit -2 log(1 - eta lambda0)", "1"),
    "lambda0": ("smallest eigenvalue of Hinf, eq. (4)", "1"),
    "lambda_max": ("largest eigenvalue of Hinf", "1"),
    "eta": ("step size", "1"),
    "budget_steps": ("step budget", "steps"),
    "rate_bound": ("eq. (5): bound on the factor of |r|^2 per step, 1 - eta lambda0 / 2", "1"),
    "dist_bound": ("eq. (6): bound on dist_max [recalled]", "1"),
    "dist_rms_limit": ("large-width limit of dist_rms at zero loss", "1"),
    "width_scale": ("n^6 / lambda0^4: the sufficient width of Theorem 4.1 up to its constant and delta^-3", "units"),
    "width_shortfall": ("n^6 / (lambda0^4 m): by what factor m misses the hypothesis of Theorem 4.1", "1"),
    "eta_excess": ("eta n^2 / lambda0: by what factor the step size exceeds the one of Theorem 4.1", "1"),
    "gram_width": ("n^2 / lambda0^2 log n: width asked for by the lemma on H(0), up to constant and delta", "units"),
}

_DU, _DU_ARXIV = "Du, Zhai, Poczos, Singh 2018", "1810.02054"
_UNIT = ("‖xᵢ‖ = 1, |yᵢ| = O(1)", "no two inputs parallel (λ₀ > 0)", "wᵣ(0) ~ N(0, I), aᵣ = ±1 fixed")
_WIDE = (*_UNIT, "m = Ω(n⁶ λ₀⁻⁴ δ⁻³)", "η = O(λ₀/n²)", "with probability 1 − δ")


_LIMIT = (_DU, _DU_ARXIV, "leading order at large m")
_LARGE = (*_UNIT, "m large, n fixed")
_rate = partial(claim, direction="rate", over="m", exponent=-0.5)

# fmt: off
CLAIMS = (
    claim(
        "sufficient width", "m = Ω(n⁶ λ₀⁻⁴ δ⁻³) hidden units suffice for gradient descent to reach zero loss",
        (_DU, _DU_ARXIV, "Theorems 3.2 and 4.1"), "paper", "sufficient", "n", critical="m", exponent=6.0,
        bound="width_scale", hypotheses=(*_UNIT, "η = O(λ₀/n²)",
        "exponent 6 at fixed λ₀; where λ₀ falls with n, λ₀⁻⁴ adds to it", "a step budget in units of 1/(ηλ₀)"),
    ),
    claim(
        "sufficient step size", "η = O(λ₀/n²) is small enough a step for the linear rate",
        (_DU, _DU_ARXIV, "Theorem 4.1"), "paper", "sufficient", "n", critical="eta", exponent=-2.0, small=True,
        hypotheses=(*_UNIT, "exponent −2 at fixed λ₀", "m = Ω(n⁶ λ₀⁻⁴ δ⁻³)", "eta* is the largest η that converges"),
    ),
    claim(
        "linear rate", "‖u(k) − y‖² ≤ (1 − ηλ₀/2)ᵏ ‖u(0) − y‖²",
        (_DU, _DU_ARXIV, "Theorem 4.1"), "recalled", "inequality", "m", metric="loss", bound="rate_bound",
        constant=1.0, hypotheses=_WIDE, needed="width_scale", per_step=True,
    ),
    claim(
        "Gram matrix at initialisation", "m = Ω(n² λ₀⁻² log(n/δ)) gives ‖H(0) − H∞‖₂ ≤ λ₀/4",
        (_DU, _DU_ARXIV, "lemma on H(0)"), "recalled", "inequality", "m", metric="gram_init_gap", bound="lambda0",
        constant=0.25, needed="gram_width", at_start=True,
        hypotheses=(*_UNIT, "m = Ω(n² λ₀⁻² log(n/δ))", "with probability 1 − δ"),
    ),
    claim(
        "distance from initialisation", "‖wᵣ(k) − wᵣ(0)‖ ≤ 4 √n ‖y − u(0)‖ / (√m λ₀) for every unit r",
        (_DU, _DU_ARXIV, "Corollary 4.1"), "recalled", "inequality", "m", metric="dist_max", bound="dist_bound",
        constant=1.0, hypotheses=_WIDE, needed="width_scale",
    ),
    _rate(
        "Gram gap falls with width", "‖H(0) − H∞‖₂ = O(m^(−1/2))",
        (_DU, _DU_ARXIV, "remark on the Gram matrix"), "paper", metric="gram_init_gap", hypotheses=_UNIT,
        at_start=True,
    ),
    _rate(
        "Gram drift falls with width", "‖H(k) − H(0)‖₂ = O(m^(−1/2))",
        (_DU, _DU_ARXIV, "remark on the Gram matrix"), "paper", metric="gram_drift", hypotheses=_WIDE,
        needed="width_scale",
    ),
    _rate("flips fall with width", "the share of flipped activations falls as m^(−1/2)",
          _LIMIT, "derived", metric="flips", hypotheses=_LARGE),
    _rate("largest movement falls with width", "maxᵣ ‖wᵣ(k) − wᵣ(0)‖ falls as m^(−1/2)",
          _LIMIT, "derived", metric="dist_max", hypotheses=_LARGE),
    _rate(
        "typical movement falls with width",
        "(1/m) Σᵣ ‖wᵣ(k) − wᵣ(0)‖² → e₀ᵀ H∞⁻¹ e₀ / m as the loss goes to 0, e₀ = y − u(0)",
        _LIMIT, "derived", metric="dist_rms", hypotheses=(*_LARGE, "trained to the end")),
    claim(
        "late rate saturates", "the late rate tends to 2ηλ₀ per step and gains nothing from more width",
        _LIMIT, "derived", "rate", "m", metric="rate_over_limit", exponent=0.0, hypotheses=(*_LARGE, "late"),
    ),
    claim(
        "memorisation", "about 4n/d ReLU units can memorise n points in dimension d",
        ("Bubeck, Eldan, Lee, Mikulincer", "", "NeurIPS 2020, abstract"), "abstract", "sufficient", "n", critical="m",
        exponent=1.0, hypotheses=("existence of weights: both layers free, no claim about gradient descent", "d fixed"),
    ),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "n d"]
    G: Float[Tensor, "n n"]  # X X^T
    W0: Float[Tensor, "m d"]
    W: Float[Tensor, "m d"]  # plain form: the weights; Gram form: stays W(0)
    C: Float[Tensor, "n mc"]  # Gram form: W = W(0) + C^T X, mc = m; plain form: mc = 0
    Z0: Float[Tensor, "n m"]
    Z: Float[Tensor, "n m"]  # pre-activations X W^T
    a: Float[Tensor, " m"]
    y: Float[Tensor, " n"]
    r: Float[Tensor, " n"]  # residual f(x_i) - y_i
    r0: Float[Tensor, " n"]
    eta: Float[Tensor, ""]
    lambda0: Float[Tensor, ""]
    lambda_max: Float[Tensor, ""]
    movement: Float[Tensor, ""]  # r(0) . Hinf^{-1} r(0)
    tolerance: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell, form: Literal["gram", "plain"] | None = None) -> State:
    """Data, labels and W(0) of one cell. ``form`` overrides the choice by shape (Gram up to n = 2 d), for tests."""
    rng = generator("two_layer_relu", cell.n, cell.m, cell.d, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    X = torch.nn.functional.normalize(torch.randn(cell.n, cell.d, **normal), dim=-1)
    gauss, label_noise = torch.randn(2, cell.n, **normal)
    W0 = cell.init_scale * torch.randn(cell.m, cell.d, **normal)
    a = torch.randn(cell.m, **normal).sign()
    X = X + cell.noise * torch.randn(cell.n, cell.d, **normal) / math.sqrt(cell.d)
    y = (gauss.sign() if cell.labels == "sign" else gauss) + cell.label_noise * label_noise

    G, Z0 = X @ X.T, X @ W0.T
    r0 = output(Z0, a) - y
    if not (G.isfinite().all() and r0.isfinite().all()):
        raise ValueError("the inputs or the first outputs overflow")
    limit = limit_gram(G)
    spectrum = eigenvalues(limit)
    lambda0, lambda_max = spectrum[0], spectrum[-1]
    eta = cell.step_size / lambda_max
    steps = cell.budget / (eta * lambda0) if lambda0 > 0 else torch.tensor(math.inf)
    gram_form = form == "gram" if form else cell.n <= 2 * cell.d
    C = torch.zeros(cell.n, cell.m if gram_form else 0, dtype=torch.float64)
    real = (X, G, W0, W0, C, Z0, Z0, a, y, r0, r0, eta, lambda0, lambda_max)
    real += ((r0 * torch.linalg.solve_ex(limit, r0).result).sum(), torch.tensor(cell.tolerance))
    dtype = getattr(torch, cell.dtype)
    return State(*(t.to(dtype) for t in real), budget=steps.clamp(max=cell.max_steps).ceil().long())


def step(s: State) -> State:
    """One gradient step, eq. (2), in the form that the state was drawn in."""
    m = s.a.shape[0]
    D = torch.where(s.Z >= 0, s.r[:, None] * (s.eta / math.sqrt(m) * s.a), 0.0)  # eta dL/dZ, n x m
    if s.C.shape[1]:
        C = s.C - D
        Z = s.Z0 + s.G @ C
        return s._replace(C=C, Z=Z, r=output(Z, s.a) - s.y)
    W = s.W - D.T @ s.X
    Z = s.X @ W.T
    return s._replace(W=W, Z=Z, r=output(Z, s.a) - s.y)


def steps_packed(s: State, count: int) -> State:
    """``count`` steps on a stacked state (leading pack dimension), in place: the same updates. On a CPU a few cells at
    a time, at least two, so that their pre-activations stay in the core's cache."""
    pack, n, m = s.Z.shape
    parts = 1 if s.Z.is_cuda else max(1, pack // max(2, IN_CACHE // (n * m)))
    for i in range(parts):
        part = slice(i * pack // parts, (i + 1) * pack // parts)
        descend(State(*(tensor[part] for tensor in s)), count)
    return s


def descend(s: State, count: int) -> None:
    """``count`` steps in place; Z serves as the mask of active units, then as their outputs, and so is passed less."""
    root, below = math.sqrt(s.a.shape[1]), -(2**20) * torch.finfo(s.Z.dtype).tiny  # 0 to rounding, but not active
    scale, r = s.eta[:, None] / root * s.a, s.r[:, :, None]
    a = torch.stack([s.a, s.a], 1) / root  # one row would take a kernel that depends on the pack's size
    for k in range(count):
        active = s.Z.ge_(0)
        if s.C.shape[2]:
            s.C.sub_(active.mul_(r).mul_(scale[:, None, :]))
            torch.baddbmm(s.Z0, s.G, s.C, out=s.Z)
        else:  # r and a stand beside the product: two passes over n m numbers less
            if s.X.shape[2] < s.W.shape[1]:  # two to four times as fast with the longer side last
                s.W.sub_(torch.bmm((s.X * r).mT, active).mul_(scale[:, None, :]).mT)
            else:
                s.W.sub_(torch.bmm(active.mT, s.X * r).mul_(scale[:, :, None]))
            torch.bmm(s.X, s.W.mT, out=s.Z)
        positive = s.Z.clamp_(min=below) if k + 1 < count else s.Z.clamp(min=0)
        torch.sub(torch.bmm(a, positive.mT)[:, 0], s.y, out=s.r)


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    moved = movement_squared(s)
    return {
        "loss": (s.r**2).sum() / 2,
        "flips": ((s.Z >= 0) != (s.Z0 >= 0)).to(s.Z.dtype).mean(),
        "dist_max": moved.max().sqrt(),
        "dist_rms": moved.mean().sqrt(),
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    m, H0, H = s.a.shape[0], gram(s.G, s.Z0), gram(s.G, s.Z)
    full = m * s.X.shape[1] >= len(H)  # the rank of H is at most m d
    lowest, (gap, drift) = ends([H0, H] if full else [], [H0 - limit_gram(s.G), H - H0])
    first, last = lowest if full else [torch.zeros_like(s.eta)] * 2
    rate = (s.r**2).sum().log() - (step(s).r ** 2).sum().log()
    return {
        "mean_squared_residual": (s.r**2).mean(),
        "lambda_min_init": first,
        "lambda_min_end": last,
        "gram_init_gap": gap,
        "gram_drift": drift,
        "rms_over_limit": (movement_squared(s).mean() * m / s.movement).sqrt(),
        "rate": rate,
        "rate_over_limit": rate / (-2 * (1 - s.eta * s.lambda0).log()),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    n, m = s.Z.shape
    return {
        "lambda0": s.lambda0,
        "lambda_max": s.lambda_max,
        "eta": s.eta,
        "budget_steps": s.budget.to(s.r.dtype),
        "rate_bound": 1 - s.eta * s.lambda0 / 2,
        "dist_bound": 4 * math.sqrt(n / m) * (s.r0**2).sum().sqrt() / s.lambda0,
        "dist_rms_limit": (s.movement / m).sqrt(),
        "width_scale": n**6 / (s.lambda0 * s.lambda0).square(),  # pow is not rounded alike in every vector lane
        "width_shortfall": n**6 / (s.lambda0 * s.lambda0).square() / m,
        "eta_excess": s.eta * n * n / s.lambda0,
        "gram_width": n * n * math.log(n) / (s.lambda0 * s.lambda0),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    return (s.r**2).mean() <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def reach(s: State) -> dict[str, Float[Tensor, ""]]:
    """What the hopeless are told by. Plateaus: a few samples without an active unit, until one comes by. Up to 16."""
    return {
        "goal": s.tolerance * s.r.shape[0] / 2,
        "plateau": 16 * (s.y**2).mean() / 2,
        "unit": 1 / (s.eta * s.lambda_max).clamp(max=1.0),
    }


def output(Z: Float[Tensor, "n m"], a: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    """Eq. (1) from pre-activations. A product and a sum: a matrix-vector kernel would depend on the pack's size."""
    return (Z.clamp(min=0) * a).sum(-1) / math.sqrt(a.shape[0])


def gram(G: Float[Tensor, "n n"], Z: Float[Tensor, "n m"]) -> Float[Tensor, "n n"]:
    """Eq. (3) from the inputs' Gram matrix and the pre-activations."""
    active = (Z >= 0).to(G.dtype)
    return (active @ active.T).mul_(G).div_(Z.shape[1])


def limit_gram(G: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Eq. (4); the diagonal is exactly |x_i|^2 / 2. In place: fresh memory would take longer than the arithmetic."""
    norms = G.diagonal().sqrt()
    angle = (norms[:, None] * norms).reciprocal_().mul_(G).clamp(-1, 1).arccos_()
    angle.diagonal().zero_()
    return angle.neg_().add_(math.pi).mul_(G).div_(2 * math.pi)


def movement_squared(s: State) -> Float[Tensor, " m"]:
    """|w_r - w_r(0)|^2 of every unit; in the Gram form c_r . (z_r - z_r(0)), negative only by rounding."""
    if s.C.shape[1]:
        return (s.C * (s.Z - s.Z0)).sum(0).clamp(min=0)
    return ((s.W - s.W0) ** 2).sum(-1)
