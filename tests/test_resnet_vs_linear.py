"""Shamir 2018: gradients, the two inequalities at random points, best linear predictors, the regret, the control."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from training import seeds, trained

from trainables import _best_linear as best
from trainables import resnet_vs_linear as shamir

CELL = shamir.Cell(m=5, n=24, d=3, depth=2, budget=200)
ROUNDING = 1 + 1e-9  # both sides of an inequality in float64, over at most 1e3 steps


def stepped(state, steps):
    for _ in range(steps):
        state = shamir.step(state)
    return state


def mean_loss(s, X, y, w, V, v, first, hidden, bias):
    """F written out plainly."""
    a = torch.tanh(math.sqrt(X.shape[1]) * X @ first.T + bias[0])
    for level in range(len(hidden)):
        a = torch.tanh(a @ hidden[level].T + bias[level + 1])
    f = a / math.sqrt(first.shape[0])
    h = X @ w + f @ v if len(v) else s.skip * (X @ w) + f @ V.T @ w
    return torch.where(s.logistic, torch.log1p(torch.exp(-y * h)), (h - y) ** 2 / 2).mean()


@pytest.mark.parametrize("model", ["resnet", "mlp", "tweaked"])
@pytest.mark.parametrize("loss_function", ["square", "logistic"])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_step_is_the_gradient_of_the_loss(model, loss_function, depth):
    cell = replace(CELL, model=model, loss_function=loss_function, depth=depth, theta_step=0.7, radius=100.0)
    s = stepped(shamir.draw(cell), 3)
    names = ("w", "V", "v", "first", "hidden", "bias")
    leaves = [getattr(s, name).clone().requires_grad_() for name in names]
    X, y = (s.X[3:4], s.y[3:4]) if model == "tweaked" else (s.X, s.y)
    F = mean_loss(s, X, y, *leaves)
    parts = torch.autograd.grad(F, leaves, allow_unused=True)
    after = shamir.step(s)
    for name, part in zip(names, parts, strict=True):
        eta = s.eta if name in ("w", "V", "v") else s.theta_eta
        expected = getattr(s, name) - (0 if part is None else eta * part)
        torch.testing.assert_close(getattr(after, name), expected, rtol=1e-12, atol=1e-14, msg=name)
        assert part is None or not part.numel() or part.abs().max() > 0, name
    if model != "tweaked":
        torch.testing.assert_close(shamir.observe(s)["loss"], F.detach(), rtol=1e-13, atol=0)
    size = torch.cat(
        [
            p.flatten()
            for p in torch.autograd.grad(mean_loss(s, s.X, s.y, *leaves), leaves[:3], allow_unused=True)
            if p is not None
        ]
    ).norm()
    torch.testing.assert_close(shamir.observe(s)["gradient"], size, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss_function", ["square", "logistic"])
def test_the_curvature_at_the_origin_is_that_of_the_hessian(loss_function):
    s = shamir.draw(replace(CELL, loss_function=loss_function, init_scale=1.0))
    d, m = CELL.d, CELL.m

    def F(flat):
        return mean_loss(s, s.X, s.y, flat[:d], flat[d:].reshape(d, m), s.v, s.first, s.hidden, s.bias)

    H = torch.autograd.functional.hessian(F, torch.cat([torch.zeros(d, dtype=torch.float64), s.V.flatten()]))
    lam, A = shamir.origin_curvature(s, shamir.forward(s, s.X)[-1])
    torch.testing.assert_close(lam, torch.linalg.eigvalsh(H)[0], rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(A, torch.linalg.eigvalsh(H[:d, :d])[-1], rtol=1e-10, atol=1e-13)
    assert lam < 0


@pytest.mark.parametrize("loss_function", ["square", "logistic"])
def test_the_inequalities_hold_at_random_points_and_are_written_as_stated(loss_function):
    """126 random points each; scales from 0.01 to 10, and against formulas written out from eqs. (3) and (4)."""
    worst = [0.0, 0.0]
    for seed in range(126):
        scale = 10 ** (seed % 7 / 2 - 2)
        data = ("linear", "teacher", "xor")[seed % 3]
        cell = replace(CELL, n=24, loss_function=loss_function, data=data, label_noise=2.0, init_scale=scale, seed=seed)
        try:
            s = shamir.draw(cell)
        except ValueError:  # separable classes
            continue
        top = shamir.forward(s, s.X)[-1]
        ratio, origin = (float(part) for part in shamir.ratios(s, top))
        assert ratio <= ROUNDING and origin <= ROUNDING, seed
        worst = [max(worst[0], ratio), max(worst[1], origin)]
        if seed % 20:
            continue
        now = shamir.observe(s)
        V, w2, u2 = torch.linalg.matrix_norm(s.V, 2), s.w.square().sum(), s.w_star.square().sum()
        room = now["gradient"] * (2 * w2 + u2 * (2 + V**2 / w2)).sqrt()
        assert ratio == pytest.approx(max(0.0, float((now["loss"] - s.floor) / room)), rel=1e-9)
        at_origin = s._replace(w=0 * s.w)
        now, (lam, A) = shamir.observe(at_origin), shamir.origin_curvature(s, top)
        left = now["gradient"] + V * (abs(lam) * A + lam**2).sqrt()
        assert origin == pytest.approx(float((now["loss"] - s.floor) / u2.sqrt() / left), rel=1e-9)
    assert min(worst) > 0.3, "far from the bound everywhere: the test would say little"


def test_the_gradient_inequality_is_nearly_tight_where_v_is_zero_and_w_opposes():
    """V = 0, w = -t w*, isotropic inputs: <grad, w - w*> is |grad| |w - w*|, so that (3) is tight up to convexity.

    F - F* = (1 + t)^2 |w*|^2 / (2 d), |grad| = (1 + t) |w*| / d: the ratio is (1 + t) / (2 sqrt(2 t^2 + 2)), at t = 1
    exactly 1/2. Without the factor 2 in (3) it would be 1 / sqrt(2): the value tells.
    """
    d = CELL.d
    s = shamir.draw(replace(CELL, n=2 * d))
    X = torch.cat([torch.eye(d), -torch.eye(d)]).double()
    w_star = torch.arange(1.0, d + 1).double()
    s = s._replace(X=X, y=X @ w_star, w_star=w_star, floor=torch.tensor(0.0).double(), w=-w_star, V=0 * s.V)
    ratio, _ = shamir.ratios(s, 0 * shamir.forward(s, X)[-1])
    assert float(ratio) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_inequalities_hold_along_the_training_and_the_floor_is_reached(depth):
    kinds = [shamir.Cell(n=64, depth=depth, loss_function=f, init_scale=0.1) for f in ("square", "logistic")]
    rows = trained("resnet_vs_linear", [one for kind in kinds for one in seeds(kind, 2)]).values()
    assert {row["outcome"] for row in rows} == {"fit"}
    assert all(0.05 < row["gradient_ratio"] <= ROUNDING and 0.05 < row["origin_ratio"] <= ROUNDING for row in rows)


def test_the_running_maxima_see_every_step():
    s = first = shamir.draw(CELL)
    seen = []
    for _ in range(30):
        seen.append([float(part) for part in shamir.ratios(s, shamir.forward(s, s.X)[-1])])
        s = shamir.step(s)
    seen.append([float(part) for part in shamir.ratios(s, shamir.forward(s, s.X)[-1])])
    found = shamir.measure(stepped(first, 30))
    assert [float(found["gradient_ratio"]), float(found["origin_ratio"])] == pytest.approx(np.max(seen, 0), rel=1e-12)


def test_a_plain_network_is_stuck_above_the_floor_where_the_residual_one_is_not():
    """Depth 3 from a small start: without the skip the gradient at the start is of the order of the fourth power."""
    cell = shamir.Cell(n=64, depth=3, init_scale=0.01, budget=600)
    plain = list(trained("resnet_vs_linear", seeds(replace(cell, model="mlp"), 5)).values())
    skip = list(trained("resnet_vs_linear", seeds(cell, 5)).values())
    assert all(row["success"] == 0 and row["loss_over_floor"] > 1.05 for row in plain)
    assert all(row["success"] == 1 for row in skip)
    assert min(row["gradient_ratio"] for row in plain) > 100, "the inequality is not the plain network's"


def test_the_origin_is_stationary_without_the_skip_only():
    for model, expected in (("mlp", True), ("resnet", False)):
        s = shamir.draw(replace(CELL, model=model))
        at_origin = s._replace(w=0 * s.w, V=0 * s.V)
        assert (float(shamir.observe(at_origin)["gradient"]) == 0) == expected
        assert float(shamir.observe(at_origin)["loss"] - s.floor) == pytest.approx(float(s.gap), rel=1e-12)
        assert s.gap > 0


def test_the_best_linear_predictor_of_the_square_loss_is_least_squares():
    s = shamir.draw(CELL)
    expected = np.linalg.lstsq(s.X.numpy(), s.y.numpy(), rcond=None)[0]
    np.testing.assert_allclose(s.w_star.numpy(), expected, rtol=1e-10)
    assert float(s.floor) == pytest.approx(float(np.mean((s.X.numpy() @ expected - s.y.numpy()) ** 2) / 2), rel=1e-12)


@pytest.mark.parametrize("radius", [math.inf, 1.5])
@pytest.mark.parametrize("loss_function", ["square", "logistic"])
def test_the_best_linear_predictor_in_a_ball_is_that_of_a_general_optimiser(loss_function, radius):
    """SLSQP at its accuracy 1e-12 of the value; values are compared, which are flat at a minimum."""
    for seed in range(4):
        cell = replace(CELL, n=60, loss_function=loss_function, seed=seed)
        s = shamir.draw(cell)
        u = best.best_linear(s.X, s.y, s.logistic, radius)

        def F(u, s=s):
            return float(best.linear_loss(s.X, s.y, s.logistic, torch.as_tensor(u)))

        ball = [{"type": "ineq", "fun": lambda u: radius**2 - u @ u}] if radius < math.inf else []
        found = minimize(F, 0.1 * np.ones(CELL.d), constraints=ball, method="SLSQP", options={"ftol": 1e-13})
        assert F(u) == pytest.approx(found.fun, abs=1e-8) and float(u.norm()) <= radius * (1 + 1e-12)
        free = best.best_linear(s.X, s.y, s.logistic)
        assert float(u.norm()) == pytest.approx(min(radius, float(free.norm())), rel=1e-6)  # inside: mu = 1e-9 left


def test_separable_classes_have_no_best_predictor_but_one_in_the_ball():
    cell = replace(CELL, loss_function="logistic", label_noise=0.0, n=12)
    with pytest.raises(ValueError, match="separates the classes"):
        shamir.draw(cell)
    assert float(shamir.draw(replace(cell, model="tweaked")).w_star.norm()) == pytest.approx(cell.radius, rel=1e-8)


@pytest.mark.parametrize("loss_function", ["square", "logistic"])
@pytest.mark.parametrize("theta_step", [0.0, 30.0])
def test_the_regret_bound_holds_on_every_path_of_theta(loss_function, theta_step):
    """Also regret is the plain sum over the pass, and the bound on the gradient is one."""
    cell = replace(CELL, model="tweaked", n=100, loss_function=loss_function, theta_step=theta_step)
    kinds = [replace(cell, data=data, radius=b) for data in ("linear", "teacher", "xor") for b in (0.3, 3.0)]
    rows = trained("resnet_vs_linear", [one for kind in kinds for one in seeds(kind, 2)]).values()
    assert {row["outcome"] for row in rows} == {"fit"} and {row["steps"] for row in rows} == {100}
    assert all(row["regret"] <= row["regret_bound"] * ROUNDING for row in rows)
    assert all(0 < row["step_gradient"] <= ROUNDING for row in rows)
    s, paid = shamir.draw(cell), 0.0
    for t in range(100):
        one = mean_loss(s, s.X[t : t + 1], s.y[t : t + 1], s.w, s.V, s.v, s.first, s.hidden, s.bias)
        paid, s = paid + float(one), shamir.step(s)
        assert s.w.square().sum() + s.v.square().sum() <= cell.radius**2 * ROUNDING
    assert float(shamir.measure(s)["regret"]) == pytest.approx(paid / 100 - float(s.floor), rel=1e-10)


def test_the_regret_bound_is_attained_to_a_factor_by_the_worst_sequence():
    """One coordinate, logistic, no features: y x alternates in long runs; eta = b / (L sqrt(T)) and L = sqrt(2)."""
    cell = shamir.Cell(m=2, n=400, d=1, model="tweaked", loss_function="logistic", theta_step=0.0)
    s = shamir.draw(cell)
    s = s._replace(X=s.X.abs(), y=torch.ones(400, dtype=torch.float64), bias=0 * s.bias, first=0 * s.first)
    star = torch.tensor([cell.radius], dtype=torch.float64)
    s = stepped(s._replace(floor=best.linear_loss(s.X, s.y, s.logistic, star)), 400)
    bound = shamir.theory(s)["regret_bound"]
    assert 0.1 * bound < shamir.measure(s)["regret"] < bound


def test_step_size_and_projection_are_those_of_the_statement():
    cell = replace(CELL, model="tweaked", n=49, loss_function="logistic", radius=2.0, step_size=3.0)
    s = shamir.draw(cell)
    assert float(s.eta) == pytest.approx(3 * 2.0 / (math.sqrt(2) * 7), rel=1e-14)
    assert not s.w.any() and not s.v.any()
    outside = s._replace(w=torch.tensor([30.0, 40.0, 0.0]).double(), eta=0 * s.eta)
    torch.testing.assert_close(
        shamir.step(outside).w, torch.tensor([1.2, 1.6, 0.0], dtype=torch.float64), rtol=1e-14, atol=0
    )


def test_features_and_inputs_are_at_most_one_long_and_labels_are_as_asked():
    s = shamir.draw(replace(CELL, init_scale=30.0, loss_function="logistic"))
    f = shamir.forward(s, s.X)[-1] / math.sqrt(CELL.m)
    assert f.norm(dim=1).max() <= 1 and set(s.y.tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(s.X.norm(dim=1), torch.ones(CELL.n).double(), rtol=1e-14, atol=0)
    for data in ("linear", "teacher"):  # scores and noise are independent: variances add, that of tanh is below 1
        draws = [shamir.draw(cell) for cell in seeds(replace(CELL, n=64, d=8, data=data, label_noise=0.0), 100)]
        squared = torch.stack([draw.y.square().mean() for draw in draws])
        assert abs(squared.mean() - 1) < 4 * squared.std() / math.sqrt(100) + (0.5 if data == "teacher" else 0)
