"""Ends of a spectrum by squaring, against LAPACK. A GPU takes them in place of its solver; here they run on the CPU."""

import pytest
import torch
from torch.func import vmap

from trainables import _spectrum as spectrum

EPS = torch.finfo(torch.float64).eps
SPECTRA = {
    "of both signs": lambda n, rng: torch.randn(n, generator=rng, dtype=torch.float64),
    "over twelve decades": lambda n, _: torch.logspace(-12, 0, n, dtype=torch.float64),
    "close together": lambda n, rng: 1 + 1e-9 * torch.randn(n, generator=rng, dtype=torch.float64),
    "negative": lambda n, rng: -torch.rand(n, generator=rng, dtype=torch.float64),
    "huge": lambda n, rng: 1e200 * torch.rand(n, generator=rng, dtype=torch.float64),
    "tiny": lambda n, rng: 1e-200 * torch.rand(n, generator=rng, dtype=torch.float64),
}


def symmetric(values, rng):
    """A matrix with these eigenvalues, to rounding."""
    Q = torch.linalg.qr(torch.randn(len(values), len(values), generator=rng, dtype=torch.float64)).Q
    S = (Q * values) @ Q.T
    return (S + S.T) / 2


@pytest.mark.parametrize("n", [1, 2, 33, 200])
@pytest.mark.parametrize("kind", SPECTRA)
def test_both_ends_are_lapacks_to_rounding(kind, n):
    """Both are off by some n units in the last place of a bound on the norm; the norm's logarithm may be 460."""
    rng = torch.Generator().manual_seed(n)
    stack = torch.stack([symmetric(SPECTRA[kind](n, rng), rng) for _ in range(3)])
    (smallest,), (norm,) = vmap(lambda S: spectrum.ends_by_squaring([S], [S]))(stack)
    expected = torch.linalg.eigvalsh(stack)
    allowed = (2 * n + 20) * EPS * spectrum.row_sum(stack)
    assert ((smallest - expected[:, 0]).abs() <= allowed).all()
    assert ((norm - expected.abs().amax(-1)).abs() <= allowed + 2 * 460 * EPS * norm).all()


def test_ends_of_zero_are_zero_and_of_one_number_itself():
    zero, one = torch.zeros(40, 40, dtype=torch.float64), torch.tensor([[-3.0]], dtype=torch.float64)
    assert spectrum.ends_by_squaring([zero], [zero])[0][0] == 0
    assert spectrum.ends_by_squaring([zero], [zero])[1][0] < 1e-300
    assert spectrum.ends_by_squaring([one], [])[0][0] == pytest.approx(-3, rel=1e-14)
    assert spectrum.ends_by_squaring([], [one])[1][0] == pytest.approx(3, rel=1e-14)


def test_what_is_not_a_number_stays_so():
    S = torch.full((40, 40), torch.nan, dtype=torch.float64)
    (smallest,), (norm,) = spectrum.ends_by_squaring([S], [S])
    assert smallest.isnan() and norm.isnan()


def test_float32_is_worked_on_in_float64():
    S = symmetric(torch.logspace(-6, 0, 50, dtype=torch.float64), torch.Generator().manual_seed(1)).float()
    (smallest,), (norm,) = spectrum.ends_by_squaring([S], [S])
    expected = torch.linalg.eigvalsh(S.double())
    assert smallest.dtype == norm.dtype == torch.float32
    assert smallest.item() == pytest.approx(expected[0].item(), rel=1e-6)
    assert norm.item() == pytest.approx(expected[-1].item(), rel=1e-6)


def test_on_a_cpu_both_ends_are_lapacks_own():
    rng = torch.Generator().manual_seed(2)
    S, T = (symmetric(torch.rand(20, generator=rng, dtype=torch.float64), rng) for _ in range(2))
    (smallest,), (norm,) = spectrum.ends([S], [T])
    assert smallest == torch.linalg.eigvalsh(S)[0]
    assert norm.item() == pytest.approx(torch.linalg.eigvalsh(T).abs().max().item(), rel=1e-6)  # found in float32
    assert spectrum.ends([], [T]) == ([], [norm])
    assert spectrum.extremes(S) == (torch.linalg.eigvalsh(S)[0], torch.linalg.eigvalsh(S)[-1])
