"""Du et al. 2018: closed forms, gradients, the large-width limit."""

import math
from dataclasses import replace

import pytest
import torch
from training import seeds, trained

from trainables import two_layer_relu as du

CELL = du.Cell(m=64, n=10, d=6, labels="gauss", max_steps=400)


def stepped(state, steps):
    for _ in range(steps):
        state = du.step(state)
    return state


def test_limit_gram_is_the_mean_of_gram_matrices_at_random_weights():
    state = du.draw(replace(CELL, m=1))
    samples = 200_000
    W = torch.randn(samples, CELL.d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    H = du.gram(state.G, state.X @ W.T)
    expected = du.limit_gram(state.G)
    # each entry averages `samples` values in [-1, 1] times an indicator: standard error at most 1 / (2 sqrt(samples))
    assert (H - expected).abs().max() < 4.5 / (2 * math.sqrt(samples))


def test_limit_gram_of_unit_inputs_has_diagonal_one_half_and_known_entries():
    angles = torch.tensor([0.0, math.pi / 3, math.pi / 2, math.pi], dtype=torch.float64)
    X = torch.stack([angles.cos(), angles.sin()], 1)
    expected = [1 / 2, math.cos(math.pi / 3) * (math.pi - math.pi / 3) / (2 * math.pi), 0.0, 0.0]
    H = du.limit_gram(X @ X.T)
    torch.testing.assert_close(H[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(H.diagonal(), torch.full((4,), 0.5, dtype=torch.float64), rtol=1e-15, atol=0)


def test_duplicated_inputs_have_lambda0_zero():
    X = du.draw(CELL).X
    X = torch.cat([X, X[:1]])
    lambda0 = torch.linalg.eigvalsh(du.limit_gram(X @ X.T))[0]
    rho_error = X.shape[1] * torch.finfo(X.dtype).eps  # rounding of an inner product of unit vectors
    assert abs(lambda0) < (2 * rho_error) ** 0.5 / (2 * torch.pi) + 1e-14  # arccos(1 - e) = sqrt(2 e) to leading order


def test_the_step_is_the_gradient_of_the_loss():
    state = du.draw(CELL, form="plain")
    W = state.W.clone().requires_grad_()
    residual = (state.X @ W.T).relu() @ state.a / math.sqrt(CELL.m) - state.y
    (gradient,) = torch.autograd.grad((residual**2).sum() / 2, W)
    torch.testing.assert_close(du.step(state).W, state.W - state.eta * gradient, rtol=1e-13, atol=1e-14)


def test_both_forms_are_the_same_training():
    gram, plain = (stepped(du.draw(CELL, form=form), 200) for form in ("gram", "plain"))
    torch.testing.assert_close(gram.r, plain.r, rtol=1e-9, atol=1e-11)  # 200 steps of rounding, contracting
    torch.testing.assert_close(gram.W0 + gram.C.T @ gram.X, plain.W, rtol=1e-10, atol=1e-11)
    numbers = [du.observe(state) | du.measure(state) for state in (gram, plain)]
    for name, value in numbers[0].items():
        torch.testing.assert_close(value, numbers[1][name], rtol=1e-8, atol=1e-10, msg=name)


def test_the_form_follows_from_the_shape():
    assert du.draw(replace(CELL, n=12)).C.shape[1] == CELL.m
    assert du.draw(replace(CELL, n=13)).C.shape[1] == 0


def test_first_loss_has_mean_n_times_three_halves_over_two_for_gaussian_labels():
    losses = torch.stack([du.observe(du.draw(cell))["loss"] for cell in seeds(CELL, 500)])
    error = losses.std() / math.sqrt(len(losses))
    assert abs(losses.mean() - CELL.n * (1 + 1 / 2) / 2) < 4 * error


def test_noise_and_scale_enter_as_stated():
    clean, noisy = du.draw(CELL), du.draw(replace(CELL, noise=0.5, label_noise=0.3, init_scale=2.0))
    assert torch.equal(noisy.W0, 2 * clean.W0)
    torch.testing.assert_close(clean.X.norm(dim=1), torch.ones(CELL.n, dtype=torch.float64))
    draws = [du.draw(replace(cell, noise=0.5, label_noise=0.3)) for cell in seeds(CELL, 500)]
    squared = torch.stack([state.X.square().sum(1).mean() for state in draws])
    assert abs(squared.mean() - (1 + 0.5**2)) < 4 * squared.std() / math.sqrt(500)
    variance = torch.stack([state.y.square().mean() for state in draws])
    assert abs(variance.mean() - (1 + 0.3**2)) < 4 * variance.std() / math.sqrt(500)


def test_labels_are_plus_or_minus_one_on_request():
    assert set(du.draw(replace(CELL, labels="sign")).y.tolist()) == {-1.0, 1.0}


def test_what_is_measured_is_what_is_defined():
    """Against definitions written out for a small network, after 30 steps from a state that has moved."""
    cell = replace(CELL, m=5, n=4)
    first = du.draw(cell, form="plain")
    last = stepped(first, 30)

    def H(W):
        active = (first.X @ W.T >= 0).double()
        pairs = [[sum(active[i, r] * active[j, r] for r in range(5)) / 5 for j in range(4)] for i in range(4)]
        return torch.tensor(pairs, dtype=torch.float64) * (first.X @ first.X.T)

    H0, H1, Hinf = H(first.W0), H(last.W), du.limit_gram(first.X @ first.X.T)
    moved = (last.W - first.W0).norm(dim=1)
    flipped = ((first.X @ last.W.T >= 0) != (first.X @ first.W0.T >= 0)).double().mean()
    lambda0 = torch.linalg.eigvalsh(Hinf)[0]
    expected = {
        "flips": flipped,
        "dist_max": moved.max(),
        "dist_rms": moved.square().mean().sqrt(),
        "mean_squared_residual": last.r.square().mean(),
        "lambda_min_init": torch.linalg.eigvalsh(H0)[0],
        "lambda_min_end": torch.linalg.eigvalsh(H1)[0],
        "gram_init_gap": torch.linalg.matrix_norm(H0 - Hinf, 2),
        "gram_drift": torch.linalg.matrix_norm(H1 - H0, 2),
        "lambda0": lambda0,
        "lambda_max": torch.linalg.eigvalsh(Hinf)[-1],
        "eta": 1 / torch.linalg.eigvalsh(Hinf)[-1],
        "rate_bound": 1 - lambda0 / torch.linalg.eigvalsh(Hinf)[-1] / 2,
        "dist_bound": 4 * 4**0.5 * first.r.norm() / (5**0.5 * lambda0),
        "width_scale": 4**6 / lambda0**4,
    }
    assert flipped > 0, "nothing flipped: the test would say little"
    found = du.observe(last) | du.measure(last) | du.theory(first)
    for name, value in expected.items():
        rtol = 1e-6 if name.startswith("gram_") else 1e-9  # spectral norms in float32: a few times 6e-8
        torch.testing.assert_close(
            found[name], value, rtol=rtol, atol=1e-12, msg=lambda text, name=name: f"{name} {text}"
        )


def test_the_budget_is_in_units_of_one_over_eta_lambda0():
    state = du.draw(replace(CELL, step_size=0.5, budget=7.0, max_steps=10**9))
    eta = 0.5 / torch.linalg.eigvalsh(du.limit_gram(state.G))[-1]
    torch.testing.assert_close(state.eta, eta)
    assert int(state.budget) == math.ceil(7.0 / float(eta * state.lambda0))
    assert int(du.draw(replace(CELL, budget=1e9)).budget) == CELL.max_steps


def test_at_large_width_the_training_is_linear():
    """r(k) -> (I - eta Hinf)^k r(0), so the loss too, with an error of order 1/sqrt(m), at every k."""
    errors = []
    for m in (250, 4_000):
        worst = []
        for cell in seeds(replace(CELL, m=m), 12):
            state = du.draw(cell, form="gram")
            contraction = torch.eye(cell.n, dtype=torch.float64) - state.eta * du.limit_gram(state.G)
            predicted, gap = state.r0.clone(), 0.0
            for _ in range(60):
                state, predicted = du.step(state), contraction @ predicted
                gap = max(gap, float((state.r - predicted).norm() / state.r0.norm()))
            worst.append(gap)
        errors.append(sorted(worst)[6])  # the median: a data set with a tiny lambda0 is far off now and then
    assert errors[1] < 0.1  # 6 / sqrt(m)
    assert 2 < errors[0] / errors[1] < 8  # 4 = sqrt(16) for an error of order 1/sqrt(m), within a factor 2


def test_movement_approaches_its_large_width_limit():
    state = du.draw(replace(CELL, m=16_000), form="gram")
    state = stepped(state, 300)
    # relative error of order 1/sqrt(m) = 0.8%, times the condition number's effect: six times that
    torch.testing.assert_close(du.observe(state)["dist_rms"], du.theory(state)["dist_rms_limit"], rtol=0.05, atol=0)


def test_late_rate_is_twice_eta_lambda0():
    state = stepped(du.draw(replace(CELL, m=16_000), form="gram"), 60)
    later = stepped(state, 60)
    rate = torch.log(du.observe(state)["loss"] / du.observe(later)["loss"]) / 60
    expected = -2 * torch.log1p(-state.eta * state.lambda0)
    torch.testing.assert_close(rate, expected, rtol=0.1, atol=0)  # lambda_min(H) is within O(1/sqrt(m)) of lambda0


def test_bounds_of_the_theorem_hold_at_large_width():
    (row,) = trained("two_layer_relu", [replace(CELL, m=4096, tolerance=1e-8, max_steps=3000)]).values()
    assert row["outcome"] == "fit"
    assert row["dist_max"] <= row["dist_bound"]
    for step, loss in zip(row["curve_step"], row["curve_loss"], strict=True):
        assert loss <= row["rate_bound"] ** step * row["curve_loss"][0] * (1 + 1e-12)


def test_a_step_beyond_the_stability_limit_diverges():
    """At eta = 16 / lambda_max a wide, nearly linear network leaves every bounded set; at 1 it does not."""
    cell = replace(CELL, m=512, step_size=16.0)
    outcomes = {row["outcome"] for row in trained("two_layer_relu", seeds(cell, 5)).values()}
    assert outcomes <= {"diverged", "unfit"}
    sane = {row["outcome"] for row in trained("two_layer_relu", seeds(replace(cell, step_size=1.0), 5)).values()}
    assert sane == {"fit"}


def test_float32_is_the_same_draw_rounded():
    single, double = du.draw(replace(CELL, dtype="float32")), du.draw(CELL)
    assert single.W.dtype == torch.float32
    assert torch.equal(single.X, double.X.float())


def test_the_late_rate_is_that_of_one_more_step():
    """Told in the Gram form, followed in the plain one; late, units at their kink change H a little in every step."""
    for seed in range(4):
        cell = replace(CELL, seed=seed)
        told = du.measure(stepped(du.draw(cell, form="gram"), 12))
        plain = stepped(du.draw(cell, form="plain"), 12)
        rate = -(du.observe(du.step(plain))["loss"] / du.observe(plain)["loss"]).log()
        assert told["rate"].item() == pytest.approx(rate.item(), rel=1e-9)
        limit = -2 * math.log(1 - float(plain.eta * plain.lambda0))
        assert told["rate_over_limit"].item() == pytest.approx(rate.item() / limit, rel=1e-9)


def test_movement_over_its_limit_and_the_factors_by_which_hypotheses_are_missed():
    (row,) = trained("two_layer_relu", [CELL]).values()
    assert row["rms_over_limit"] == pytest.approx(row["dist_rms"] / row["dist_rms_limit"], rel=1e-12)
    assert row["width_shortfall"] == pytest.approx(row["width_scale"] / CELL.m, rel=1e-12)
    assert row["eta_excess"] == pytest.approx(row["eta"] * CELL.n**2 / row["lambda0"], rel=1e-12)
    assert row["gram_width"] == pytest.approx((CELL.n / row["lambda0"]) ** 2 * math.log(CELL.n), rel=1e-12)
