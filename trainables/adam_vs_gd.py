"""Two-layer convolutional network on a feature patch and a noise patch: gradient descent, Adam and sign descent.

Zou, Cao, Li, Gu 2021, Understanding the generalization of Adam in learning neural networks with proper regularization,
arXiv 2108.11371; for mini-batches Tang, Zhang, Cao, Zou 2025, arXiv 2510.11354.

    (1)  x = [x_1; x_2] in R^{2d}, y ~ Unif{-1, +1}: one patch is y v, v = e_1, the other xi
    (2)  xi = noise of s random coordinates of [d] \\ {1}, each N(0, sigma_p^2), less alpha y v
    (3)  F_j(x) = sum_{r<=m} [a(w_jr . x_1) + a(w_jr . x_2)],  a(z) = max(z, 0)^q,  j = -1, +1;  w_jr ~ N(0, sigma_0^2)
    (4)  L(W) = -(1/n) sum_i log(e^{F_y(x_i)} / (e^{F_1(x_i)} + e^{F_-1(x_i)})) + (lambda/2) |W|^2,   g = grad L
    (5)  gd     W <- W - eta g
    (6)  sign   W <- W - eta sign(g)
    (7)  adam   M <- b1 M + (1 - b1) g,  V <- b2 V + (1 - b2) g^2,
                W <- W - eta [M / (1 - b1^t)] / (sqrt(V / (1 - b2^t)) + eps)
    (8)  feature learning min_j max_r <w_jr, j v>,  noise memorisation min_i max_r <w_{y_i r}, xi_i>
    (9)  full-batch Adam and GD both reach training error 0; Adam's test error is at least 1/2 - o(1), GD's o(1)
    (10) while all samples pull alike, one step of sign descent moves y_i <w, xi_i>, over what it moves <w, v>, by
             rho = s sigma_p sqrt(2/pi) E (1 + K)^{-1/2} on average,  K ~ Bin(n - 1, s/(d - 1)) share a coordinate,
         and one step of gradient descent by s sigma_p^2 / n                                              [derived]

So Adam fits the noise where GD has learnt the feature; then the part -alpha y v of the noise patches has the larger
gradient, the feature stops or turns, and test samples are told by -alpha y v and by noise never seen. As the gradient
goes with (overlap)^{q-1}, the crossover should lie near alpha rho^{q-1} = constant; found: 0.2 to 0.35 for q = 3.

Differences from the paper: eq. (3) does not see which patch comes first, so it is not drawn. eps and the correction of
bias are those of Kingma and Ba 2015. A step may use a random part of the samples, drawn without replacement. Steps of
Adam and sign descent are in ``init_scale`` / 5 and the budget in 1 / ``step_size``: then 250 is the length of both
the paper's trainings, 2500 steps of 0.1 (GD) and 10^4 of 5e-5 (Adam, sigma_0 = 0.01, ``step_size`` 0.025). Success is a
test error below 1/4, halfway between the two of (9).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from trainables import axis, claim, generator, key, uniform

VERSION = "1"
SHAPE = ("m", "n", "d", "q", "batch", "n_test", "dtype")
OPTIMIZERS = ("gd", "adam", "sign")


@dataclass(frozen=True)
class Cell:
    m: int = axis("width: filters of each class", "filters", 10, positive=True)
    n: int = axis("samples", "samples", 64, positive=True)
    d: int = axis("coordinates of a patch", "coordinates", 100, positive=True)
    s: int = axis("coordinates of a noise patch that are not 0, below d", "coordinates", 20, positive=True)
    q: int = axis("power of the activation, at least 2; the paper's is at least 3", "1", 3, positive=True)
    alpha: float = axis("strength of the feature noise; the paper's is below 1", "|v|", 0.2)
    noise: float = axis("sigma_p: standard deviation of the noise patch", "|v|", 0.2)
    init_scale: float = axis("sigma_0: standard deviation of each initial weight", "1", 0.05, positive=True, knob=True)
    optimizer: Literal["gd", "adam", "sign"] = axis("update, eqs. (5) to (7)", "1", "gd")
    batch: int = axis("samples a step, drawn without replacement; n or more: all", "samples", 1024, positive=True)
    weight_decay: float = axis("lambda, eq. (4)", "1", 0.0, knob=True)
    step_size: float = axis(
        "step size eta; adam and sign in init_scale / 5", "1, init_scale/5", 0.5, positive=True, knob=True
    )
    budget: float = axis("length of a training", "1/step_size", 150.0, positive=True)
    beta1: float = axis("b1: decay of Adam's mean gradient", "1", 0.9, knob=True)
    beta2: float = axis("b2: decay of Adam's mean squared gradient", "1", 0.999, knob=True)
    eps: float = axis("eps of eq. (7)", "1", 1e-8, positive=True, knob=True)
    n_test: int = axis("test samples", "samples", 200, positive=True)
    dtype: Literal["float64", "float32"] = axis("precision of the training", "1", "float64")
    seed: int = axis("seed of samples, initial weights and batches", "1", 0)


SMALL = Cell(
    m=2, n=8, d=12, s=4, noise=0.5, init_scale=0.2, optimizer="adam", batch=4, step_size=0.5, budget=20.0, n_test=8
)

CRITERION = "no training error and a test error below 1/4 when the budget ends"

COLUMNS = {
    "loss": ("L(W), eq. (4)", "nats"),
    "data_loss": ("L(W) without weight decay", "nats"),
    "train_error": ("share of the samples classified wrongly", "1"),
    "test_error": ("share of fresh samples classified wrongly", "1"),
    "feature": ("feature learning, eq. (8)", "1"),
    "memorisation": ("noise memorisation, eq. (8)", "1"),
    "test_accuracy": ("share of fresh samples classified rightly", "1"),
    "fits": ("1 if no sample is classified wrongly at the end", "1"),
    "noise_error": ("share of the samples that their noise patch alone classifies wrongly", "1"),
    "eta": ("step size", "1"),
    "budget_steps": ("steps of a training", "steps"),
    "sign_ratio": ("eq. (10): growth of noise overlaps over that of the feature, sign descent", "1"),
    "gd_ratio": ("eq. (10): the same for gradient descent", "1"),
    "disjoint_d": ("n^2 s^2 / 2: from such d on, fewer than one pair of samples shares a coordinate", "coordinates"),
}

_ZOU = ("Zou, Cao, Li, Gu 2021", "2108.11371", "abstract")
_DERIVED = ("Zou, Cao, Li, Gu 2021", "2108.11371", "its model")
_MODEL = ("q ≥ 3", "0 < α < 1", "λ small", "n, d, s large and σ_p, σ₀ small, in powers of d the paper gives")
_POINT = {"alpha": 0.2, "batch": 1024}
_fits = partial(
    claim, source=_ZOU, tag="abstract", direction="probability", over="n", metric="fits", bound=0.9, at_least=True,
    hypotheses=(*_MODEL, "long enough", "with high probability: read as at least 0.9"),
)  # fmt: skip
_compare = partial(
    claim, source=_ZOU, tag="abstract", direction="order", over="d", needed="disjoint_d", where=_POINT,
    hypotheses=(*_MODEL, "noise patches share no coordinate"),
)  # fmt: skip

# fmt: off
CLAIMS = (
    _compare("Adam generalises worse", "same data, same start: Adam's test error is above that of gradient descent",
             metric="test_error", order=("optimizer", "gd", "adam")),
    _compare("Adam fits the noise", "same data, same start: Adam memorises the noise, gradient descent does not",
             metric="memorisation", order=("optimizer", "gd", "adam")),
    _compare("gradient descent learns the feature", "same data, same start: gradient descent learns v, Adam less",
             metric="feature", order=("optimizer", "adam", "gd")),
    claim(
        "Adam's test error", "the test error of full-batch Adam is at least 1/2 − o(1)",
        _ZOU, "abstract", "inequality", "d", metric="test_accuracy", bound=0.5, needed="disjoint_d",
        hypotheses=(*_MODEL, "noise patches share no coordinate"), where=_POINT | {"optimizer": "adam"},
    ),
    _fits("gradient descent fits", "gradient descent reaches training error 0", where=_POINT | {"optimizer": "gd"}),
    _fits("Adam fits", "full-batch Adam reaches training error 0", where=_POINT | {"optimizer": "adam"}),
    claim(
        "small batches cure Adam", "mini-batch Adam reaches a lower test error than full-batch Adam",
        ("Tang, Zhang, Cao, Zou 2025", "2510.11354", "abstract"), "abstract", "order", "batch", metric="test_error",
        order=("batch", 8, 1024), hypotheses=_MODEL, where={"optimizer": "adam"},
    ),
    claim(
        "samples cure Adam", "with n s / d ≫ 1, more samples let Adam generalise at a larger α",
        (*_DERIVED[:2], "eq. (10)"), "derived", "order", "n", order=("n", 16, 128),
        hypotheses=("full batch", "samples share noise coordinates"), where={"optimizer": "adam", "batch": 1024},
    ),
    claim(
        "too large a weight decay", "too large a λ keeps Adam at its start: nothing is learnt",
        _DERIVED, "derived", "order", "weight_decay", metric="train_error", order=("weight_decay", 1e-3, 0.1),
        hypotheses=("full batch",), where={"optimizer": "adam", "batch": 1024},
    ),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "n d"]  # noise patches xi
    y: Float[Tensor, " n"]
    X_test: Float[Tensor, "n_test d"]
    y_test: Float[Tensor, " n_test"]
    W: Float[Tensor, "filters d"]  # w_{+1,1} .. w_{+1,m}, w_{-1,1} .. w_{-1,m}
    M: Float[Tensor, "filters d"]
    V: Float[Tensor, "filters d"]
    power: Float[Tensor, " q"]  # ones: its shape carries q
    sample: Float[Tensor, " batch"]  # ones: its shape carries the batch
    eta: Float[Tensor, ""]
    decay: Float[Tensor, ""]
    beta1: Float[Tensor, ""]
    beta2: Float[Tensor, ""]
    eps: Float[Tensor, ""]
    beta1_power: Float[Tensor, ""]  # beta1^t
    beta2_power: Float[Tensor, ""]
    sign_ratio: Float[Tensor, ""]
    gd_ratio: Float[Tensor, ""]
    disjoint_d: Float[Tensor, ""]
    key: Int[Tensor, ""]
    optimizer: Int[Tensor, ""]  # place in OPTIMIZERS
    steps: Int[Tensor, ""]
    budget: Int[Tensor, ""]


def draw(cell: Cell) -> State:
    n, d, s = cell.n, cell.d, cell.s
    if not (s < d and cell.q >= 2 and cell.batch >= 1 and cell.beta1 < 1 and cell.beta2 < 1):
        raise ValueError("needs s < d, q >= 2, batch >= 1, beta1 < 1 and beta2 < 1")
    rng = generator("adam_vs_gd", cell.m, n, d, s, cell.seed)
    X, y = patches(rng, cell, n)
    W = cell.init_scale * torch.randn(2 * cell.m, d, generator=rng, dtype=torch.float64)
    batches = key(rng)
    fresh = patches(generator("adam_vs_gd, test", cell.m, n, d, s, cell.n_test, cell.seed), cell, cell.n_test)
    eta = cell.step_size * (1 if cell.optimizer == "gd" else cell.init_scale / 5)
    share = stats.binom(n - 1, s / (d - 1)).expect(lambda k: (1 + k) ** -0.5)
    ratios = s * cell.noise * math.sqrt(2 / math.pi) * share, s * cell.noise**2 / n, (n * s) ** 2 / 2
    dtype, zero = getattr(torch, cell.dtype), torch.zeros_like(W)
    wide = [X, y, *fresh, W, zero, zero, torch.ones(cell.q), torch.ones(cell.batch if cell.batch < n else 0)]
    real = torch.tensor([eta, cell.weight_decay, cell.beta1, cell.beta2, cell.eps, 1, 1, *ratios], dtype=dtype)
    whole = torch.tensor([OPTIMIZERS.index(cell.optimizer), 0, math.ceil(cell.budget / cell.step_size)])
    every = [*(t.to(dtype) for t in wide), *real, batches, *whole]
    return State(*every)


def patches(rng: torch.Generator, cell: Cell, count: int) -> tuple[Float[Tensor, "k d"], Float[Tensor, " k"]]:
    """Noise patches, eq. (2), and labels."""
    y = torch.randint(2, (count,), generator=rng).double() * 2 - 1
    chosen = torch.rand(count, cell.d - 1, generator=rng, dtype=torch.float64).argsort(-1).argsort(-1) < cell.s
    xi = cell.noise * chosen * torch.randn(count, cell.d - 1, generator=rng, dtype=torch.float64)
    return torch.cat([-cell.alpha * y[:, None], xi], 1), y


def step(s: State) -> State:
    """One update, eqs. (5) to (7), on all samples or on those with the smallest of n random numbers."""
    X, y, batch = s.X, s.y, s.sample.shape[0]
    if batch:
        chosen = uniform(s.key, s.steps, y.shape[0]).argsort()[:batch]
        X, y = X[chosen], y[chosen]
    g = gradient(s.W, X, y, s.power.shape[0]) + s.decay * s.W
    M = s.beta1 * s.M + (1 - s.beta1) * g
    V = s.beta2 * s.V + (1 - s.beta2) * g.square()
    beta1_power, beta2_power = s.beta1 * s.beta1_power, s.beta2 * s.beta2_power
    adam = M / (1 - beta1_power) / ((V / (1 - beta2_power)).sqrt() + s.eps)
    move = torch.where(s.optimizer == 0, g, torch.where(s.optimizer == 1, adam, g.sign()))
    return s._replace(
        W=s.W - s.eta * move, M=M, V=V, beta1_power=beta1_power, beta2_power=beta2_power, steps=s.steps + 1
    )


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    margins = margin(s, s.X, s.y)
    data_loss = -torch.nn.functional.logsigmoid(margins).mean()
    own = classes(s.W) * s.y[:, None] > 0
    return {
        "loss": data_loss + s.decay / 2 * s.W.square().sum(),
        "data_loss": data_loss,
        "train_error": wrong(margins),
        "test_error": wrong(margin(s, s.X_test, s.y_test)),
        "feature": learnt(s.W),
        "memorisation": torch.where(own, s.X @ s.W.mT, -math.inf).amax(-1).min(),
    }


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    alone = s.y * (activation(s.X @ s.W.mT, s.power.shape[0]) * classes(s.W)).sum(-1)
    fits = (margin(s, s.X, s.y) > 0).all().to(s.W.dtype)
    return {"fits": fits, "test_accuracy": 1 - wrong(margin(s, s.X_test, s.y_test)), "noise_error": wrong(alone)}


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    return {
        "eta": s.eta,
        "budget_steps": s.budget.to(s.W.dtype),
        "sign_ratio": s.sign_ratio,
        "gd_ratio": s.gd_ratio,
        "disjoint_d": s.disjoint_d,
    }


def solved(s: State) -> Bool[Tensor, ""]:
    """Test errors rise and fall on the way, so that only the end counts."""
    fits = (margin(s, s.X, s.y) > 0).all()
    return (s.steps >= s.budget) & fits & (wrong(margin(s, s.X_test, s.y_test)) < 1 / 4)


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def activation(z: Float[Tensor, "k filters"], q: int) -> Float[Tensor, "k filters"]:
    """max(z, 0)^q, q >= 1, by multiplication."""
    z = z.clamp(min=0)
    power = z
    for _ in range(q - 1):
        power = power * z
    return power


def classes(W: Float[Tensor, "filters d"]) -> Float[Tensor, " filters"]:
    """The class j of each filter."""
    first = torch.arange(W.shape[0], device=W.device) < W.shape[0] // 2
    return torch.where(first, 1.0, -1.0).to(W.dtype)


def learnt(W: Float[Tensor, "filters d"]) -> Float[Tensor, ""]:
    """min_j max_r <w_jr, j v>, eq. (8)."""
    return (classes(W) * W[:, 0]).reshape(2, -1).amax(-1).min()


def margin(s: State, X: Float[Tensor, "k d"], y: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """y (F_1 - F_-1), eq. (3)."""
    q = s.power.shape[0]
    both = activation(y[:, None] * s.W[:, 0], q) + activation(X @ s.W.mT, q)
    return y * (both * classes(s.W)).sum(-1)


def wrong(margins: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Share of samples on the wrong side; the boundary is no side."""
    return (margins <= 0).to(margins.dtype).mean()


def gradient(
    W: Float[Tensor, "filters d"], X: Float[Tensor, "k d"], y: Float[Tensor, " k"], q: int
) -> Float[Tensor, "filters d"]:
    """Gradient of the mean loss of samples (X, y), eq. (4) without weight decay; y v has one coordinate, the first."""
    feature, noise = y[:, None] * W[:, 0], X @ W.mT
    slope_feature, slope_noise = activation(feature, q - 1), activation(noise, q - 1)
    f = ((slope_feature * feature + slope_noise * noise) * classes(W)).sum(-1)
    miss = torch.nn.functional.logsigmoid(-y * f).exp()  # the wrong class's probability
    pull = (-q / y.shape[0]) * (miss * y)[:, None] * classes(W)
    g = (pull * slope_noise).mT @ X
    first = g[:, 0] + (pull * slope_feature * y[:, None]).sum(0)
    return torch.cat([first[:, None], g[:, 1:]], 1)
