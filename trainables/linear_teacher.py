"""Two-layer leaky ReLU network on linearly separable data: SGD drives its neurons into two clusters.

Sarussi, Brutzkus, Globerson 2021, Towards understanding learning in neural networks with linear teachers,
arXiv 2101.02533; for the hinge loss Brutzkus, Globerson, Malach, Shalev-Shwartz 2018, arXiv 1710.10174.

    (1)  N(x) = v sum_{i<=k} s(w_i . x) - v sum_{i<=k} s(u_i . x),   s(z) = max(z, alpha z),   v = 1/sqrt(2k) fixed
    (2)  loss = mean_j l(y_j N(x_j)),   l(z) = log(1 + e^-z) logistic,  max(0, 1 - z) hinge
    (3)  (W, U) <- (W, U) - step_size grad loss on `batch` samples;   an update counts when its gradient is not 0
    (4)  cluster theorem: with |w_i - wbar| <= r, |u_i - ubar| <= r for all i, and 0 < alpha,
             sign N(x) = sign((wbar - ubar) . x)   whenever   |(wbar - ubar) . x| > 2 r |x|                   [derived]
    (5)  agreement: y_j w_i . x_j > 0 and y_j u_i . x_j < 0 for all i, j. While it lasts all w_i move alike, and all
         u_i: the clusters keep their shape, and (wbar, ubar) is a linear classifier of (x, -alpha x) for y = +1 and
         (-alpha x, x) for y = -1, so that its direction tends to that of                                     [derived]
             min |w|^2 + |u|^2   subject to   (w - alpha u) . x >= 1 (y = +1),  (u - alpha w) . x >= 1 (y = -1)
    (6)  hinge, batch 1, |x| = 1, a unit vector w* with y w* . x >= g: after t updates, with G = |W|^2 + |U|^2 and
         F = (sum_i w_i - sum_i u_i) . w* / sqrt(2k),
             F(0) + eta alpha g t <= sqrt(G(0) + (2 eta + eta^2) t),   which bounds t without n and, as G(0) does not
         grow with k, without k. (F gains at least eta alpha g an update; G at most 2 eta y N(x) + eta^2, and y N < 1;
         F^2 <= G by Cauchy and Schwarz.)                                                                      [derived]

Data: |x| = 1, y w* . x >= `margin` for a random unit w*; |w* . x| is `margin` + (1 - `margin`)|z|, z a coordinate of a
uniform point on the sphere. Test points are uniform on the sphere, margin 0. Initial weights are
N(0, init_scale^2 / (2kd)), so that |W|^2 + |U|^2 is about init_scale^2 at any k; N(x) stays O(1) as k grows.

Differences from the paper: data is synthetic; the size of initial weights is that of all of them together; steps may be
of any batch up to full. A logistic training runs for the whole budget, a hinge training until its loss is 0.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls
from torch import Tensor

from trainables import axis, claim, generator, key, uniform

VERSION = "1"
SHAPE = ("k", "n", "d", "n_test")


@dataclass(frozen=True)
class Cell:
    k: int = axis("neurons of each sign (the paper's k): the width is 2k", "neurons", 16, positive=True)
    n: int = axis("samples", "samples", 32, positive=True)
    d: int = axis("input dimension, at least 2", "coordinates", 8, positive=True)
    alpha: float = axis("leak: slope of the activation below 0, between 0 and 1", "1", 0.2, positive=True)
    init_scale: float = axis(
        "norm of all initial weights together, root mean square", "1", 1.0, positive=True, knob=True
    )
    margin: float = axis("margin of the teacher on unit inputs, below 1", "|x|", 0.3)
    loss_function: Literal["logistic", "hinge"] = axis("loss l, eq. (2)", "1", "logistic")
    step_size: float = axis("step size eta", "1", 1.0, positive=True, knob=True)
    batch: int = axis("samples a step, drawn without replacement; n or more: full batch", "samples", 1, positive=True)
    budget: int = axis("steps; a hinge training may end before", "steps", 2000, positive=True)
    n_test: int = axis("test points", "points", 64, positive=True)
    seed: int = axis("seed of data, initial weights and batches", "1", 0)


SMALL = Cell(k=3, n=8, d=3, budget=40, n_test=8)

CRITERION = "no training error after the whole budget (logistic); loss 0 within it (hinge)"

COLUMNS = {
    "loss": ("mean loss on the samples, eq. (2)", "nats"),
    "error": ("share of the samples classified wrongly", "1"),
    "radius": ("cluster radius: max |w_i - wbar|, |u_i - ubar|, over |wbar - ubar|", "1"),
    "agreeing": ("share of (neuron, sample) pairs of the sign that eq. (5) asks for", "1"),
    "agreement": ("share of test points where N has the sign of (wbar - ubar) . x", "1"),
    "decided": ("share of test points where eq. (4) decides the sign", "1"),
    "angle": ("angle between (wbar, ubar) and the limit direction, eq. (5)", "rad"),
    "boundary_angle": ("angle between wbar - ubar and that of the limit direction", "rad"),
    "updates": ("updates that were not 0", "updates"),
    "violations": ("(step, point) pairs, samples and test points, that contradict eq. (4)", "1"),
    "disagreement": ("largest |(wbar - ubar) . x| / (2 r |x|) where sign N is not that of it; all steps, points", "1"),
    "agreement_steps": ("step from which eq. (5) held to the end; one more than the steps where it does not", "steps"),
    "test_error": ("share of test points where N has not the teacher's sign", "1"),
    "updates_bound": ("eq. (6): largest t that it admits", "updates"),
    "limit_agrees": ("1 where the limit direction agrees, eq. (5); else agreement cannot last", "1"),
}

_SARUSSI = ("Sarussi, Brutzkus, Globerson 2021", "2101.02533")
_BRUTZKUS = ("Brutzkus, Globerson, Malach, Shalev-Shwartz 2018", "1710.10174")
_DATA = ("linearly separable data", "leaky ReLU, 0 < α < 1", "second layer fixed")
_LOGISTIC = {"loss_function": "logistic"}

# fmt: off
CLAIMS = (
    claim(
        "global optimum at any width", "SGD on the logistic loss reaches the global optimum, whatever k",
        (*_SARUSSI, "abstract"), "abstract", "probability", "k", bound=1.0, at_least=True,
        hypotheses=(*_DATA, "read as: no training error when the budget ends"), where=_LOGISTIC,
    ),
    claim(
        "cluster theorem", "sign N(x) = sign((w̄ − ū)·x) whenever |(w̄ − ū)·x| > 2 r |x|",
        (*_SARUSSI, "clusters imply a linear boundary"), "derived", "inequality", "k", metric="disagreement",
        bound=1.0, hypotheses=("α > 0", "r: the larger cluster's radius"),
    ),
    claim(
        "bounded updates", "F(0) + ηαγ t ≤ √(G(0) + (2η + η²) t) after t non-zero updates, whatever n and k",
        (*_BRUTZKUS, "perceptron argument"), "derived", "inequality", "n", metric="updates", bound="updates_bound",
        constant=1.0, hypotheses=(*_DATA, "margin γ", "‖x‖ = 1", "hinge loss", "one sample a step"),
        where={"loss_function": "hinge", "batch": 1},
    ),
    claim(
        "updates do not grow with the samples", "the number of non-zero updates is O(1) in n",
        (*_BRUTZKUS, "main theorem"), "derived", "rate", "n", metric="updates", exponent=0.0,
        hypotheses=(*_DATA, "margin γ fixed", "hinge loss"), where={"loss_function": "hinge"},
    ),
    claim(
        "updates do not grow with the width", "the number of non-zero updates is O(1) in k",
        (*_BRUTZKUS, "main theorem"), "derived", "rate", "k", metric="updates", exponent=0.0,
        hypotheses=(*_DATA, "|W(0)|² + |U(0)|² fixed", "hinge loss"), where={"loss_function": "hinge"},
    ),
    claim(
        "small initial weights give tight clusters", "the relative cluster radius grows with the initial weights",
        (*_SARUSSI, "weights inside each cluster keep their distances"), "derived", "order", "init_scale",
        metric="radius", order=("init_scale", 0.1, 10.0), hypotheses=_DATA, where=_LOGISTIC,
    ),
    claim(
        "small initial weights agree soon", "the time until all neurons agree grows with the initial weights",
        (*_SARUSSI, "agreement"), "derived", "order", "init_scale", metric="agreement_steps",
        order=("init_scale", 0.1, 10.0), hypotheses=_DATA, where=_LOGISTIC,
    ),
    claim(
        "small initial weights end in the limit direction", "the angle to the limit direction grows with the weights",
        (*_SARUSSI, "eq. (5)"), "derived", "order", "init_scale", metric="angle",
        order=("init_scale", 0.1, 10.0), hypotheses=(*_DATA, "agreement lasts"), where=_LOGISTIC,
    ),
    claim(
        "tight clusters give a linear boundary", "the decision boundary is nearer to a linear one for tight clusters",
        (*_SARUSSI, "abstract"), "abstract", "order", "init_scale", metric="agreement",
        order=("init_scale", 10.0, 0.1), hypotheses=(*_DATA, "tight: from small initial weights"), where=_LOGISTIC,
    ),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "p d"]  # n samples, then the test points
    y: Float[Tensor, " p"]  # the teacher's signs
    V: Float[Tensor, "units d"]  # rows w_1 .. w_k, u_1 .. u_k
    Z: Float[Tensor, "p units"]  # X V^T
    f: Float[Tensor, " p"]  # N(x), eq. (1)
    samples: Float[Tensor, " n"]  # ones: its shape carries n
    limit: Float[Tensor, "2 d"]  # solution of the programme of eq. (5)
    alpha: Float[Tensor, ""]
    eta: Float[Tensor, ""]
    hinge: Bool[Tensor, ""]
    updates_bound: Float[Tensor, ""]
    disagreement: Float[Tensor, ""]
    violations: Int[Tensor, ""]
    updates: Int[Tensor, ""]
    since: Int[Tensor, ""]  # step from which all neurons agree; the next one where they do not
    key: Int[Tensor, ""]
    batch: Int[Tensor, ""]
    steps: Int[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    if not (cell.d >= 2 and cell.alpha < 1 and 0 <= cell.margin < 1):
        raise ValueError("d must be at least 2, alpha below 1 and the margin in [0, 1)")
    rng = generator("linear_teacher", cell.k, cell.n, cell.d, cell.n_test, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    sphere = torch.nn.functional.normalize(torch.randn(cell.n + cell.n_test + 1, cell.d, **normal), dim=-1)
    teacher, X = sphere[0], sphere[1:]
    V = cell.init_scale / math.sqrt(2 * cell.k * cell.d) * torch.randn(2 * cell.k, cell.d, **normal)
    along = X @ teacher
    y = torch.where(along >= 0, 1.0, -1.0).double()
    pushed = y * (cell.margin + (1 - cell.margin) * along.abs())  # same side of the teacher, at least `margin` away
    across = torch.nn.functional.normalize(X - along[:, None] * teacher, dim=-1) * (1 - pushed**2).sqrt()[:, None]
    X = torch.cat([(pushed[:, None] * teacher + across)[: cell.n], X[cell.n :]])

    signed = torch.cat([V[: cell.k], -V[cell.k :]]).sum(0)
    F0, G0 = float(signed @ teacher) / math.sqrt(2 * cell.k), float(V.square().sum())
    bound = most_updates(F0, G0, cell.step_size, cell.alpha, cell.margin)
    alpha, eta, bound, zero = torch.tensor([cell.alpha, cell.step_size, bound, 0], dtype=torch.float64)
    batch, steps, nothing = torch.tensor([min(cell.batch, cell.n), cell.budget, 0])
    Z, hinge = X @ V.T, torch.tensor(cell.loss_function == "hinge")
    ones, limit = torch.ones(cell.n, dtype=torch.float64), limit_direction(X[: cell.n], y[: cell.n], cell.alpha)
    counts = (nothing, nothing, nothing, key(rng), batch, nothing, steps)
    return checked(State(X, y, V, Z, output(Z, alpha), ones, limit, alpha, eta, hinge, bound, zero, *counts))


def step(s: State) -> State:
    """One step on `batch` random samples, eq. (3)."""
    n = s.samples.shape[0]
    u = uniform(s.key, s.steps, n)
    chosen = (u <= u.sort().values.gather(0, (s.batch - 1)[None])).double()  # its `batch` smallest numbers
    z = s.y[:n] * s.f[:n]
    slope = torch.where(s.hinge, (z < 1).double(), torch.nn.functional.logsigmoid(-z).exp())  # -l'(z)
    g = chosen * slope * s.y[:n] / s.batch
    signs, active = second_layer(s.Z), torch.where(s.Z[:n] >= 0, 1.0, s.alpha)
    V = s.V + s.eta * ((g[:, None] * active * signs).mT @ s.X[:n])
    Z = s.X @ V.mT
    updates, steps = s.updates + (g != 0).any(), s.steps + 1
    return checked(s._replace(V=V, Z=Z, f=output(Z, s.alpha), updates=updates, steps=steps))


def checked(s: State) -> State:
    """The state with its running checks brought up to date: eqs. (4) and (5), on all points."""
    margins, wrong = against_linear(s)
    return s._replace(
        disagreement=torch.maximum(s.disagreement, torch.where(wrong, margins, 0.0).max()),
        violations=s.violations + (wrong & (margins > 1)).sum(),
        since=torch.where(agreeing(s).all(), s.since, s.steps + 1),
    )


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    n = s.samples.shape[0]
    w, u, radius = clusters(s.V)
    z = s.y[:n] * s.f[:n]
    margins, wrong = against_linear(s)
    return {
        "loss": torch.where(s.hinge, (1 - z).clamp(min=0), -torch.nn.functional.logsigmoid(z)).mean(),
        "error": (z <= 0).double().mean(),
        "radius": radius / (w - u).square().sum().sqrt(),
        "agreeing": agreeing(s).double().mean(),
        "agreement": 1 - wrong[n:].double().mean(),
        "decided": (margins[n:] > 1).double().mean(),
        "angle": angle(torch.cat([w, u]), s.limit.flatten()),
        "boundary_angle": angle(w - u, s.limit[0] - s.limit[1]),
        "updates": s.updates.double(),
        "violations": s.violations.double(),
        "disagreement": s.disagreement,
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    n = s.samples.shape[0]
    return {"agreement_steps": s.since.double(), "test_error": (s.y[n:] * s.f[n:] <= 0).double().mean()}


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    n, one = s.samples.shape[0], torch.ones_like(s.eta)
    agrees = (s.y[:n, None] * (s.X[:n] @ s.limit.mT) * torch.stack([one, -one]) > 0).all()
    return {"updates_bound": s.updates_bound, "limit_agrees": agrees.double()}


def solved(s: State) -> Bool[Tensor, ""]:
    n = s.samples.shape[0]
    z = s.y[:n] * s.f[:n]
    return torch.where(s.hinge, (z >= 1).all(), (s.steps >= s.budget) & (z > 0).all())


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def second_layer(Z: Float[Tensor, "p units"]) -> Float[Tensor, " units"]:
    """v for each w, -v for each u."""
    width = Z.shape[1]
    return torch.where(torch.arange(width, device=Z.device) < width // 2, 1.0, -1.0).to(Z.dtype) / math.sqrt(width)


def output(Z: Float[Tensor, "p units"], alpha: Float[Tensor, ""]) -> Float[Tensor, " p"]:
    """Eq. (1) from pre-activations."""
    return (torch.where(Z >= 0, Z, alpha * Z) * second_layer(Z)).sum(-1)


def clusters(V: Float[Tensor, "units d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, ""]]:
    """wbar, ubar and the radius r of the wider cluster."""
    w, u = V.reshape(2, -1, V.shape[1]).mean(1)
    apart = V - torch.stack([w, u]).repeat_interleave(V.shape[0] // 2, 0)
    return w, u, apart.square().sum(-1).max().sqrt()


def against_linear(s: State) -> tuple[Float[Tensor, " p"], Bool[Tensor, " p"]]:
    """|(wbar - ubar) . x| / (2 r |x|), and whether N(x) has not the sign of (wbar - ubar) . x, at each point.

    r counts 1e-12 of the largest weight more, for rounding: k = 1 has r = 0.
    """
    w, u, radius = clusters(s.V)
    linear = (s.X * (w - u)).sum(-1)
    reach = radius + 1e-12 * s.V.square().sum(-1).max().sqrt()
    return linear.abs() / (2 * reach * s.X.square().sum(-1).sqrt()), s.f * linear <= 0


def agreeing(s: State) -> Bool[Tensor, "n units"]:
    """Which neurons have the sign of eq. (5) on which samples."""
    n = s.samples.shape[0]
    return s.y[:n, None] * second_layer(s.Z) * s.Z[:n] > 0


def angle(a: Float[Tensor, " e"], b: Float[Tensor, " e"]) -> Float[Tensor, ""]:
    """Angle between two vectors; to 1e-8, where a cosine is 1."""
    return ((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt()).clamp(-1, 1).arccos()


def most_updates(F0: float, G0: float, eta: float, alpha: float, margin: float) -> float:
    """The larger root t of (F0 + a t)^2 = G0 + e t, eq. (6), with a = eta alpha margin, e = 2 eta + eta^2."""
    a, e = eta * alpha * margin, 2 * eta + eta * eta
    if a == 0:
        return math.inf
    b = e / 2 - a * F0
    return (b + math.sqrt(b * b + a * a * (G0 - F0 * F0))) / (a * a)


def limit_direction(X: Float[Tensor, "n d"], y: Float[Tensor, " n"], alpha: float) -> Float[Tensor, "2 d"]:
    """Rows w and u of the programme of eq. (5): least distance programming by non-negative least squares.

    min |t| subject to A t >= 1: with r = E q - e_last, E = (A, 1)^T and q >= 0 of least |r|, t = -r_rest / r_last
    (Lawson and Hanson 1974, chapter 23).
    """
    positive = (y > 0)[:, None]
    A = torch.cat([torch.where(positive, X, -alpha * X), torch.where(positive, -alpha * X, X)], 1)
    E = torch.cat([A, torch.ones(len(A), 1, dtype=A.dtype)], 1).T
    target = torch.zeros(E.shape[0], dtype=A.dtype)
    target[-1] = 1
    q = torch.from_numpy(nnls(E.numpy(), target.numpy())[0])
    r = E @ q - target
    return (-r[:-1] / r[-1]).reshape(2, -1)
