"""Of straight_through: directions and their angles; the chances of its eqs. (10) and (11)."""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import betainc
from torch import Tensor

Vector = Float[Tensor, " n"]


def chance_spurious(m: int) -> float:
    """Eq. (10)."""
    return float(betainc(1 / 2, (m - 1) / 2, (m + 1) / (2 * m)))


@cache
def chance(m: int, d: int) -> float:
    """Chance of eq. (11): the Beta law of theta(0), averaged over c by Gauss and Legendre.

    c = m cos(psi)^2 with density ~ sin(psi)^(m - 2); from c = (m + 1)/2 on every start succeeds.
    """
    x, weight = np.polynomial.legendre.leggauss(400)
    low, high = math.acos(math.sqrt((m + 1) / (2 * m))), math.pi / 2
    psi = low + (high - low) * (x + 1) / 2
    c = m * np.cos(psi) ** 2
    critical = math.pi / 2 * (1 + c / (m + 1 - c))
    law = betainc((d - 1) / 2, (d - 1) / 2, (1 - np.cos(critical)) / 2)
    density = np.sin(psi) ** (m - 2) * 2 / math.exp(math.lgamma(1 / 2) + math.lgamma((m - 1) / 2) - math.lgamma(m / 2))
    return 1 - chance_spurious(m) + float((weight * law * density).sum() * (high - low) / 2)


def angle(u: Vector, w_star: Vector) -> Float[Tensor, ""]:
    """Angle between unit vectors; exact to rounding near 0 and pi, where arccos is not. (atan2 would round by lane.)"""
    return 2 * (norm(u - w_star) / norm(u + w_star)).atan()


def normal_cdf(x: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def dot(x: Vector, y: Vector) -> Float[Tensor, ""]:
    return (x * y).sum(-1)


def norm(x: Vector) -> Float[Tensor, ""]:
    return dot(x, x).sqrt()


def unit(x: Vector) -> Vector:
    return x / norm(x).clamp(min=1e-300)
