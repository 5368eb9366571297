"""Ends of the spectrum of symmetric matrices: by LAPACK on a CPU. On a GPU, whose solver takes large matrices one after
the other, by products of a batch.

Of the 2^k-th power of S the largest row sum (of magnitudes) is the spectral norm to the 2^k times at most sqrt(n): at
k = 48 its root is the spectral norm to rounding. What a squaring rounds is halved by each that follows.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SQUARINGS = 48
BATCHED = 32  # rows up to which a GPU's solver takes a batch at once
UNSCALED = 4  # squarings in a row: a norm of at least n^(-1/2) falls to n^-8


def eigenvalues(S: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Ascending; torch.linalg.eigvalsh under vmap computes vectors too, at twice the cost."""
    values: Tensor = torch.ops.aten._linalg_eigh(S, compute_v=False)[0]
    return values


def spectral_norm(S: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """On a CPU, to 6 digits: float32 takes half the time there."""
    return eigenvalues(S.float()).abs().max().to(S.dtype)


def ends(
    lows: Sequence[Float[Tensor, "n n"]], others: Sequence[Float[Tensor, "n n"]]
) -> tuple[list[Float[Tensor, ""]], list[Float[Tensor, ""]]]:
    """The smallest eigenvalue of each of ``lows``, and the spectral norm of each of ``others``; all of one shape."""
    if not others[0].is_cuda or len(others[0]) <= BATCHED:
        return [eigenvalues(S)[0] for S in lows], [spectral_norm(S) for S in others]
    return ends_by_squaring(lows, others)


def extremes(S: Float[Tensor, "n n"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Smallest and largest eigenvalue of a matrix without negative ones."""
    if S.is_cuda:
        (smallest,), (largest,) = ends_by_squaring([S], [S])
        return smallest, largest
    values = torch.linalg.eigvalsh(S)
    return values[0], values[-1]


def ends_by_squaring(
    lows: Sequence[Float[Tensor, "... n n"]], others: Sequence[Float[Tensor, "... n n"]]
) -> tuple[list[Float[Tensor, "..."]], list[Float[Tensor, "..."]]]:
    """``ends`` in float64, of stacks too. The smallest eigenvalue of S is c - |cI - S| for a c no smaller than |S|."""
    tops, one = [row_sum(S.double()) for S in lows], [*lows, *others][0]
    eye = torch.eye(one.shape[-1], dtype=torch.float64, device=one.device)
    below = [eye - S.double() / c[..., None, None] for S, c in zip(lows, tops, strict=True)]
    logs = log_norm(torch.stack([*below, *(S.double() for S in others)])).unbind()
    smallest = [(-c * torch.expm1(log)).to(S.dtype) for S, c, log in zip(lows, tops, logs[: len(lows)], strict=True)]
    return smallest, [log.exp().to(S.dtype) for S, log in zip(others, logs[len(lows) :], strict=True)]


def log_norm(S: Float[Tensor, "... n n"]) -> Float[Tensor, "..."]:
    """Logarithm of the spectral norm, by squaring; for 0 so small that its exponential is."""
    size = row_sum(S)
    total = size.log()
    for k in range(UNSCALED, SQUARINGS + 1, UNSCALED):
        S = S / size[..., None, None]
        for _ in range(UNSCALED):
            S = S @ S
        size = row_sum(S)
        total = total + size.log() / 2**k
    return total


def row_sum(S: Float[Tensor, "... n n"]) -> Float[Tensor, "..."]:
    """The largest sum of the magnitudes of a row, at least the smallest number that one can divide by."""
    return S.abs().sum(-1).amax(-1).clamp(min=torch.finfo(S.dtype).tiny)
