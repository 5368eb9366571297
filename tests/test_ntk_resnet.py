"""Li, Luo, Yip 2020: gradients, the tangent kernel, its infinite-width limit, drift over width."""

import math
from dataclasses import replace

import pytest
import torch
from training import seeds, trained

from trainables import _ntk
from trainables import ntk_resnet as ntk

CELL = ntk.Cell(m=9, n=5, d=4, depth=3)
NETS = pytest.mark.parametrize("net", ["resnet", "fully_connected"])


def stepped(state, steps):
    for _ in range(steps):
        state = ntk.step(state)
    return state


def f(net, c_res, X, first, hidden, a):
    """Eqs. (1) to (4) written out plainly."""
    m, depth = len(a), len(hidden) + 1
    x = math.sqrt(2.5361754332174535 / m) * torch.tanh(X @ first.T)
    for W in hidden:
        branch = torch.tanh(x @ W.T)
        if net == "resnet":
            x = x + c_res / (depth * math.sqrt(m)) * branch
        else:
            x = math.sqrt(2.5361754332174535 / m) * branch
    return x @ a


def tangent_kernel(net, c_res, s):
    leaves = (s.first, s.hidden, s.a)
    jacobian = torch.autograd.functional.jacobian(lambda *w: f(net, c_res, s.X, *w), leaves)
    J = torch.cat([part.flatten(1) for part in jacobian], 1)
    return J @ J.T


@NETS
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_step_is_the_gradient_of_the_loss(net, depth):
    s = stepped(ntk.draw(replace(CELL, net=net, depth=depth, c_res=0.7)), 3)
    leaves = [w.clone().requires_grad_() for w in (s.first, s.hidden, s.a)]
    loss = (f(net, 0.7, s.X, *leaves) - s.y).square().sum() / (2 * CELL.n)
    parts = torch.autograd.grad(loss, leaves, allow_unused=depth == 1)
    after = ntk.step(s)
    for name, part in zip(("first", "hidden", "a"), parts, strict=True):
        if part is None:
            continue  # W_2 .. W_L of one layer
        torch.testing.assert_close(getattr(after, name), getattr(s, name) - s.eta * part, rtol=1e-12, atol=1e-14)
        assert part.abs().max() > 1e-3, name
    torch.testing.assert_close(ntk.observe(s)["loss"], loss.detach(), rtol=1e-12, atol=0)
    eigenvalues = torch.linalg.eigvalsh(s.Kinf)
    torch.testing.assert_close(s.eta, CELL.step_size * CELL.n / eigenvalues[-1], rtol=1e-12, atol=0)
    assert int(s.budget) == math.ceil(20 * CELL.n / float(s.eta * eigenvalues[0]))


@NETS
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_kernel_is_the_jacobians_product(net, depth):
    first = ntk.draw(replace(CELL, net=net, depth=depth))
    for s in (first, stepped(first, 20)):
        torch.testing.assert_close(ntk.kernel(s.X, s.H, s.D), tangent_kernel(net, 0.5, s), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(first.K0, tangent_kernel(net, 0.5, first), rtol=1e-12, atol=1e-12)


@NETS
def test_a_small_step_moves_the_outputs_by_the_kernel(net):
    """dr = -eta/n K r, with an error of order eta^2: a tenth of the step, a hundredth of the error."""
    errors = []
    for step_size in (1e-3, 1e-4):
        s = ntk.draw(replace(CELL, net=net, step_size=step_size))
        predicted = -s.eta / CELL.n * s.K0 @ s.r
        errors.append(float((ntk.step(s).r - s.r - predicted).norm()))
    assert 80 < errors[0] / errors[1] < 120


@NETS
def test_extremes_are_those_of_every_step(net):
    """Against kernels by autograd after each of 30 steps, from a narrow net whose kernel moves to and fro."""
    s = ntk.draw(replace(CELL, net=net, m=4, seed=3))
    K0 = tangent_kernel(net, 0.5, s)
    low0, drifts, ratios = torch.linalg.eigvalsh(K0)[0], [0.0], [1.0]
    for _ in range(30):
        s = ntk.step(s)
        K = tangent_kernel(net, 0.5, s)
        drifts.append(float((K - K0).abs().max()))
        ratios.append(float(torch.linalg.eigvalsh(K)[0] / low0))
        seen = ntk.observe(s)
        assert float(seen["drift_max"]) == pytest.approx(max(drifts), rel=1e-10)
        assert float(seen["lambda_ratio"]) == pytest.approx(min(ratios), rel=1e-8)
    assert ratios[-1] > min(ratios) or drifts[-1] < max(drifts), "no extreme was passed: the test would say little"
    told = ntk.measure(s)
    expected = {
        "mean_squared_residual": 2 * seen["loss"],
        "drift_relative": max(drifts) / K0.abs().max(),
        "init_gap": (K0 - s.Kinf).abs().max(),
        "init_gap_spectral": torch.linalg.matrix_norm(K0 - s.Kinf, 2),
        "lambda_min_init": low0,
        "lambda_min_end": torch.linalg.eigvalsh(K)[0],
    }
    for name, value in expected.items():
        assert float(told[name]) == pytest.approx(float(value), rel=1e-8), name


def test_moments_are_the_integrals():
    """Against a product rule on 401 x 401 nodes of (g, h), u = sqrt(q) g, v = sqrt(q) (rho g + sqrt(1 - rho^2) h).

    The integrand is analytic in a strip of half width above 1: the rule's error is below 1e-15, and what counts are
    the series' terms left out, for rho = 1: exp(-pi sqrt(100 / q)), and 100 times that in the derivative.
    """
    g = torch.linspace(-10, 10, 401, dtype=torch.float64)
    weight = torch.exp(-g * g / 2) * 0.05 / math.sqrt(2 * math.pi)
    for q in (0.3, 1.0, 1.2):
        rho = torch.tensor([[1.0, -0.97, 0.0], [-0.97, 1.0, 0.6], [0.0, 0.6, 1.0]], dtype=torch.float64)
        value, slope = _ntk.moments(q * rho)
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 2)):
            c = rho[i, j]
            u = math.sqrt(q) * g[:, None].expand(401, 401)
            v = math.sqrt(q) * (c * g[:, None] + (1 - c * c).sqrt() * g)
            pair = weight[:, None] * weight
            torch.testing.assert_close(value[i, j], (pair * u.tanh() * v.tanh()).sum(), rtol=0, atol=1e-11)
            both = (1 - u.tanh().square()) * (1 - v.tanh().square())
            torch.testing.assert_close(slope[i, j], (pair * both).sum(), rtol=0, atol=1e-9)


def test_the_activation_is_normalised():
    assert pytest.approx(2.5362, abs=5e-5) == ntk.C_S
    s = ntk.draw(replace(CELL, net="fully_connected", m=2000, depth=2))
    # |x_l|^2 is a mean over 2000 units of c_s tanh(g)^2, in [0, 2.54] with standard deviation 0.7: 0.016 each layer
    torch.testing.assert_close(s.H.square().sum(-1), torch.ones(2, CELL.n, dtype=torch.float64), rtol=0, atol=0.1)


def test_unequal_variances_are_refused():
    with pytest.raises(ValueError, match="variances"):
        _ntk.moments(torch.diag(torch.tensor([1.0, 1.1], dtype=torch.float64)))


@NETS
@pytest.mark.parametrize("depth", [1, 3])
def test_the_kernel_at_initialisation_tends_to_the_recursions(net, depth):
    """The mean over seeds lies within 5 standard errors and a bias of order 1/m; one draw's gap falls as m^(-1/2)."""
    cells = [replace(CELL, net=net, depth=depth, m=m) for m in (64, 1024)]
    rms = []
    for cell in cells:
        gaps = []
        for each in seeds(cell, 16):
            s = ntk.draw(each)
            gaps.append(s.K0 - s.Kinf)
        gap = torch.stack(gaps)
        rms.append(gap.square().mean().sqrt())
        error = gap.std(0) / math.sqrt(len(gaps))
        # entry by entry; the bias' constant: an order-1 correction per layer, times K = O(depth)
        assert (gap.mean(0).abs() < 5 * error + 2 * depth**2 / cell.m).all()
    # 1024/64 = 16, the square root is 4; 16 seeds of correlated entries leave each rms uncertain by about a fifth
    assert 2.4 < rms[0] / rms[1] < 6.5


def test_a_resnet_without_branches_is_a_two_layer_net():
    """c_res -> 0: Kinf = c_s E[s s] + c_s E[s' s'] <x, x'>, of any depth."""
    X = ntk.draw(CELL).X
    deep, flat = (ntk.limit_kernel(X, *ntk.gains("resnet", depth, 0.0)) for depth in (5, 1))
    torch.testing.assert_close(deep, flat, rtol=1e-13, atol=1e-14)
    value, slope = _ntk.moments(X @ X.T)
    torch.testing.assert_close(flat, ntk.C_S * (value + slope * (X @ X.T)), rtol=1e-13, atol=1e-14)


def test_parallel_inputs_have_lambda0_zero():
    """tanh is odd: antiparallel ones as well."""
    X = ntk.draw(CELL).X
    for sign in (1, -1):
        for net in ("resnet", "fully_connected"):
            K = ntk.limit_kernel(torch.cat([X, sign * X[:1]]), *ntk.gains(net, 3, 0.5))
            assert abs(torch.linalg.eigvalsh(K)[0]) < 1e-12 * torch.linalg.eigvalsh(K)[-1]


@NETS
def test_a_wide_net_trains_as_its_limit_says(net):
    """r(k) -> (I - eta/n Kinf)^k r(0), with an error that falls as m^(-1/2): 4 times less at 16 times the width."""
    errors = []
    for m in (64, 1024):
        worst = []
        for cell in seeds(replace(CELL, net=net, m=m, depth=2), 8):
            s = ntk.draw(cell)
            contraction = torch.eye(cell.n, dtype=torch.float64) - s.eta / cell.n * s.Kinf
            predicted, first, gap = s.r, s.r.norm(), 0.0
            for _ in range(15):
                s, predicted = ntk.step(s), contraction @ predicted
                gap = max(gap, float((s.r - predicted).norm() / first))
            worst.append(gap)
        errors.append(sum(worst) / len(worst))
    assert errors[1] < 0.1
    assert 2 < errors[0] / errors[1] < 8  # within a factor 2, as 8 seeds leave it


def test_the_kernels_drift_falls_as_one_over_the_width_and_less_in_the_resnet():
    """Over a factor 16 of width the median falls by 16, not by 4; the scatter of 12 trainings is within a factor 2."""
    medians = {}
    for net in ("resnet", "fully_connected"):
        for m in (16, 256):
            rows = trained("ntk_resnet", seeds(ntk.Cell(m=m, n=5, d=10, net=net, labels="sign"), 12)).values()
            assert {row["outcome"] for row in rows} == {"fit"}
            medians[net, m] = sorted(row["drift_max"] for row in rows)[6]
        assert 8 < medians[net, 16] / medians[net, 256] < 32
    assert all(medians["resnet", m] < medians["fully_connected", m] for m in (16, 256))


def test_equal_seeds_are_equal_weights_in_both_nets_and_at_any_step_size():
    one, other = ntk.draw(CELL), ntk.draw(replace(CELL, net="fully_connected", c_res=0.9, step_size=1.0, budget=3.0))
    for name in ("X", "y", "first", "hidden", "a"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert torch.equal(ntk.draw(replace(CELL, labels="sign")).y, one.y.sign())


def test_inputs_weights_and_labels_are_as_stated():
    s = ntk.draw(ntk.Cell(m=200, n=400, d=5))
    torch.testing.assert_close(s.X.norm(dim=1), torch.ones(400, dtype=torch.float64))
    for part in (s.first, s.hidden, s.a, s.y):
        count = part.numel()  # standard errors of mean and variance of N(0, 1)
        assert abs(part.mean()) < 4 / math.sqrt(count) and abs(part.var() - 1) < 4 * math.sqrt(2 / count)


def test_success_asks_for_the_loss_and_for_the_kernel():
    s = ntk.draw(CELL)._replace(r=torch.full((CELL.n,), 0.03, dtype=torch.float64))
    below, above = torch.tensor(0.49, dtype=torch.float64), torch.tensor(0.51, dtype=torch.float64)
    assert ntk.solved(s._replace(ratio=above)) and not ntk.solved(s._replace(ratio=below))
    assert not ntk.solved(s._replace(ratio=above, r=s.r * 1.1))  # 0.033^2 > 1e-3


def test_a_step_far_too_large_ends_in_a_row_and_in_no_error():
    rows = trained("ntk_resnet", seeds(replace(CELL, step_size=200.0, max_steps=200), 4)).values()
    assert {row["outcome"] for row in rows} <= {"diverged", "unfit"}
    s = ntk.draw(CELL)
    assert float(ntk.smallest(torch.full_like(s.K0, math.nan))) == 0.0
