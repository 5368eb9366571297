"""A residual network against the best linear predictor of the same samples.

Shamir 2018, Are ResNets provably better than linear predictors?, arXiv 1804.06739.

    (1)  h(x) = w . (x + V f_theta(x)),   F(w, V, theta) = (1/n) sum_i l(h(x_i), y_i),   l convex in h
    (2)  F_lin(w) = F(w, 0, theta),   floor = min_w F_lin(w) = F_lin(w*):  no local minimum of F lies above the floor
    (3)  w != 0:  |grad_(w,V) F| sqrt(2 |w|^2 + |w*|^2 (2 + |V|^2 / |w|^2)) >= F - F_lin(w*)                [derived]
    (4)  w = 0:   |grad_(w,V) F| + |V| sqrt(|lam| |A| + lam^2) >= (F - F_lin(w*)) / |w*|,
         lam = lambda_min of the Hessian in (w, V),  A = d2F/dw2, spectral norms                            [derived]
    (5)  lam = (a - sqrt(a^2 + 4 |c|^2)) / 2,  a = lambda_min(A),  c = (1/n) sum_i l'(0, y_i) f(x_i)        [derived]
    (6)  tweaked:  h(x) = w . x + v . f_theta(x),   (w, v) <- P_b((w, v) - eta grad l(h(x_t), y_t)),  sample t = 1 .. T,
         P_b the projection on the ball of radius b, eta = b / (L sqrt(T)), (w, v) = 0 at the start, theta moved anyhow
    (7)  (1/T) sum_t l(h_t(x_t), y_t) - min_{|u| <= b} (1/T) sum_t l(u . x_t, y_t) <= b L / sqrt(T),  L >= |grad|
                                                                                                            [derived]

f_theta is a tanh network: ``depth`` layers of m units on sqrt(d) x, the last one over sqrt(m), so |f| <= 1. l is 1/2
(h - y)^2 or log(1 + exp(-y h)). ``model`` is (1) or the control without the skip, h = w . V f_theta(x), both trained
by full-batch gradient descent on (w, V, theta), or (6), one pass with T = n.

Differences from the paper: the samples' loss instead of the expected one in (1) to (5), which hold for either; the
paper bounds (7) for the expected loss, at the price of a term r sqrt(log(1/delta) / T), here it is the samples' regret;
the paper allows any f and any convex smooth l.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import axis, claim, generator
from trainables._best_linear import best_linear, linear_loss, sample_loss, slope
from trainables._spectrum import extremes

VERSION = "1"
SHAPE = ("n", "m", "d", "depth", "model")


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, units of each hidden layer of f_theta", "units", 16)
    n: int = axis("samples; the tweaked network takes one step on each", "samples", 128)
    d: int = axis("input dimension", "coordinates", 8)
    depth: int = axis("hidden layers of f_theta", "layers", 1)
    model: Literal["resnet", "mlp", "tweaked"] = axis("eq. (1), without the skip, or eq. (6)", "1", "resnet")
    loss_function: Literal["square", "logistic"] = axis("loss of one sample", "1", "square")
    data: Literal["linear", "teacher", "xor"] = axis(
        "score of an input: linear, a network of 4 tanh units, or sign(x_1 x_2)", "1", "linear"
    )
    label_noise: float = axis(
        "standard deviation of N(0, 1) noise added to the score; y is the sum or its sign", "|y|", 2.0
    )
    init_scale: float = axis(
        "entries start N(0, init_scale^2 / fan-in), those of w N(0, init_scale^2)", "1", 0.3, knob=True
    )
    step_size: float = axis(
        "gradient descent: eta in units of 1 / (l'' (1 + |V|^2) (1 + |w|^2 + |w*|^2)); tweaked: of b / (L sqrt(T))",
        "1/curvature",
        1.0,
        positive=True,
        knob=True,
    )
    theta_step: float = axis("step of theta in units of eta; 0: frozen features", "eta", 1.0, knob=True)
    radius: float = axis("radius b of the tweaked network's ball", "|w|", 3.0, positive=True)
    tolerance: float = axis(
        "floor reached: loss at most this share of the gap between w = 0 and w* above it", "1", 1e-2
    )
    budget: int = axis("step budget of gradient descent", "steps", 2000)
    seed: int = axis("seed of data and initialisation", "1", 0)


SMALL = Cell(m=4, n=16, d=3, depth=2, budget=60)

CRITERION = "loss within 1% of the best linear predictor's, of the gap to w = 0; tweaked: regret within its bound"

COLUMNS = {
    "loss": ("F, mean loss of the samples", "1"),
    "loss_over_floor": ("F over the least loss of a linear predictor", "1"),
    "gradient": ("|grad_(w,V) F|, tweaked: |grad_(w,v) F|", "1"),
    "gradient_ratio": ("right over left side of eq. (3), largest of all steps; NaN for the tweaked network", "1"),
    "origin_ratio": ("right over left side of eq. (4) at (0, V, theta), largest of all steps; NaN for tweaked", "1"),
    "step_gradient": ("largest |grad| of a step over L, eq. (6); NaN unless tweaked", "1"),
    "regret": ("left side of eq. (7); NaN unless tweaked", "1"),
    "linear_floor": ("F_lin(w*), eq. (2); tweaked: the minimum in the ball, eq. (7)", "1"),
    "linear_norm": ("|w*|", "1"),
    "eta": ("step size", "1"),
    "regret_bound": ("b L / sqrt(T), eq. (7); NaN unless tweaked", "1"),
}

_SHAMIR = ("Shamir 2018", "1804.06739")
_ANY = ("any data, depth and fθ", "loss convex and smooth in h")

# fmt: off
CLAIMS = (
    claim(
        "gradient bound",
        "‖∇F‖ √(2‖w‖² + ‖w*‖²(2 + ‖V‖²/‖w‖²)) ≥ F − F_lin(w*) at every w ≠ 0",
        (*_SHAMIR, "from convexity in h"), "derived", "inequality", "init_scale", metric="gradient_ratio",
        bound=1.0, hypotheses=_ANY, where={"model": "resnet"},
    ),
    claim(
        "curvature bound at w = 0",
        "‖∇F‖ + ‖V‖ √(|λ|‖∂²F/∂w²‖ + λ²) ≥ (F − F_lin(w*))/‖w*‖ at w = 0, λ the least eigenvalue of the Hessian",
        (*_SHAMIR, "from convexity in h"), "derived", "inequality", "init_scale", metric="origin_ratio",
        bound=1.0, hypotheses=_ANY, where={"model": "resnet"},
    ),
    claim(
        "no local minimum above the linear floor",
        "no local minimum lies above the best linear predictor's loss (read as: within 1% of the gap to w = 0)",
        (*_SHAMIR, "abstract"), "abstract", "probability", "init_scale", bound=1.0, at_least=True,
        hypotheses=(*_ANY, "gradient descent reaches a local minimum within the step budget"),
        where={"model": "resnet"},
    ),
    claim(
        "the skip reaches the floor more often",
        "h = w·Vfθ(x) without the skip is stationary at w = 0, V = 0, above the floor: from a small start it is stuck",
        (*_SHAMIR, "gradient of h = w·Vfθ(x)"), "derived", "order", "init_scale", order=("model", "mlp", "resnet"),
        hypotheses=("small init_scale", "finite step budget"),
    ),
    claim(
        "regret bound",
        "average regret of projected SGD with η = b/(L√T) is at most bL/√T on every path of θ",
        (*_SHAMIR, "online gradient descent in (w, v)"), "derived", "inequality", "n", metric="regret",
        bound="regret_bound", constant=1.0, hypotheses=("loss convex in h", "‖∇‖ ≤ L along the path", "step_size = 1"),
        where={"model": "tweaked"},
    ),
    claim(
        "regret rate",
        "average loss ≤ min over ‖u‖ ≤ b of F_lin(u) + O(1/√T)",
        (*_SHAMIR, "abstract"), "abstract", "rate", "n", metric="regret", exponent=-0.5,
        hypotheses=("an upper bound: a faster fall is within it",
        "T past the start-up: ηT far above 1/λ_min(E xxᵀ)"), where={"model": "tweaked"},
    ),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "n d"]
    y: Float[Tensor, " n"]
    w: Float[Tensor, " d"]
    V: Float[Tensor, "dv m"]  # dv = d, tweaked: 0
    v: Float[Tensor, " mv"]  # mv = m where tweaked, else 0
    first: Float[Tensor, "m d"]  # theta: weights of the first layer,
    hidden: Float[Tensor, "depth-1 m m"]  # of the others,
    bias: Float[Tensor, "depth m"]  # and biases
    skip: Float[Tensor, ""]  # 1, without the skip 0
    logistic: Bool[Tensor, ""]
    w_star: Float[Tensor, " d"]
    floor: Float[Tensor, ""]  # F_lin(w*)
    gap: Float[Tensor, ""]  # F_lin(0) - F_lin(w*)
    eta: Float[Tensor, ""]
    theta_eta: Float[Tensor, ""]
    radius: Float[Tensor, ""]
    lipschitz: Float[Tensor, ""]  # L
    ratio: Float[Tensor, ""]  # running maximum of eq. (3); tweaked: of |grad| / L
    origin: Float[Tensor, ""]  # running maximum of eq. (4)
    paid: Float[Tensor, ""]  # tweaked: sum of the losses of the samples seen, each before its step
    k: Int[Tensor, ""]
    tolerance: Float[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    """Data, w*, and the start. ValueError when there is no finite w*: classes that a linear predictor separates."""
    n, m, d, depth = cell.n, cell.m, cell.d, cell.depth
    rng = generator("resnet_vs_linear", n, m, d, depth, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    X = torch.nn.functional.normalize(torch.randn(n, d, **normal), dim=-1)
    teacher, g = torch.randn(4, d, **normal), torch.randn(n, **normal)
    Z = math.sqrt(d) * X @ torch.nn.functional.normalize(teacher, dim=-1).T  # scores of 4 unit vectors
    xor = (X[:, 0] * X[:, min(1, d - 1)]).sign()
    score = {"linear": Z[:, 0], "teacher": (2 * Z).tanh().sum(-1) / 2, "xor": xor}[cell.data]
    y = score + cell.label_noise * g
    logistic = torch.tensor(cell.loss_function == "logistic")
    y = torch.where(logistic, y.sign(), y)

    s, tweaked = cell.init_scale, cell.model == "tweaked"
    w, V = s * torch.randn(d, **normal), s * torch.randn(d, m, **normal) / math.sqrt(m)
    first, bias = s * torch.randn(m, d, **normal) / math.sqrt(d), s * torch.randn(depth, m, **normal)
    hidden = s * torch.randn(depth - 1, m, m, **normal) / math.sqrt(m)
    w_star = best_linear(X, y, logistic, cell.radius if tweaked else math.inf)
    floor, zero = linear_loss(X, y, logistic, w_star), linear_loss(X, y, logistic, torch.zeros_like(w_star))
    # |(x, f)| <= sqrt(2), and |dl/dh| is at most 1 (logistic) or |h| + |y| <= sqrt(2) b + max |y|
    lipschitz = math.sqrt(2) * torch.where(logistic, 1.0, math.sqrt(2) * cell.radius + y.abs().max())
    eta = cell.radius / (lipschitz * math.sqrt(n))
    if not tweaked:
        size = (1 + torch.linalg.matrix_norm(V, 2) ** 2) * (1 + w.square().sum() + w_star.square().sum())
        eta = torch.where(logistic, 4.0, 1.0) / size
    eta, none = cell.step_size * eta, torch.tensor(0.0, dtype=torch.float64)
    real = (float(cell.model != "mlp"), cell.theta_step * eta, cell.radius, cell.tolerance)
    skip, theta_eta, radius, tolerance = (torch.as_tensor(value, dtype=torch.float64) for value in real)
    return State(
        X, y, 0 * w if tweaked else w, V[: 0 if tweaked else d], torch.zeros(m if tweaked else 0, dtype=torch.float64),
        first, hidden, bias, skip, logistic, w_star, floor, zero - floor, eta, theta_eta, radius, lipschitz,
        none, none, none, torch.tensor(0), tolerance, torch.tensor(n if tweaked else cell.budget),
    )  # fmt: skip


def step(s: State) -> State:
    """Gradient descent on F, or eq. (6) on the next sample; then the running maxima, of the state before the step."""
    X, y = s.X, s.y
    if s.v.shape[0]:
        now = s.k.clamp(max=s.X.shape[0] - 1).reshape(1)
        X, y = s.X.index_select(0, now), s.y.index_select(0, now)
    layers = forward(s, X)
    h = output(s, X, layers[-1])
    g = slope(h, y, s.logistic) / X.shape[0]
    (gw, gV, gv), theta = gradient(s, X, layers[-1], g), theta_gradient(s, X, layers, g)
    moved = {name: getattr(s, name) - s.theta_eta * part for name, part in theta.items()}
    w, V, v = s.w - s.eta * gw, s.V - s.eta * gV, s.v - s.eta * gv
    if s.v.shape[0]:
        shrink = (s.radius / (w.square().sum() + v.square().sum()).sqrt().clamp(min=1e-300)).clamp(max=1)
        size = (gw.square().sum() + gv.square().sum()).sqrt()
        ratio = torch.maximum(s.ratio, size / s.lipschitz)
        paid = s.paid + sample_loss(h, y, s.logistic).sum()
        return s._replace(w=shrink * w, v=shrink * v, ratio=ratio, paid=paid, k=s.k + 1, **moved)
    ratio, origin = ratios(s, layers[-1])
    return s._replace(
        w=w, V=V, ratio=torch.maximum(s.ratio, ratio), origin=torch.maximum(s.origin, origin), k=s.k + 1, **moved
    )


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    f = forward(s, s.X)[-1]
    h = output(s, s.X, f)
    gw, gV, gv = gradient(s, s.X, f, slope(h, s.y, s.logistic) / s.X.shape[0])
    F = sample_loss(h, s.y, s.logistic).mean()
    size = (gw.square().sum() + gV.square().sum() + gv.square().sum()).sqrt()
    return {"loss": F, "loss_over_floor": F / s.floor.clamp(min=1e-300), "gradient": size}


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    nan = torch.full_like(s.ratio, math.nan)
    if s.v.shape[0]:
        return {"gradient_ratio": nan, "origin_ratio": nan, "step_gradient": s.ratio, "regret": regret(s)}
    ratio, origin = ratios(s, forward(s, s.X)[-1])
    ratio, origin = torch.maximum(s.ratio, ratio), torch.maximum(s.origin, origin)
    return {"gradient_ratio": ratio, "origin_ratio": origin, "step_gradient": nan, "regret": nan}


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    bound = s.radius * s.lipschitz / math.sqrt(s.X.shape[0])
    return {
        "linear_floor": s.floor,
        "linear_norm": s.w_star.square().sum().sqrt(),
        "eta": s.eta,
        "regret_bound": bound if s.v.shape[0] else torch.full_like(bound, math.nan),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    if s.v.shape[0]:
        return (s.k >= s.budget) & (regret(s) <= s.radius * s.lipschitz / math.sqrt(s.X.shape[0]))
    return observe(s)["loss"] <= s.floor + s.tolerance * s.gap


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def rows_times(A: Float[Tensor, "b i"], B: Float[Tensor, "o i"]) -> Float[Tensor, "b o"]:
    """A B^T. A single row by a product and a sum: a matrix-vector kernel would depend on the pack's size."""
    return A @ B.mT if A.shape[0] > 1 else (A * B).sum(-1)[None]


def forward(s: State, X: Float[Tensor, "b d"]) -> list[Float[Tensor, "b m"]]:
    """Activations of all layers of f_theta; f is the last over sqrt(m)."""
    layers = [(rows_times(math.sqrt(X.shape[1]) * X, s.first) + s.bias[0]).tanh()]
    for W, b in zip(s.hidden.unbind(0), s.bias.unbind(0)[1:], strict=True):
        layers.append((rows_times(layers[-1], W) + b).tanh())
    return layers


def output(s: State, X: Float[Tensor, "b d"], top: Float[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """h of eq. (1) or (6) from the last layer of f_theta."""
    return s.skip * (X * s.w).sum(-1) + (top * readout(s)).sum(-1) / math.sqrt(top.shape[1])


def readout(s: State) -> Float[Tensor, " m"]:
    """What multiplies f in h: V^T w in eq. (1), v in eq. (6)."""
    return s.v if s.v.shape[0] else (s.V * s.w[:, None]).sum(0)


def gradient(
    s: State, X: Float[Tensor, "b d"], top: Float[Tensor, "b m"], g: Float[Tensor, " b"]
) -> tuple[Float[Tensor, " d"], Float[Tensor, "dv m"], Float[Tensor, " mv"]]:
    """Gradient in (w, V, v) of a loss with derivatives ``g`` in the outputs."""
    along_x = s.skip * (X * g[:, None]).sum(0)
    c = (top * g[:, None]).sum(0) / math.sqrt(top.shape[1])
    if s.v.shape[0]:
        return along_x, s.V, c
    return along_x + (s.V * c).sum(-1), s.w[:, None] * c, s.v


def theta_gradient(
    s: State, X: Float[Tensor, "b d"], layers: list[Float[Tensor, "b m"]], g: Float[Tensor, " b"]
) -> dict[str, Tensor]:
    """Gradient in theta, by the chain rule from the last layer down."""
    below = [math.sqrt(X.shape[1]) * X, *layers[:-1]]
    delta = g[:, None] * readout(s) / math.sqrt(s.first.shape[0])
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for level in reversed(range(len(layers))):
        delta = delta * (1 - layers[level].square())
        weights.insert(0, delta.mT @ below[level])
        biases.insert(0, delta.sum(0))
        if level:
            delta = rows_times(delta, s.hidden[level - 1].mT)
    hidden = torch.stack(weights[1:]) if weights[1:] else s.hidden
    return {"first": weights[0], "hidden": hidden, "bias": torch.stack(biases)}


def ratios(s: State, top: Float[Tensor, "n m"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Right over left side of eq. (3) at (w, V, theta) and of eq. (4) at (0, V, theta); 0 where they claim nothing."""
    V2, star = extremes(s.V @ s.V.mT)[1], s.w_star.square().sum()
    h = output(s, s.X, top)
    gw, gV, _ = gradient(s, s.X, top, slope(h, s.y, s.logistic) / h.shape[0])
    w2 = s.w.square().sum()
    above = (sample_loss(h, s.y, s.logistic).mean() - s.floor).clamp(min=0)
    room = (gw.square().sum() + gV.square().sum()) * (2 * w2 + star * (2 + V2 / w2.clamp(min=1e-300)))
    ratio = torch.where((above > 0) & (w2 > 0), above / room.sqrt(), 0.0)

    g = slope(0 * h, s.y, s.logistic) / h.shape[0]
    gw, _, _ = gradient(s._replace(w=0 * s.w), s.X, top, g)
    lam, A = origin_curvature(s, top)
    left = gw.square().sum().sqrt() + V2.sqrt() * (lam.abs() * A + lam.square()).sqrt()
    return ratio, s.gap / (star.sqrt() * left)


def origin_curvature(s: State, top: Float[Tensor, "n m"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """lam, eq. (5), and |A| at w = 0, where the Hessian in (w, V) is [[A, I x c^T], [I x c, 0]]."""
    n, m = top.shape
    Z = s.skip * s.X + top @ s.V.mT / math.sqrt(m)
    A = Z.mT @ Z / n * torch.where(s.logistic, 0.25, 1.0)
    c = (top * slope(0 * s.y, s.y, s.logistic)[:, None]).sum(0) / (n * math.sqrt(m))
    a, largest = extremes(A)
    return (a - (a.square() + 4 * c.square().sum()).sqrt()) / 2, largest


def regret(s: State) -> Float[Tensor, ""]:
    """Left side of eq. (7), over the samples seen."""
    return s.paid / s.k.clamp(min=1) - s.floor
