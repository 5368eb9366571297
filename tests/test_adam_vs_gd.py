"""Zou et al. 2021: the data, the gradient, each optimizer's step, what it learns first, and what batches change."""

import math
from dataclasses import replace

import pytest
import torch
from training import assert_same_bits, seeds, trained

from trainables import adam_vs_gd as az

CELL = az.Cell(m=4, n=12, d=30, s=6, alpha=0.3, noise=0.4, init_scale=0.3, n_test=16)
LAW = az.Cell(m=2, n=200, d=40, s=10, alpha=0.3, noise=0.5, n_test=1)


def stepped(state, steps):
    for _ in range(steps):
        state = az.step(state)
    return state


def loss(W, s, q, decay=0.0):
    """Eqs. (1), (3) and (4) written out with both patches."""
    v = torch.zeros(W.shape[1], dtype=torch.float64)
    v[0] = 1
    x = torch.stack([s.y[:, None] * v, s.X], 1)
    units = (x @ W.T).relu() ** q
    F = units.sum(1).reshape(len(s.y), 2, -1).sum(-1)  # F_1, F_-1
    classes = (s.y < 0).long()
    return torch.nn.functional.cross_entropy(F, classes) + decay / 2 * (W**2).sum()


def test_noise_patches_have_s_coordinates_of_the_stated_size_and_minus_alpha_y_on_the_first():
    states = [az.draw(cell) for cell in seeds(LAW, 20)]
    X, y = torch.cat([s.X for s in states]), torch.cat([s.y for s in states])
    assert torch.equal(X[:, 0], -0.3 * y)
    assert ((X[:, 1:] != 0).sum(1) == 10).all()
    assert abs(y.mean()) < 4 / math.sqrt(4000)  # standard error of a mean of signs
    used = (X[:, 1:] != 0).double().mean(0)  # each coordinate with probability 10/39, standard error 0.0069
    assert (used - 10 / 39).abs().max() < 4.5 * math.sqrt(10 / 39 * 29 / 39 / 4000)
    entries = X[:, 1:][X[:, 1:] != 0] / 0.5
    assert abs(entries.mean()) < 4 / math.sqrt(40_000)
    assert abs(entries.square().mean() - 1) < 4 * math.sqrt(2 / 40_000)  # variance of a squared normal is 2


def test_all_optimizers_steps_and_scales_share_the_draw():
    first = az.draw(CELL)
    other = az.draw(replace(CELL, optimizer="adam", step_size=0.1, budget=7.0, batch=3, weight_decay=0.1, q=4))
    for name in ("X", "y", "W", "X_test", "y_test", "key"):
        assert torch.equal(getattr(first, name), getattr(other, name)), name
    scaled = az.draw(replace(CELL, init_scale=0.6, noise=0.8, alpha=0.6))
    torch.testing.assert_close(scaled.W, 2 * first.W, rtol=1e-15, atol=0)
    torch.testing.assert_close(scaled.X, 2 * first.X, rtol=1e-15, atol=0)
    assert torch.equal(az.draw(replace(CELL, n_test=5)).X, first.X)


@pytest.mark.parametrize("q", [2, 3, 5])
def test_gradient_and_loss_are_those_of_the_definition(q):
    s = az.draw(replace(CELL, q=q, weight_decay=0.05, step_size=0.7, init_scale=0.5))
    W = s.W.clone().requires_grad_()
    value = loss(W, s, q, 0.05)
    (gradient,) = torch.autograd.grad(value, W)
    torch.testing.assert_close(az.observe(s)["loss"], value.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(az.observe(s)["data_loss"], loss(s.W, s, q), rtol=1e-13, atol=0)
    torch.testing.assert_close(az.step(s).W, s.W - 0.7 * gradient, rtol=1e-12, atol=1e-14)


def test_a_step_of_sign_descent_is_eta_in_every_coordinate_with_a_gradient():
    s = az.draw(replace(CELL, optimizer="sign", weight_decay=0.01))
    assert s.eta.item() == pytest.approx(0.5 * 0.3 / 5, rel=1e-15)
    g = az.gradient(s.W, s.X, s.y, 3) + 0.01 * s.W
    torch.testing.assert_close(az.step(s).W - s.W, -s.eta * g.sign(), rtol=0, atol=1e-15)


def test_the_first_step_of_adam_is_eta_g_over_its_size():
    """With eps as large as a typical g, so that it shows."""
    s = az.draw(replace(CELL, optimizer="adam", eps=1e-3))
    g = az.gradient(s.W, s.X, s.y, 3)
    torch.testing.assert_close(az.step(s).W - s.W, -s.eta * g / (g.abs() + 1e-3), rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("optimizer", ["adam", "gd"])
def test_thirty_steps_are_those_of_torch(optimizer):
    s = az.draw(replace(CELL, optimizer=optimizer, weight_decay=0.02, beta1=0.8, beta2=0.95, eps=1e-4))
    W = s.W.clone().requires_grad_()
    known = {
        "adam": lambda: torch.optim.Adam([W], s.eta.item(), (0.8, 0.95), 1e-4, weight_decay=0.02),
        "gd": lambda: torch.optim.SGD([W], s.eta.item(), weight_decay=0.02),
    }[optimizer]()
    for _ in range(30):
        known.zero_grad()
        loss(W, s, 3).backward()
        known.step()
    torch.testing.assert_close(stepped(s, 30).W, W.detach(), rtol=1e-9, atol=1e-12)  # 30 steps of rounding


def test_a_batch_is_a_random_part_of_the_samples_and_all_of_them_is_the_full_batch():
    cell = replace(CELL, n=4, s=2, batch=2)
    s, counts = az.draw(cell), torch.zeros(4)
    pairs = {
        (i, j): az.gradient(s.W, s.X[[i, j]], s.y[[i, j]], 3) for i in range(4) for j in range(i)
    }  # which pair was drawn can be read off the step
    for k in range(1200):
        moved = (s.W - az.step(s._replace(steps=torch.tensor(k))).W) / s.eta
        (pair,) = [pair for pair, g in pairs.items() if torch.allclose(moved, g, rtol=1e-9, atol=1e-13)]
        counts[list(pair)] += 1
    assert (counts - 600).abs().max() < 4 * math.sqrt(1200) / 2  # probability 1/2: standard error sqrt(1200) / 2
    assert torch.equal(az.step(az.draw(replace(cell, batch=4))).W, az.step(az.draw(replace(cell, batch=1024))).W)


def test_growth_of_noise_over_feature_is_the_closed_form():
    """All samples pull alike: W moves along the sum of y x, or along its signs; the feature by 1 a step."""
    signs, plain, cell = [], [], replace(LAW, n=20)
    for one in seeds(cell, 400):
        s = az.draw(one)
        each = s.y[:, None] * s.X[:, 1:]
        signs.append((each * each.sum(0).sign()).sum(1).mean())
        plain.append((each * each.mean(0)).sum(1).mean())
    told = az.theory(az.draw(cell))
    for found, name in ((signs, "sign_ratio"), (plain, "gd_ratio")):
        values = torch.stack(found)
        assert abs(values.mean() - told[name]) < 4 * values.std() / math.sqrt(400), name
    alone = az.theory(az.draw(replace(cell, n=1)))
    assert alone["sign_ratio"].item() == pytest.approx(10 * 0.5 * math.sqrt(2 / math.pi), rel=1e-12)


def test_what_is_observed_is_what_is_defined():
    s = stepped(az.draw(replace(CELL, optimizer="adam")), 40)
    found = az.observe(s) | az.measure(s)
    v = torch.zeros(30, dtype=torch.float64)
    v[0] = 1
    filters = {1.0: s.W[:4], -1.0: s.W[4:]}

    def f(*patches):
        return sum(j * ((W @ x).relu() ** 3).sum() for x in patches for j, W in filters.items())

    expected = {
        "feature": min(max(W @ (j * v)) for j, W in filters.items()),
        "memorisation": min(max(filters[float(y)] @ x) for x, y in zip(s.X, s.y, strict=True)),
        "train_error": sum(y * f(y * v, x) <= 0 for x, y in zip(s.X, s.y, strict=True)) / 12,
        "test_error": sum(y * f(y * v, x) <= 0 for x, y in zip(s.X_test, s.y_test, strict=True)) / 16,
        "noise_error": sum(y * f(x) <= 0 for x, y in zip(s.X, s.y, strict=True)) / 12,
    }
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(float(value), rel=1e-12), name
    assert found["test_accuracy"] == 1 - found["test_error"]


def test_a_class_whose_filters_all_turn_away_from_v_gets_no_gradient_of_it_from_its_samples():
    s = az.draw(replace(CELL, alpha=0.0))
    W, own = s.W.clone(), s.y > 0
    W[:4, 0] = -W[:4, 0].abs()
    assert (az.gradient(W, s.X[own], s.y[own], 3)[:4, 0] == 0).all()
    W[4, 0], W[0, 0] = -1.0, 1.0
    assert az.gradient(W, s.X[own], s.y[own], 3)[0, 0] < 0, "a step of gradient descent goes towards v"


def test_only_the_end_counts_and_it_needs_both_errors():
    s = stepped(az.draw(replace(az.Cell(), n_test=50)), 300)

    def spoiled(X, y, count):
        """The first `count` samples with a noise patch that outweighs the feature the wrong way."""
        X = X.clone()
        X[:count, 0] = -50 * y[:count]
        return X

    assert az.budget(s) == 300 and az.solved(s)
    assert not az.solved(s._replace(steps=s.steps - 1))
    assert not az.solved(s._replace(X=spoiled(s.X, s.y, 1)))
    assert az.solved(s._replace(X_test=spoiled(s.X_test, s.y_test, 12)))
    assert not az.solved(s._replace(X_test=spoiled(s.X_test, s.y_test, 13)))


@pytest.fixture(scope="module")
def rows():
    """Eight seeds of every optimizer at alpha = 0.4 and n = 32, Adam in batches of 4 too."""
    point = az.Cell(n=32, alpha=0.4, n_test=100, dtype="float32")
    kinds = {name: replace(point, optimizer=name) for name in az.OPTIMIZERS}
    kinds["batches"] = replace(point, optimizer="adam", batch=4)
    kinds["decay"] = replace(point, optimizer="adam", weight_decay=0.3)
    return {name: list(trained("adam_vs_gd", seeds(cell, 8)).values()) for name, cell in kinds.items()}


def mean(rows, name):
    return sum(row[name] for row in rows) / len(rows)


def test_adam_and_sign_descent_fit_the_noise_and_gradient_descent_the_feature(rows):
    for name in ("gd", "adam", "sign"):
        assert mean(rows[name], "train_error") < 0.01
    for name in ("adam", "sign"):
        assert mean(rows["gd"], "test_error") < 0.05 < 0.3 < mean(rows[name], "test_error")
        assert mean(rows["gd"], "memorisation") < 0.1 < 0.5 < mean(rows[name], "memorisation")
        assert mean(rows[name], "noise_error") < 0.05, "the noise patches alone tell the samples"
    assert mean(rows["gd"], "feature") > 2 * mean(rows["adam"], "feature")


def test_small_batches_cure_adam_and_a_large_weight_decay_stops_it(rows):
    assert mean(rows["batches"], "test_error") < 0.1 < 0.3 < mean(rows["adam"], "test_error")
    assert mean(rows["decay"], "feature") < 0.1 and mean(rows["decay"], "train_error") > 0.2


def test_single_precision_is_the_same_draw_rounded_and_its_rows_do_not_depend_on_the_pack():
    assert torch.equal(az.draw(replace(CELL, dtype="float32")).X, az.draw(CELL).X.float())
    for cell in (az.SMALL, replace(CELL, n=37, d=31, budget=20.0, optimizer="adam")):
        cells = seeds(replace(cell, dtype="float32"), 24)
        reference = trained("adam_vs_gd", cells)
        for part in (cells[:1], cells[11:14], cells[23:12:-1]):
            assert_same_bits(trained("adam_vs_gd", part), reference)
