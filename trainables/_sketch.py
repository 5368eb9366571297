"""A short linear image of a network's weights, for maps of whole trainings by multidimensional scaling.

A count sketch (Charikar, Chen, Farach-Colton 2002): every weight gets a random sign and goes into one of ``size`` sums.
With signs and sums the same in every training, the inner product of two images is unbiased for that of the weights
a and b, with variance at most (|a|^2 |b|^2 + (a.b)^2) / size.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trainables import uniform


def sketch(layers: Sequence[Float[Tensor, "..."]], size: int) -> Float[Tensor, " s"]:
    """The images of the layers, ``size`` numbers each, one after the other: inner products add up over layers."""
    parts = []
    for i, W in enumerate(layers):
        order, signs = hashing(i, W.numel())
        signed = W.flatten()[order.to(W.device)] * signs.to(W)
        parts.append(torch.nn.functional.pad(signed, (0, -W.numel() % size)).reshape(-1, size).sum(0))
    return torch.cat(parts)


@lru_cache(maxsize=64)
def hashing(layer: int, weights: int) -> tuple[Int[Tensor, " p"], Float[Tensor, " p"]]:
    """The order in which a layer's weights are dealt to the sums in turn, and their signs."""
    u = uniform(torch.tensor(layer), torch.tensor(0), 2, weights)
    return u[0].argsort(), torch.where(u[1] < 0.5, -1.0, 1.0)
