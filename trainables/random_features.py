"""Random ReLU features with a trained last layer: the known answer, m*(n) = n.

The same inputs, labels and first layer as Du et al. 2018 (arXiv 1810.02054), but only the last layer is trained, by an
exact least-squares solve in float64:

    (1)  f(x) = m^{-1/2} sum_r theta_r relu(w_r . x)      w_r ~ N(0, init_scale^2 I_d) fixed
    (2)  theta = argmin |Phi theta - y|^2,                 Phi_ir = m^{-1/2} relu(w_r . x_i)

Phi is n x m and almost surely of full rank (for inputs in general position and enough units that none is dead), so the
labels, drawn from a continuous law, are interpolated iff m >= n: m*(n) = n exactly, exponent p = 1 [derived]. The whole
pipeline is calibrated on it. One "step" is the solve; a training takes exactly one.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import axis, claim, generator

VERSION = "1"
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
    "critical_width": ("width from which the labels are interpolated: n, exactly", "units"),
}

_RANK = ("inputs in general position, no dead unit", "labels from a continuous law", "last layer solved exactly")

# fmt: off
CLAIMS = (
    claim(
        "enough features interpolate",
        "m ≥ n random features interpolate n labels",
        ("rank of the n × m feature matrix", "", "almost surely min(n, m)"), "derived", "sufficient", "n",
        critical="m", exponent=1.0, bound="critical_width", constant=1.0, hypotheses=_RANK,
    ),
    claim(
        "fewer features do not",
        "m < n random features do not interpolate n labels: m* = n exactly",
        ("rank of the n × m feature matrix", "", "almost surely min(n, m)"), "derived", "necessary", "n",
        critical="m", exponent=1.0, bound="critical_width", constant=1.0, hypotheses=_RANK,
    ),
)
# fmt: on


class State(NamedTuple):
    Phi: Float[Tensor, "n m"]
    y: Float[Tensor, " n"]
    r: Float[Tensor, " n"]  # residual Phi theta - y; -y before the solve
    tolerance: Float[Tensor, ""]


def draw(cell: Cell) -> State:
    rng = generator("random_features", cell.n, cell.m, cell.d, cell.seed)
    normal = {"generator": rng, "dtype": torch.float64}
    X = torch.nn.functional.normalize(torch.randn(cell.n, cell.d, **normal), dim=-1)
    W = cell.init_scale * torch.randn(cell.m, cell.d, **normal)
    y = torch.randn(cell.n, **normal)
    Phi = (X @ W.T).clamp(min=0) / math.sqrt(cell.m)
    return State(Phi, y, -y, torch.tensor(cell.tolerance, dtype=torch.float64))


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
    return {"critical_width": torch.ones_like(s.tolerance) * s.y.shape[0]}


def solved(s: State) -> Bool[Tensor, ""]:
    return (s.r**2).mean() <= s.tolerance


def budget(s: State) -> Int[Tensor, ""]:
    return torch.ones_like(s.tolerance, dtype=torch.int64)


def rank_cutoff(Phi: Float[Tensor, "n m"], sigma: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """Singular values at or below max(n, m) eps sigma_max count as zero (the usual float64 convention)."""
    return max(Phi.shape) * torch.finfo(Phi.dtype).eps * sigma.max()
