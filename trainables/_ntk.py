"""Two-point moments of the activation tanh under a Gaussian, by its Hermite series."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_G = torch.arange(-520, 521, dtype=torch.float64) / 40  # tanh is analytic for |Im g| < pi/2: the trapezoidal rule is
_WEIGHT = torch.exp(-_G * _G / 2) / (40 * math.sqrt(2 * math.pi))  # exact to rounding, also at the ends, 13 deviations
TERMS = 100  # the coefficients' squares fall as exp(-pi sqrt(k / q)), q the variance: 1e-13 at the end


def _hermite(terms: int) -> Float[Tensor, "terms g"]:
    """Weighted Hermite polynomials h_k, orthonormal under N(0, 1), at the nodes."""
    h = [torch.ones_like(_G), _G]
    for k in range(1, terms - 1):
        h.append((_G * h[k] - math.sqrt(k) * h[k - 1]) / math.sqrt(k + 1))
    return torch.stack(h) * _WEIGHT


_HERMITE = _hermite(TERMS)


def second_moment() -> float:
    """E tanh(g)^2, g ~ N(0, 1)."""
    return float((_WEIGHT * _G.tanh().square()).sum())


def moments(S: Float[Tensor, "n n"]) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """E tanh(u) tanh(v) and E tanh'(u) tanh'(v), entry by entry, for (u, v) Gaussian of mean 0 with covariance S.

    All variances, S's diagonal, must be one number q. With tanh(sqrt(q) g) = sum_k c_k h_k(g) and rho = S / q the first
    is sum_k c_k^2 rho^k, and the second its derivative in S (Price's theorem).
    """
    q = float(S.diagonal().mean())
    if not torch.allclose(S.diagonal(), torch.full_like(S.diagonal(), q), rtol=1e-9, atol=0):
        raise ValueError("the variances differ")
    squares = ((_HERMITE * (math.sqrt(q) * _G).tanh()).sum(-1).square()).tolist()
    rho = (S / q).clamp(-1, 1)
    values, slopes = torch.zeros_like(S), torch.zeros_like(S)
    for square in reversed(squares):  # Horner's rule, with its derivative
        slopes = slopes * rho + values
        values = values * rho + square
    return values, slopes / q
