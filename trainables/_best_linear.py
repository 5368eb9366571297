"""Losses of resnet_vs_linear, and the linear predictor that is best for them, in a ball or without one."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def sample_loss(h: Float[Tensor, " b"], y: Float[Tensor, " b"], logistic: Bool[Tensor, ""]) -> Float[Tensor, " b"]:
    """l(h, y) of each sample."""
    return torch.where(logistic, -torch.nn.functional.logsigmoid(y * h), (h - y).square() / 2)


def slope(h: Float[Tensor, " b"], y: Float[Tensor, " b"], logistic: Bool[Tensor, ""]) -> Float[Tensor, " b"]:
    """dl/dh of each sample."""
    return torch.where(logistic, -y * torch.nn.functional.logsigmoid(-y * h).exp(), h - y)


def linear_loss(
    X: Float[Tensor, "n d"], y: Float[Tensor, " n"], logistic: Bool[Tensor, ""], u: Float[Tensor, " d"]
) -> Float[Tensor, ""]:
    """F_lin(u) = (1/n) sum_i l(u . x_i, y_i)."""
    return sample_loss(X @ u, y, logistic).mean()


def best_linear(
    X: Float[Tensor, "n d"], y: Float[Tensor, " n"], logistic: Bool[Tensor, ""], radius: float = math.inf
) -> Float[Tensor, " d"]:
    """Minimiser of F_lin over |u| <= radius. ValueError when there is none: classes that a linear predictor separates.

    Where the unconstrained one lies outside the ball, it minimises F_lin + mu |u|^2 / 2 with the mu that puts it on
    the sphere; Newton's method on 1 / |u(mu)| = 1 / radius (Hebden 1973), which is nearly linear in mu, finds it.
    """
    u, mu = torch.zeros(X.shape[1], dtype=X.dtype), 0.0 if radius == math.inf else 1e-9
    for _ in range(100):
        u, H = newton(X, y, logistic, u, mu)
        size = float(u.norm())
        if size <= radius * (1 + 1e-13) and (mu <= 1e-9 or size >= radius * (1 - 1e-9)):
            return u
        mu = max(1e-9, mu + (size - radius) / radius * size * size / float(u @ torch.linalg.solve(H, u)))
    return u * min(1.0, radius / size)


def newton(
    X: Float[Tensor, "n d"], y: Float[Tensor, " n"], logistic: Bool[Tensor, ""], u: Float[Tensor, " d"], mu: float
) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Minimiser of F_lin + mu |u|^2 / 2 and the Hessian there, by Newton's method with halved steps, started at u."""

    def objective(u: Float[Tensor, " d"]) -> Float[Tensor, ""]:
        return linear_loss(X, y, logistic, u) + mu * u.square().sum() / 2

    n, d = X.shape
    eye = torch.eye(d, dtype=X.dtype)
    for _ in range(100):
        slopes = slope(X @ u, y, logistic)
        curvature = torch.where(logistic, slopes.abs() * (1 - slopes.abs()), 1.0)
        H = X.T @ (curvature[:, None] * X) / n + mu * eye
        down = torch.linalg.solve(H, -(X.T @ slopes / n + mu * u))
        t, now = 1.0, objective(u)
        while objective(u + t * down) > now and t > 1e-8:
            t /= 2
        if t <= 1e-8 or down.norm() <= 1e-10 * (1 + u.norm()):
            break
        u = u + t * down
        if mu == 0 and logistic and (y * (X @ u) > 0).all():
            raise ValueError("a linear predictor separates the classes: no best one; take more samples or noise")
    return u, H
