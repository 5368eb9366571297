"""Two-layer ReLU network for image classes, both layers trained by SGD with momentum: capacity measures against width.

Neyshabur, Li, Bhojanapalli, LeCun, Srebro 2018, Towards understanding the role of over-parametrization in
generalization of neural networks, arXiv 1805.12076. The width m is the paper's h, the samples n its N (and m).

    (1)  f(x) = V relu(U x)                       U m x d, V c x m, rows u_j of U, columns v_j of V, c = 10 classes
    (2)  U0_jk ~ Unif(+-1/sqrt d), V0_ij ~ Unif(+-1/sqrt m)                       E|U0|_F^2 = m/3, E|V0|_F^2 = c/3
    (3)  g <- momentum g + grad L_B,  w <- w - eta g          L_B the mean cross-entropy over a mini-batch B; every
         epoch goes through the samples once, in a new order; until L on all n samples is at most `tolerance`
    (4)  beta_j = |u_j - u0_j|, unit capacity;    alpha_j = |v_j|, unit impact
    (5)  gamma = 5th percentile over the samples of f(x)_y - max_{i != y} f(x)_i, the margin
    (6)  Theorem 1: R_S <= C / (gamma n) sum_j alpha_j (beta_j |X|_F + |u0_j X|),         C = 2 sqrt(2 c) + 2
    (7)                 <= C / (gamma sqrt n) |alpha| (|beta| sqrt(mean|x|^2) + sqrt(mean|U0 x|^2))

R_S: empirical Rademacher complexity of the loss at margin gamma over all networks with these alpha and beta; (7) is (6)
by Cauchy and Schwarz. Table 1 compares, up to constants, logarithms, the data's norms and the margin,

    (8)   d m                                            VC dimension
    (9)   |U|_{inf,1} |V|_{inf,1}                        largest 1-norm of a row
    (10)  |U|_F |V|_F
    (11)  |U|_2 |V - V0|_{1,2} + |U - U0|_{1,2} |V|_2    sums of the 2-norms of rows
    (12)  |U|_2 |V - V0|_F + sqrt(m) |U - U0|_F |V|_2
    (13)  |U0|_2 |V|_F + |U - U0|_F |V|_F + sqrt(m)      theirs: Theorem 2

and Figure 5 with all of them in place, of which theirs is the only one that falls with the width:

    (14)  (R + 3 sqrt(5 m + log(max(1, gamma sqrt n) / delta)))^2,   delta = 0.01,    constants of the authors' code
          R = 3 sqrt 2 (sqrt(2 c) + 1) (|V|_F + 1) (sqrt(mean|relu(U0 x)|^2) + |U - U0|_F sqrt(mean|x|^2) + 1) / gamma

Bounds have (9) to (12) and the leading terms of (13) over gamma: columns ``NAME_margin``. With constants 1 and data of
norm 1, as Table 1 is written, the sqrt(m) in (13) takes over at some width; in (14) it is weighed against the data.

Differences from the paper: scikit-learn's digits (8 x 8) or a part of CIFAR-10's training images, in place of MNIST,
SVHN and CIFAR-10, without augmentation; no biases, as in the theorem (the authors' code has them, outside all
measures); a step size for hundreds of steps; L is taken on all n samples, 8 times an octave of steps (theirs is the
mean over the mini-batches of an epoch).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import _images, axis, claim, generator, key, uniform

VERSION = "1"
SHAPE = ("m", "n", "test", "batch", "data", "dtype")
CLASSES = 10


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, hidden units; the paper's h", "units", 64, positive=True)
    n: int = axis("training images", "images", 512, positive=True)
    test: int = axis("held-out images, for the test error", "images", 1285, positive=True)
    init_scale: float = axis("initial weights in units of those of eq. (2)", "1", 1.0, positive=True, knob=True)
    step_size: float = axis("step size eta", "1", 0.02, positive=True, knob=True)
    momentum: float = axis("momentum", "1", 0.9, knob=True)
    batch: int = axis("mini-batch; the last of an epoch has what is left", "images", 64, positive=True)
    tolerance: float = axis("a training is fit when its loss is at most this", "nats", 0.01, positive=True)
    budget: int = axis("budget in epochs", "epochs", 200, positive=True)
    data: Literal["digits", "cifar10"] = axis(
        "scikit-learn's digits, or CIFAR-10 from --data-dir (python form: MD5 checked, binary form: size)",
        "1",
        "digits",
    )
    dtype: Literal["float64", "float32"] = axis("precision of the training", "1", "float32")
    seed: int = axis("seed of the split into training and test images, initial weights and mini-batches", "1", 0)


SMALL = Cell(m=8, n=24, test=20, batch=10, tolerance=0.3, budget=40)

CRITERION = "training cross-entropy at most `tolerance` within the budget"

_TABLE = {
    "l1": ("|U|_{inf,1} |V|_{inf,1}, eq. (9)", "1"),
    "frobenius": ("|U|_F |V|_F, eq. (10)", "1"),
    "spectral_l1": ("|U|_2 |V - V0|_{1,2} + |U - U0|_{1,2} |V|_2, eq. (11)", "1"),
    "spectral_frobenius": ("|U|_2 |V - V0|_F + sqrt(m) |U - U0|_F |V|_2, eq. (12)", "1"),
    "leading": ("|U0|_2 |V|_F + |U - U0|_F |V|_F, eq. (13) without sqrt(m)", "1"),
}

COLUMNS = {
    "loss": ("cross-entropy on all n training images", "nats"),
    "train_error": ("share of the training images classified wrongly", "1"),
    "test_error": ("share of the held-out images classified wrongly", "1"),
    "epochs": ("epochs until the loss is at most `tolerance`, to within 9%; the budget where it never is", "epochs"),
    "margin": ("gamma, 5th percentile of the training margins, eq. (5)", "1"),
    "unit_capacity": ("mean of beta_j = |u_j - u0_j|, eq. (4)", "1"),
    "unit_impact": ("mean of alpha_j = |v_j|, eq. (4)", "1"),
    "distance_U": ("|U - U0|_F", "1"),
    "distance_V": ("|V - V0|_F", "1"),
    "norm_U": ("|U|_F", "1"),
    "norm_V": ("|V|_F", "1"),
    "vc": ("d m, eq. (8): the VC dimension up to constants and logarithms", "1"),
    **_TABLE,
    **{f"{name}_margin": (f"{meaning}; over gamma", unit) for name, (meaning, unit) in _TABLE.items()},
    "theirs": ("|U0|_2 |V|_F + |U - U0|_F |V|_F + sqrt(m), eq. (13)", "1"),
    "theirs_margin": ("(|U0|_2 |V|_F + |U - U0|_F |V|_F) / gamma + sqrt(m)", "1"),
    "capacity": ("effective capacity by Theorem 2, eq. (14); no number unless gamma > 0", "images"),
    "theorem_units": ("Theorem 1's first form, eq. (6); no number unless gamma > 0", "1"),
    "theorem_norms": ("Theorem 1's second form, eq. (7); no number unless gamma > 0", "1"),
    "norm_U0": ("|U0|_F", "1"),
    "norm_V0": ("|V0|_F", "1"),
    "norm_U0_limit": ("sqrt(E|U0|_F^2), eq. (2)", "1"),
    "norm_V0_limit": ("sqrt(E|V0|_F^2), eq. (2)", "1"),
}

_PAPER = ("Neyshabur, Li, Bhojanapalli, LeCun, Srebro 2018", "1805.12076")
_TRAINED = ("both layers trained by SGD with momentum to cross-entropy 0.01", "PyTorch's default initial weights")
_BOUND = (*_TRAINED, "over the 5th percentile of the margins")
_NARROW, _WIDE = 64, 2048  # the paper's widths begin at 2^6
_order = partial(claim, tag="paper", direction="order", over="m")
_rate = partial(claim, direction="rate", over="m")
_falls = partial(_order, order=("m", _WIDE, _NARROW))
_figure_5, _figure_2 = (*_PAPER, "Figure 5, constants of the authors' code"), (*_PAPER, "section 2.1, Figure 2")

# fmt: off
CLAIMS = (
    claim(
        "Theorem 1, first form below second",
        "Σⱼ αⱼ(βⱼ‖X‖_F + ‖uⱼ⁰X‖) ≤ ‖α‖(‖β‖‖X‖_F + ‖U₀X‖_F), both times (2√(2c) + 2)/(γn)",
        (*_PAPER, "Theorem 1"), "paper", "inequality", "m", metric="theorem_units", bound="theorem_norms", constant=1.0,
        hypotheses=("γ > 0",),
    ),
    _falls("the capacity by Theorem 2 falls", "the capacity by Theorem 2, with all constants, falls with the width",
           _figure_5, metric="capacity", hypotheses=_BOUND),
    _falls("measure (6), taken literally, falls", "(‖U₀‖₂‖V‖_F + ‖U − U₀‖_F‖V‖_F)/γ + √m falls with the width",
           (*_PAPER, "Table 1"), metric="theirs_margin", hypotheses=_BOUND),
    _falls("measure (6) without √m falls", "(‖U₀‖₂‖V‖_F + ‖U − U₀‖_F‖V‖_F)/γ falls with the width",
           (*_PAPER, "Table 1, Figure 3"), metric="leading_margin", hypotheses=_BOUND),
    _order("measure (1) rises", "the VC dimension, d m, rises with the width", (*_PAPER, "Table 1"), metric="vc",
           order=("m", _NARROW, _WIDE), hypotheses=("up to constants and logarithms",)),
    *(
        _order(f"measure ({i}) rises", f"{norms} / γ rises with the width", (*_PAPER, "Table 1, Figure 5"),
               metric=metric, order=("m", _NARROW, _WIDE), hypotheses=(*_BOUND, "CIFAR-10 and SVHN, widths to 2^15"))
        for i, norms, metric in (
            (2, "‖U‖_∞,₁‖V‖_∞,₁", "l1_margin"),
            (3, "‖U‖_F‖V‖_F", "frobenius_margin"),
            (4, "(‖U‖₂‖V − V₀‖₁,₂ + ‖U − U₀‖₁,₂‖V‖₂)", "spectral_l1_margin"),
            (5, "(‖U‖₂‖V − V₀‖_F + √m‖U − U₀‖_F‖V‖₂)", "spectral_frobenius_margin"),
        )
    ),
    _rate("unit capacity falls", "the mean of βⱼ = ‖uⱼ − uⱼ⁰‖ falls at least as fast as m^(−1/2)",
          _figure_2, "paper", metric="unit_capacity", exponent=-0.5, hypotheses=_TRAINED),
    _rate("unit impact falls", "the mean of αⱼ = ‖vⱼ‖ falls at least as fast as m^(−1/2)",
          _figure_2, "paper", metric="unit_impact", exponent=-0.5, hypotheses=_TRAINED),
    _falls("first layer moves less", "‖U − U₀‖_F falls with the width", _figure_2, metric="distance_U",
           hypotheses=_TRAINED),
    _falls("second layer shrinks", "‖V‖_F falls slightly with the width", _figure_2, metric="norm_V",
           hypotheses=_TRAINED),
    _falls("fewer epochs", "the epochs to cross-entropy 0.01 fall with the width", (*_PAPER, "Figure 4"),
           metric="epochs", hypotheses=_TRAINED),
    _falls("test error falls", "the test error falls with the width, past the width that fits the training set",
           (*_PAPER, "Figures 1 and 4"), metric="test_error", hypotheses=_TRAINED),
    _rate("initial norm", "‖U₀‖_F = √(m/3) to within its fluctuations", (*_PAPER, "default initial weights"), "derived",
          metric="norm_U0", exponent=0.5, at_start=True, hypotheses=("entries uniform on ±1/√d",)),
)
# fmt: on


class State(NamedTuple):
    X: Float[Tensor, "n d"]
    Y: Float[Tensor, "n c"]  # labels, one in ten
    X_test: Float[Tensor, "t d"]
    Y_test: Float[Tensor, "t c"]
    U0: Float[Tensor, "m d"]
    V0: Float[Tensor, "c m"]
    U: Float[Tensor, "m d"]
    V: Float[Tensor, "c m"]
    U_momentum: Float[Tensor, "m d"]  # g of eq. (3)
    V_momentum: Float[Tensor, "c m"]
    empty: Float[Tensor, "b 0"]  # its shape carries the mini-batch
    eta: Float[Tensor, ""]
    momentum: Float[Tensor, ""]
    init_scale: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    key: Int[Tensor, ""]
    k: Int[Tensor, ""]  # steps taken
    budget: Int[Tensor, ""]


def check(cell: Cell) -> None:
    """ValueError or OSError when the images of this cell are not there, or too few."""
    if cell.n + cell.test > (most := len(_images.of(cell.data)[1])):
        raise ValueError(f"n + test = {cell.n + cell.test}, but {cell.data} has {most} images")


def draw(cell: Cell) -> State:
    check(cell)
    rng = generator("unit_capacity", cell.m, cell.n, cell.test, cell.data, cell.seed)
    split = int(torch.randint(2**62, (), generator=rng))
    images, labels = _images.chosen(cell.data, cell.n + cell.test, split)
    X, Y = images.flatten(1), torch.eye(CLASSES, dtype=torch.float64)[labels]
    U0 = cell.init_scale / math.sqrt(X.shape[1]) * symmetric(rng, cell.m, X.shape[1])
    V0 = cell.init_scale / math.sqrt(cell.m) * symmetric(rng, CLASSES, cell.m)
    batch = min(cell.batch, cell.n)
    real = [X[: cell.n], Y[: cell.n], X[cell.n :], Y[cell.n :], U0, V0, U0, V0, 0 * U0, 0 * V0, torch.zeros(batch, 0)]
    real += torch.tensor([cell.step_size, cell.momentum, cell.init_scale, cell.tolerance], dtype=torch.float64)
    whole = torch.tensor([0, cell.budget * -(-cell.n // batch)])
    return State(*[*(x.to(getattr(torch, cell.dtype)) for x in real), key(rng), *whole])


def step(s: State) -> State:
    """One mini-batch of eq. (3)."""
    X, Y, share = mini_batch(s)
    Z = X @ s.U.T
    H = Z.clamp(min=0)
    D = ((H @ s.V.T).log_softmax(-1).exp() - Y) * share[:, None]  # dL_B/df
    U_momentum = s.momentum * s.U_momentum + torch.where(Z > 0, D @ s.V, 0.0).T @ X
    V_momentum = s.momentum * s.V_momentum + D.T @ H
    U, V = s.U - s.eta * U_momentum, s.V - s.eta * V_momentum
    return s._replace(U=U, V=V, U_momentum=U_momentum, V_momentum=V_momentum, k=s.k + 1)


def mini_batch(s: State) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b c"], Float[Tensor, " b"]]:
    """Images and labels of step k, and the share of each in the batch's loss."""
    n, b = s.X.shape[0], s.empty.shape[0]
    each = -(-n // b)  # batches an epoch
    order = uniform(s.key, s.k // each, n).argsort(stable=True)
    place = s.k % each * b + torch.arange(b, device=s.k.device)
    inside = (place < n).to(s.X.dtype)
    chosen = order.gather(0, place.clamp(max=n - 1))
    return s.X[chosen], s.Y[chosen], inside / inside.sum()


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    f = output(s.X, s.U, s.V)
    return {"loss": cross_entropy(f, s.Y), "train_error": error(f, s.Y)}


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    """In float64, whatever the training's precision."""
    X, U, V, U0, V0 = (x.double() for x in (s.X, s.U, s.V, s.U0, s.V0))
    n, root = len(X), math.sqrt(len(U))
    gamma = margin(output(X, U, V), s.Y.double())
    beta, alpha = rows(U - U0), rows(V.T)
    table = table_1(U, V, U0, V0)
    over = 1 / positive(gamma)
    factor = (2 * math.sqrt(2 * V.shape[0]) + 2) * over / n
    Z0 = X @ U0.T
    data = (frobenius(Z0.clamp(min=0)) + frobenius(U - U0) * frobenius(X)) / math.sqrt(n)
    return {
        "test_error": error(output(s.X_test, s.U, s.V), s.Y_test),
        "epochs": s.k.double() / -(-n // s.empty.shape[0]),
        "margin": gamma,
        "unit_capacity": beta.mean(),
        "unit_impact": alpha.mean(),
        "distance_U": frobenius(U - U0),
        "distance_V": frobenius(V - V0),
        "norm_U": frobenius(U),
        "norm_V": frobenius(V),
        **table,
        **{f"{name}_margin": value * over for name, value in table.items()},
        "theirs": table["leading"] + root,
        "theirs_margin": table["leading"] * over + root,
        "capacity": capacity(V, data, gamma, n),
        "theorem_units": factor * (alpha * (beta * frobenius(X) + rows(Z0.T))).sum(),
        "theorem_norms": factor * frobenius(V) * (frobenius(U - U0) * frobenius(X) + frobenius(Z0)),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    (m, d), scale = s.U0.shape, s.init_scale.double()
    return {
        "vc": torch.ones_like(scale) * (d * m),
        "norm_U0": frobenius(s.U0.double()),
        "norm_V0": frobenius(s.V0.double()),
        "norm_U0_limit": scale * math.sqrt(m / 3),
        "norm_V0_limit": scale * math.sqrt(CLASSES / 3),
    }


def solved(s: State) -> Bool[Tensor, ""]:
    return cross_entropy(output(s.X, s.U, s.V), s.Y) <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return s.budget


def output(X: Float[Tensor, "n d"], U: Float[Tensor, "m d"], V: Float[Tensor, "c m"]) -> Float[Tensor, "n c"]:
    """Eq. (1)."""
    return (X @ U.T).clamp(min=0) @ V.T


def cross_entropy(f: Float[Tensor, "n c"], Y: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    return -(f.log_softmax(-1) * Y).sum(-1).mean()


def error(f: Float[Tensor, "n c"], Y: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    return (f.argmax(-1) != Y.argmax(-1)).double().mean()


def margin(f: Float[Tensor, "n c"], Y: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Eq. (5), between two margins linearly. (torch.quantile is slow when stacked.)"""
    margins = ((f * Y).sum(-1) - torch.where(Y > 0, -torch.inf, f).amax(-1)).sort().values
    low = math.floor(place := 0.05 * (len(margins) - 1))
    high = min(low + 1, len(margins) - 1)
    return margins[low] + (place - low) * (margins[high] - margins[low])


def table_1(
    U: Float[Tensor, "m d"], V: Float[Tensor, "c m"], U0: Float[Tensor, "m d"], V0: Float[Tensor, "c m"]
) -> dict[str, Float[Tensor, ""]]:
    """Eqs. (9) to (12), and (13) without its sqrt(m)."""
    dU, dV, U_2, V_2 = U - U0, V - V0, spectral(U), spectral(V)
    return {
        "l1": U.abs().sum(-1).max() * V.abs().sum(-1).max(),
        "frobenius": frobenius(U) * frobenius(V),
        "spectral_l1": U_2 * rows(dV).sum() + rows(dU).sum() * V_2,
        "spectral_frobenius": U_2 * frobenius(dV) + math.sqrt(U.shape[0]) * frobenius(dU) * V_2,
        "leading": (spectral(U0) + frobenius(dU)) * frobenius(V),
    }


def capacity(V: Float[Tensor, "c m"], data: Float[Tensor, ""], gamma: Float[Tensor, ""], n: int) -> Float[Tensor, ""]:
    """Eq. (14); data: sqrt(mean|relu(U0 x)|^2) + |U - U0|_F sqrt(mean|x|^2)."""
    (c, m), delta = V.shape, 0.01
    R = 3 * math.sqrt(2) * (math.sqrt(2 * c) + 1) * (frobenius(V) + 1) * (data + 1) / positive(gamma)
    return (R + 3 * (5 * m + ((gamma * math.sqrt(n)).clamp(min=1) / delta).log()).sqrt()).square()


def positive(x: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """x, or NaN unless x > 0."""
    return torch.where(x > 0, x, torch.nan)


def rows(A: Float[Tensor, "a b"]) -> Float[Tensor, " a"]:
    """2-norms of the rows."""
    return A.square().sum(-1).sqrt()


def frobenius(A: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    return A.square().sum((-2, -1)).sqrt()


def spectral(A: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    """Spectral norm, by the smaller of the two Gram matrices."""
    gram = A @ A.T if A.shape[0] < A.shape[1] else A.T @ A
    return torch.linalg.eigvalsh(gram)[-1].sqrt()


def symmetric(rng: torch.Generator, *shape: int) -> Tensor:
    """Uniform on [-1, 1)."""
    return 2 * torch.rand(*shape, generator=rng, dtype=torch.float64) - 1
