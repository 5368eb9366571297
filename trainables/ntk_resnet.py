"""Deep residual or fully connected tanh network, all layers trained by full-batch gradient descent.

Li, Luo, Yip 2020, Towards an understanding of residual networks using neural tangent hierarchy, arXiv 2007.03714;
parent: Huang, Yau 2019, Dynamics of deep neural networks and neural tangent hierarchy, arXiv 1909.08156.

    (1)  x_1 = sqrt(c_s/m) s(W_1 x),   s = tanh,   c_s = 1 / E[s(g)^2] = 2.5362
    (2)  resnet:           x_l = x_{l-1} + c_res / (L sqrt(m)) s(W_l x_{l-1}),   l = 2..L,   0 < c_res < 1
    (3)  fully_connected:  x_l = sqrt(c_s/m) s(W_l x_{l-1}),                     l = 2..L
    (4)  f = a . x_L;  W_1 is m x d, W_l m x m, all entries of all W_l and of a start N(0, 1)
    (5)  L = (1/2n) sum_i r_i^2,   r_i = f(x_i) - y_i,   all of (W_1, .., W_L, a) <- . - eta grad L
    (6)  K_t = sum over weights of grad f grad f^T = X_L X_L^T + sum_l (D_l D_l^T) o (X_{l-1} X_{l-1}^T)
         X_l: rows x_l of the samples, X_0 the inputs; D_l: rows df/dz_l, z_l = W_l x_{l-1};   dr/dt = -K_t r / n

Infinite width [derived], with gain g_1 = c_s, and g_l = (c_res/L)^2, k = 1 (resnet) or g_l = c_s, k = 0 (fully
connected) for l > 1, and k = 0 at l = 1; E_S over pairs (u, v) of covariance S, layer by layer:

    (7)  S_0 = X X^T,   S_l = k S_{l-1} + g_l E_{S_{l-1}}[s s],   E'_l = E_{S_{l-1}}[s' s']
    (8)  P_L = 1,   P_{l-1} = P_l (k + g_l E'_l)
    (9)  Kinf = S_L + sum_l g_l P_l E'_l S_{l-1},   lambda0 = lambda_min(Kinf)

Success also wants lambda_min(K_t) >= lambda_min(K_0) / 2 at every step: the training stays where the kernel governs it.

Differences from the paper, whose equations are quoted from memory: gradient descent stands for the gradient flow, with
eta = ``step_size`` n / lambda_max(Kinf); inputs are uniform on the unit sphere; the fully connected net is Huang's and
Yau's with the scale of (1) in every layer. Both nets start from the same weights at equal seeds.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import vmap

from trainables import axis, claim, generator
from trainables._ntk import moments, second_moment
from trainables._spectrum import ends_by_squaring

VERSION = "1"
SHAPE = ("n", "m", "d", "depth")
C_S = 1 / second_moment()


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, units of each hidden layer", "units")
    n: int = axis("samples", "samples")
    d: int = axis("input dimension", "coordinates", 16)
    depth: int = axis("hidden layers L, eqs. (1) to (3)", "layers", 2)
    net: Literal["resnet", "fully_connected"] = axis("eq. (2) or eq. (3)", "1", "resnet")
    c_res: float = axis("scale of the residual branches; the paper's lies between 0 and 1", "1", 0.5)
    labels: Literal["gauss", "sign"] = axis("labels: N(0, 1) or uniform on {-1, +1}", "1", "gauss")
    step_size: float = axis(
        "step size eta in units of n / lambda_max(Kinf)", "n/lambda_max", 0.5, positive=True, knob=True
    )
    tolerance: float = axis("fit wants a mean squared residual of at most this", "|y|^2", 1e-3, positive=True)
    budget: float = axis("step budget in units of n / (eta lambda0)", "n/(eta lambda0)", 20.0, positive=True)
    max_steps: int = axis("cap on the step budget", "steps", 10_000)
    seed: int = axis("seed of data and initialisation", "1", 0)


SMALL = Cell(m=8, n=4, d=4, depth=3, tolerance=1e-2, max_steps=60)

CRITERION = "mean squared residual at most `tolerance`, lambda_min(K_t) at least half of lambda_min(K_0) in every step"

COLUMNS = {
    "loss": ("(1/2n) sum of squared residuals, eq. (5)", "|y|^2"),
    "drift_max": ("largest |K_t - K_0| of all entries and all steps so far", "1"),
    "lambda_ratio": ("smallest lambda_min(K_t) / lambda_min(K_0) of all steps so far", "1"),
    "mean_squared_residual": ("(1/n) sum of squared residuals", "|y|^2"),
    "drift_relative": ("drift_max over the largest |entry| of K_0", "1"),
    "init_gap": ("largest |entry| of K_0 - Kinf", "1"),
    "init_gap_spectral": ("spectral norm of K_0 - Kinf", "1"),
    "lambda_min_init": ("smallest eigenvalue of K_0, eq. (6)", "1"),
    "lambda_min_end": ("smallest eigenvalue of K at the last step", "1"),
    "lambda0": ("smallest eigenvalue of Kinf, eq. (9)", "1"),
    "lambda_max": ("largest eigenvalue of Kinf", "1"),
    "eta": ("step size", "1"),
    "budget_steps": ("step budget", "steps"),
}

_LI, _HUANG = ("Li, Luo, Yip 2020", "2007.03714"), ("Huang, Yau 2019", "1909.08156")
_HYPOTHESES = ("‖xᵢ‖ = 1, no two inputs parallel (λ₀ > 0)", "smooth activation, all weights start N(0, 1)",
               "gradient flow: small η")  # fmt: skip
_RESNET, _FULL = {"net": "resnet"}, {"net": "fully_connected"}
_sufficient = partial(claim, tag="abstract", direction="sufficient", over="n", critical="m")
_rate = partial(claim, tag="derived", direction="rate", over="m", hypotheses=(*_HYPOTHESES, "m large, n and L fixed"))

# fmt: off
CLAIMS = (
    _sufficient(
        "sufficient width, ResNet", "m ≳ n³ suffices for gradient descent to fit a deep ResNet, with a kernel near K₀",
        (*_LI, "abstract"), exponent=3.0, where=_RESNET,
        hypotheses=(*_HYPOTHESES, "exponent 3 at fixed λ₀", "a step budget in units of n/(ηλ₀)"),
    ),
    _sufficient(
        "sufficient width, ResNet, before", "m ≳ n⁴ suffices for gradient descent to fit a deep ResNet",
        ("Du, Lee, Li, Wang, Zhai 2019", "1811.03804", "as the abstract of Li, Luo, Yip 2020 quotes it"),
        exponent=4.0, where=_RESNET, hypotheses=(*_HYPOTHESES, "exponent 4 at fixed λ₀"),
    ),
    _sufficient(
        "sufficient width, fully connected", "m ≳ n³ keeps the kernel of a fully connected net for long enough to fit",
        (*_HUANG, "horizon of the kernel's hierarchy"), exponent=3.0, where=_FULL,
        hypotheses=(*_HYPOTHESES, "exponent 3 at fixed λ₀"),
    ),
    _rate("the ResNet's kernel drifts as 1/m", "maxₜ ‖Kₜ − K₀‖_max = O(1/m), not O(m^(−1/2))",
          (*_LI, "neural tangent hierarchy"), metric="drift_max", exponent=-1.0, where=_RESNET),
    _rate("the fully connected net's kernel drifts as 1/m", "maxₜ ‖Kₜ − K₀‖_max = O(1/m), not O(m^(−1/2))",
          (*_HUANG, "neural tangent hierarchy"), metric="drift_max", exponent=-1.0, where=_FULL),
    _rate("initial gap falls with width", "‖K₀ − K∞‖_max falls as m^(−1/2)",
          (*_LI, "law of large numbers"), metric="init_gap", exponent=-0.5, at_start=True),
    claim(
        "the ResNet's kernel drifts less", "at equal width the ResNet's drifts less than the fully connected net's",
        (*_LI, "measured from the definitions"), "derived", "order", "m", metric="drift_max",
        order=("net", "resnet", "fully_connected"), hypotheses=(*_HYPOTHESES, "0 < c_res < 1", "L > 1"),
    ),
    claim(
        "the ResNet's kernel drifts less, over its size", "the same of the drift over the largest entry of K₀",
        (*_LI, "measured from the definitions"), "derived", "order", "m", metric="drift_relative",
        order=("net", "resnet", "fully_connected"), hypotheses=(*_HYPOTHESES, "0 < c_res < 1", "L > 1"),
    ),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "n d"]
    y: Float[Tensor, " n"]
    first: Float[Tensor, "m d"]  # W_1
    hidden: Float[Tensor, "depth-1 m m"]  # W_2 .. W_L
    a: Float[Tensor, " m"]
    gain: Float[Tensor, " depth"]  # factor of s in x_l
    skip: Float[Tensor, ""]  # 1, fully connected 0
    H: Float[Tensor, "depth n m"]  # X_1 .. X_L, eq. (6)
    D: Float[Tensor, "depth n m"]  # D_1 .. D_L
    r: Float[Tensor, " n"]
    K0: Float[Tensor, "n n"]
    Kinf: Float[Tensor, "n n"]
    lambda_init: Float[Tensor, ""]  # lambda_min(K_0)
    drift: Float[Tensor, ""]  # running maximum
    ratio: Float[Tensor, ""]  # running minimum of lambda_min(K_t) / lambda_min(K_0)
    lambda0: Float[Tensor, ""]
    lambda_max: Float[Tensor, ""]
    eta: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    n, m, d, depth = cell.n, cell.m, cell.d, cell.depth
    normal = {"generator": generator("ntk_resnet", n, m, d, depth, cell.seed), "dtype": torch.float64}
    X = torch.nn.functional.normalize(torch.randn(n, d, **normal), dim=-1)
    gauss = torch.randn(n, **normal)
    y = gauss.sign() if cell.labels == "sign" else gauss
    first, a = torch.randn(m, d, **normal), torch.randn(m, **normal)
    hidden = torch.randn(depth - 1, m, m, **normal)

    c, skip = gains(cell.net, depth, cell.c_res)
    gain = (torch.tensor(c, dtype=torch.float64) / m).sqrt()
    Kinf = limit_kernel(X, c, skip)
    eigenvalues = torch.linalg.eigvalsh(Kinf)
    lambda0, lambda_max = eigenvalues[0], eigenvalues[-1]
    steps = cell.budget * lambda_max / (cell.step_size * lambda0) if lambda0 > 0 else torch.tensor(math.inf)
    zero, one, tolerance = torch.tensor([0.0, 1.0, cell.tolerance], dtype=torch.float64)
    H, D = passes(X, first, hidden, a, gain, one * skip)
    K0 = kernel(X, H, D)
    return State(
        X, y, first, hidden, a, gain, one * skip, H, D, output(H, a) - y, K0, Kinf, torch.linalg.eigvalsh(K0)[0],
        zero, one, lambda0, lambda_max, cell.step_size * n / lambda_max, tolerance,
        steps.clamp(max=cell.max_steps).ceil().long(),
    )  # fmt: skip


def step(s: State) -> State:
    """Eq. (5), then the kernel at the new weights."""
    return tracked(*moved(s, s.hidden - uphill(s)[1:].mT @ s.H[:-1]))


def steps_packed(s: State, count: int) -> State:
    """Steps on a stacked state: the large matrices in place, and the solver on the stack (2.6 times faster)."""
    for _ in range(count):
        matrices = (s.hidden, vmap(uphill)(s)[:, 1:].mT, s.H[:, :-1])
        hidden, D, H = (each.flatten(0, 1) for each in matrices)
        hidden.baddbmm_(D, H, alpha=-1.0)
        s = tracked(*vmap(moved)(s, hidden.view(s.hidden.shape)))
    return s


def uphill(s: State) -> Float[Tensor, "depth n m"]:
    """eta dL/dz_l of all layers and samples."""
    return s.eta / s.r.shape[0] * s.r[:, None] * s.D


def moved(s: State, hidden: Float[Tensor, "upper m m"]) -> tuple[State, Float[Tensor, "n n"]]:
    """The state after the step that led to ``hidden``, and its kernel."""
    first = s.first - uphill(s)[0].mT @ s.X
    a = s.a - s.eta / s.r.shape[0] * (s.r[:, None] * s.H[-1]).sum(0)
    H, D = passes(s.X, first, hidden, a, s.gain, s.skip)
    return s._replace(first=first, hidden=hidden, a=a, H=H, D=D, r=output(H, a) - s.y), kernel(s.X, H, D)


def tracked(s: State, K: Float[Tensor, "... n n"]) -> State:
    """The kernel's running extremes, for one state or a stack."""
    drift = torch.maximum(s.drift, (K - s.K0).abs().amax((-2, -1)))
    ratio = smallest(K) / s.lambda_init.clamp(min=1e-12)  # a singular K_0 has none: rounding decides
    return s._replace(drift=drift, ratio=torch.minimum(s.ratio, ratio))


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    return {"loss": s.r.square().mean() / 2, "drift_max": s.drift, "lambda_ratio": s.ratio}


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "mean_squared_residual": s.r.square().mean(),
        "drift_relative": s.drift / s.K0.abs().amax(),
        "init_gap": (s.K0 - s.Kinf).abs().amax(),
        "init_gap_spectral": torch.linalg.eigvalsh(s.K0 - s.Kinf).abs().amax(),
        "lambda_min_init": s.lambda_init,
        "lambda_min_end": smallest(kernel(s.X, s.H, s.D)),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "lambda0": s.lambda0,
        "lambda_max": s.lambda_max,
        "eta": s.eta,
        "budget_steps": s.budget.to(s.r.dtype),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    return (s.r.square().mean() <= s.tolerance) & (s.ratio >= 0.5)


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def gains(net: str, depth: int, c_res: float) -> tuple[list[float], float]:
    """g_1 .. g_L and k of eq. (7)."""
    if net == "resnet":
        return [C_S] + [(c_res / depth) ** 2] * (depth - 1), 1.0
    return [C_S] * depth, 0.0


def passes(
    X: Float[Tensor, "n d"], first: Float[Tensor, "m d"], hidden: Float[Tensor, "upper m m"], a: Float[Tensor, " m"],
    gain: Float[Tensor, " depth"], skip: Float[Tensor, ""],
) -> tuple[Float[Tensor, "depth n m"], Float[Tensor, "depth n m"]]:  # fmt: skip
    """X_1 .. X_L forward, eqs. (1) to (3), and D_1 .. D_L backward by the chain rule."""
    weights, factors = hidden.unbind(0), gain.unbind(0)
    t = (X @ first.mT).tanh()
    H, D = [factors[0] * t], [factors[0] * (1 - t * t)]
    for W, factor in zip(weights, factors[1:], strict=True):
        t = (H[-1] @ W.mT).tanh()
        H.append(skip * H[-1] + factor * t)
        D.append(factor * (1 - t * t))
    above = a.expand_as(t)  # df/dx_l
    for level in reversed(range(1, len(D))):
        D[level] = D[level] * above
        above = skip * above + D[level] @ weights[level - 1]
    D[0] = D[0] * above
    return torch.stack(H), torch.stack(D)


def output(H: Float[Tensor, "depth n m"], a: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    """Eq. (4). A product and a sum: a matrix-vector kernel would depend on the pack's size."""
    return (H[-1] * a).sum(-1)


def kernel(
    X: Float[Tensor, "n d"], H: Float[Tensor, "depth n m"], D: Float[Tensor, "depth n m"]
) -> Float[Tensor, "n n"]:
    """Tangent kernel, eq. (6)."""
    G = H @ H.mT
    below = torch.cat([(X @ X.mT)[None], G[:-1]])
    return G[-1] + (D @ D.mT * below).sum(0)


def limit_kernel(X: Float[Tensor, "n d"], gain: list[float], skip: float) -> Float[Tensor, "n n"]:
    """Eqs. (7) to (9); unit inputs."""
    S, slopes = [X @ X.mT], []
    for level, g in enumerate(gain):
        value, slope = moments(S[-1])
        S.append((skip * S[-1] if level else 0) + g * value)
        slopes.append(g * slope)
    K, P = S[-1], torch.ones_like(S[0])
    for level in reversed(range(len(gain))):
        K = K + P * slopes[level] * S[level]
        P = P * (skip + slopes[level])
    return K


def smallest(K: Float[Tensor, "... n n"]) -> Float[Tensor, "..."]:
    """Smallest eigenvalue; 0 for a kernel that has overflowed, on which the solver would fail."""
    K = torch.where(K.isfinite().all(-1, keepdim=True).all(-2, keepdim=True), K, 0.0)
    return ends_by_squaring([K], [])[0][0] if K.is_cuda else torch.linalg.eigvalsh(K)[..., 0]
