"""Random ReLU features with a trained last layer: the known answer, m*(n) = n.

Du, Zhai, Poczos, Singh 2018, Gradient descent provably optimizes over-parameterized neural networks, arXiv 1810.02054.

The same inputs, labels and first layer, but only the last layer is trained, by an exact least-squares solve in float64:

    (1)  f(x) = m^{-1/2} sum_r theta_r relu(w_r . x)      w_r ~ N(0, init_scale^2 I_d) fixed
    (2)  theta = argmin |Phi theta - y|^2,                 Phi_ir = m^{-1/2} relu(w_r . x_i)

Phi is n x m: for m < n labels from a continuous law are almost surely not interpolated. For m >= n they are iff Phi has
rank n, which the pattern of active units, A_ir = [w_r . x_i > 0], decides: almost surely rank Phi is the generic rank
of (X W^T) o A, the largest over all X and W of these shapes [derived]. Some patterns forbid rank n though m >= n, by a
sample that no unit sees, by more than d samples that the same units see; or by a dead unit, two units that see one
sample alone, more than d units that see the same samples, where no others are to spare. Share of draws so lost at
m = n, in %:

    n           8     16    32    64
    d = 2       72    97    100
    d = 3       19    7     5     3
    d = 16      8     0.2   0     0

(d = 3, n = 8: 9 at m = 9, 0.2 at m = 16.) So for d >= 3 most draws at m = n interpolate: m*(n) = n exactly, at level
1/2, exponent p = 1, and the whole pipeline is calibrated on it. For d = 2 m* lies above n. Conditioning plays no part:
singular values are below 1e-15 of the largest beyond the generic rank, above 1e-11 within it.

One "step" is the solve; a training takes exactly one.

Differences from the paper: only the last layer is trained, and by one solve in place of gradient descent; labels are
N(0, 1) alone, inputs and labels have no noise. So the claims are those of linear algebra, none of the paper's.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import axis, claim, generator

VERSION = "2"
SHAPE = ("n", "m", "d")


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, random features", "units")
    n: int = axis("samples", "samples")
    d: int = axis("input dimension", "coordinates", 16)
    init_scale: float = axis("standard deviation of each first-layer weight", "1", 1.0, knob=True)
    tolerance: float = axis(
        "interpolation means a mean squared residual of at most this", "|y|^2", 1e-12, positive=True
    )
    seed: int = axis("seed of data, labels and features", "1", 0)


SMALL = Cell(m=12, n=10, d=4)

CRITERION = "mean squared residual of the least-squares solution at most `tolerance`"

COLUMNS = {
    "loss": ("1/2 sum of squared residuals", "|y|^2"),
    "mean_squared_residual": ("(1/n) sum of squared residuals", "|y|^2"),
    "sigma_max": ("largest singular value of Phi, eq. (2)", "1"),
    "sigma_min": ("smallest of the min(n, m) singular values of Phi", "1"),
    "rank": ("numerical rank of Phi: singular values above max(n, m) eps sigma_max", "1"),
    "critical_width": (
        "width below which the labels are not interpolated, and from which a full pattern is: n",
        "units",
    ),
    "full_pattern": ("1 where almost all X, W of these shapes with these active units have rank n, else 0", "1"),
}

_SOLVE = ("labels from a continuous law", "last layer solved exactly")

# fmt: off
CLAIMS = (
    claim(
        "enough features interpolate",
        "m ≥ n random features interpolate n labels, where the pattern of active units allows rank n",
        ("rank of the n × m feature matrix", "", "almost surely the generic rank of its pattern"), "derived",
        "sufficient", "n", critical="m", exponent=1.0, bound="critical_width", constant=1.0, met="full_pattern",
        hypotheses=("the pattern of active units allows rank n", *_SOLVE),
    ),
    claim(
        "fewer features do not",
        "m < n random features do not interpolate n labels: m* = n where most patterns at m = n allow rank n",
        ("rank of the n × m feature matrix", "", "at most min(n, m)"), "derived", "necessary", "n",
        critical="m", exponent=1.0, bound="critical_width", constant=1.0, hypotheses=_SOLVE,
    ),
)
# fmt: on


class State(NamedTuple):
    Phi: Float[Tensor, "n m"]
    y: Float[Tensor, " n"]
    r: Float[Tensor, " n"]  # residual Phi theta - y; -y before the solve
    tolerance: Float[Tensor, ""]
    full_pattern: Float[Tensor, ""]  # 1 or 0


def draw(cell: Cell) -> State:
    rng = generator("random_features", cell.n, cell.m, cell.d, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    X = torch.nn.functional.normalize(torch.randn(cell.n, cell.d, **normal), dim=-1)
    W = cell.init_scale * torch.randn(cell.m, cell.d, **normal)
    y = torch.randn(cell.n, **normal)
    Phi = (X @ W.T).clamp(min=0) / math.sqrt(cell.m)
    full = cell.m >= cell.n and generic_rank(Phi > 0, cell.d, rng) == cell.n
    return State(Phi, y, -y, torch.tensor(cell.tolerance, dtype=torch.float64), torch.tensor(full, dtype=torch.float64))


def step(s: State) -> State:
    """The solve, eq. (2): r = -(I - U U^T) y with U the left singular vectors within the numerical rank."""
    U, sigma, _ = torch.linalg.svd(s.Phi, full_matrices=False)
    U = U * (sigma > rank_cutoff(s.Phi, sigma))
    fitted = (U * (U * s.y[:, None]).sum(0)).sum(-1)
    return s._replace(r=fitted - s.y)


def observe(s: State) -> dict[str, Float[Tensor, ""]]:
    return {"loss": (s.r**2).sum() / 2}


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    sigma = torch.linalg.svdvals(s.Phi)
    return {
        "mean_squared_residual": (s.r**2).mean(),
        "sigma_max": sigma.max(),
        "sigma_min": sigma.min(),
        "rank": (sigma > rank_cutoff(s.Phi, sigma)).sum().to(torch.float64),
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    return {"critical_width": torch.ones_like(s.tolerance) * s.y.shape[0], "full_pattern": s.full_pattern}


def solved(s: State) -> Bool[Tensor, ""]:
    return (s.r**2).mean() <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return torch.ones_like(s.tolerance, dtype=torch.int64)


def generic_rank(A: Bool[Tensor, "n m"], d: int, rng: torch.Generator) -> int:
    """Rank of (X W^T) o A for almost all X (n, d) and W (m, d): that of one draw of them, unrelated to the inputs."""
    X, W = (torch.randn(rows, d, generator=rng, dtype=torch.float64) for rows in A.shape)
    Psi = (X @ W.T) * A
    sigma = torch.linalg.svdvals(Psi)
    return int((sigma > rank_cutoff(Psi, sigma)).sum())


def rank_cutoff(Phi: Float[Tensor, "n m"], sigma: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Singular values at or below max(n, m) eps sigma_max count as zero (the usual float64 convention)."""
    return max(Phi.shape) * torch.finfo(Phi.dtype).eps * sigma.max()
