"""Liu et al. 2019, Du et al. 2017: population loss, the spurious minimum, the chance of a start, the warm-up."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from training import seeds, trained

from trainables import shortcut_cnn as cnn

CELL = cnn.Cell(k=5, p=4, s=2.0, start="random")
TRUE = ("a_star", "v_star")


def point(cell=CELL):
    """a, v, a*, v* of a first state, with a of the size of a* so that no term of the loss is small."""
    s = cnn.draw(cell)
    a = torch.randn(cell.k, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return a, s.v, s.a_star, s.v_star


def patches(count, seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, CELL.k, CELL.p, dtype=torch.float64, generator=rng)


def tangent(v, x):
    return x - (x * v).sum() * v


def test_the_loss_is_the_mean_over_gaussian_patches():
    a, v, a_star, v_star = point()
    Z = patches(400_000, 1)
    losses = ((Z @ v_star).relu() @ a_star - (Z @ v).relu() @ a).square() / 2
    error = losses.std() / math.sqrt(len(losses))
    expected = cnn.loss(a, v, a_star, v_star)
    assert error < 0.01 * expected
    assert abs(losses.mean() - expected) < 4 * error


def test_the_gradients_are_the_means_over_gaussian_patches():
    a, v, a_star, v_star = point()
    Z = patches(400_000, 2)
    hidden = Z @ v
    residual = hidden.relu() @ a - (Z @ v_star).relu() @ a_star
    in_a = residual[:, None] * hidden.relu()
    in_v = residual[:, None] * (((hidden > 0).double() * a)[:, :, None] * Z).sum(1)
    grad_a, grad_v = cnn.gradients(a, v, a_star, v_star)
    for sampled, expected in ((in_a, grad_a), (in_v - (in_v @ v)[:, None] * v, grad_v)):
        error = sampled.std(0) / math.sqrt(len(Z))
        assert error.max() < 0.01
        assert ((sampled.mean(0) - expected).abs() < 4.5 * error).all()  # nine components


def test_the_gradients_are_those_of_the_loss():
    a, v, a_star, v_star = point()
    a.requires_grad_()
    v.requires_grad_()
    grad_a, grad_v = torch.autograd.grad(cnn.loss(a, cnn.unit(v), a_star, v_star), (a, v))
    found = cnn.gradients(a, v, a_star, v_star)
    torch.testing.assert_close(found[0], grad_a, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(found[1], grad_v, rtol=1e-12, atol=1e-14)  # through unit(v): already tangential


def test_the_step_descends_by_both_gradients_and_stays_on_the_sphere():
    s = cnn.draw(CELL)
    grad_a, grad_v = cnn.gradients(s.a, s.v, s.a_star, s.v_star)
    after = cnn.step(s)
    torch.testing.assert_close(after.a, s.a - s.eta_a * grad_a, rtol=1e-15, atol=0)
    moved = s.v - CELL.ratio * s.eta_a * grad_v
    torch.testing.assert_close(after.v, moved / moved.norm(), rtol=1e-14, atol=1e-16)
    assert int(after.steps) == 1


def test_the_loss_is_zero_at_the_truth_only():
    _, v, a_star, v_star = point()
    assert cnn.loss(a_star, v_star, a_star, v_star) == 0
    assert cnn.loss(a_star, v, a_star, v_star) > 1e-3
    assert cnn.angle(v_star, v_star) == 0 and float(cnn.angle(-v_star, v_star)) == math.pi
    nudged = cnn.unit(v_star + 1e-9 * v)
    assert 1e-10 < cnn.angle(nudged, v_star) < 2e-9, "an arccos would say 0"


@pytest.mark.parametrize(("s", "k"), [(0.0, 5), (1.0, 5), (2.0, 5), (2.5, 5), (5.0, 5), (8.0, 25), (9.0, 25)])
def test_the_spurious_point_is_stationary_and_a_minimum_below_the_threshold(s, k):
    """L is flat in v to second order there, so its Hessian cannot tell; the term in delta^3 does.

    a is minimised out for every v, which leaves -a.a* delta^3 / (6 pi) with a relative correction of order delta.
    """
    state = cnn.draw(replace(CELL, k=k, s=s))
    a_star, v_star = state.a_star, state.v_star
    a, v = cnn.spurious(a_star), -v_star
    grad_a, grad_v = cnn.gradients(a, v, a_star, v_star)
    assert grad_a.abs().max() < 1e-14 and grad_v.abs().max() < 1e-14
    A = 1 + (math.pi - 1) * torch.eye(k, dtype=torch.float64)
    known = torch.linalg.solve(A, a_star.sum() - a_star)
    torch.testing.assert_close(a, known, rtol=1e-12, atol=1e-14)

    delta = 1e-2
    side = cnn.unit(tangent(v, torch.randn(CELL.p, dtype=torch.float64, generator=torch.Generator().manual_seed(4))))
    near = math.cos(delta) * v + math.sin(delta) * side
    g = cnn.overlap(cnn.angle(near, v_star))
    best = torch.linalg.solve(A, a_star.sum() + (g - 1) * a_star)
    change = cnn.loss(best, near, a_star, v_star) - cnn.loss(a, v, a_star, v_star)
    cubic = -float((a * a_star).sum()) * delta**3 / (6 * math.pi)
    # g = delta^3 / 3 + O(delta^5); a answers at order delta^3, the loss to that at delta^6 = 1e-6 delta^3
    assert abs(change - cubic) < 1e-3 * abs(cubic) + 1e-6 * delta**3
    is_minimum = bool(cnn.theory(state)["spurious_is_minimum"])
    assert is_minimum == (s < 1 + (k - 1) / math.pi) == bool(change > 0)


def test_all_directions_around_the_spurious_point():
    """Below the threshold every one of 20,000 near points is higher; above it some point on the arc is lower."""
    rng = torch.Generator().manual_seed(5)
    for s, minimum in ((2.0, True), (2.6, False)):  # the threshold is 2.273
        state = cnn.draw(replace(CELL, s=s))
        a_star, v_star = state.a_star, state.v_star
        a, v = cnn.spurious(a_star), -v_star
        lowest = math.inf
        for size_a, size_v in itertools.product((0.0, 1e-7, 1e-5, 1e-3), (1e-3, 1e-2)):
            da = size_a * torch.randn(2500, CELL.k, dtype=torch.float64, generator=rng)
            near = v + size_v * torch.randn(2500, CELL.p, dtype=torch.float64, generator=rng)
            near = near / near.norm(dim=1, keepdim=True)
            losses = torch.func.vmap(lambda x, y: cnn.loss(x, y, a_star, v_star))(a + da, near)  # noqa: B023
            lowest = min(lowest, float((losses - cnn.loss(a, v, a_star, v_star)).min()))
        assert (lowest > 0) == minimum


def test_the_settled_output_layer_turns_the_filter_towards_the_truth_iff_g_is_above_its_critical_value():
    k, s = 5, 1.5
    state = cnn.draw(replace(CELL, k=k, s=s))
    A = 1 + (math.pi - 1) * torch.eye(k, dtype=torch.float64)
    signs = set()
    for g in torch.linspace(0.05, 3.1, 40, dtype=torch.float64):
        settled = torch.linalg.solve(A, state.a_star.sum() + (g - 1) * state.a_star)
        towards = bool((settled * state.a_star).sum() > 0)
        assert towards == bool(g > cnn.critical_value(k, s))
        signs.add(towards)
    assert signs == {True, False}
    assert abs(cnn.critical_value(25, 1 + 24 / math.pi)) < 1e-14, "0 at the threshold of eq. (7)"


@pytest.mark.parametrize("p", [2, 3, 6, 40])
def test_the_chance_is_the_share_of_uniform_directions_above_the_critical_value(p):
    rng = torch.Generator().manual_seed(6)
    v = torch.randn(200_000, p, dtype=torch.float64, generator=rng)
    cosine = v[:, 0] / v.norm(dim=1)
    g = torch.func.vmap(cnn.overlap)(cosine.arccos())
    for g_c in (0.2, 0.7, 1.0):
        share, expected = float((g > g_c).double().mean()), cnn.chance(p, g_c)
        assert abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / len(v)) + 1e-12


def test_the_chance_has_its_known_values():
    assert abs(cnn.chance(6, cnn.critical_value(25, 0.0)) - 1 / 2) < 1e-12  # g(pi/2) = 1
    assert cnn.chance(6, cnn.critical_value(25, 9.0)) == 1  # beyond 1 + 24/pi = 8.64
    assert abs(cnn.chance(3, 1.0) - 1 / 2) < 1e-12
    critical = 2.0  # p = 3: the cosine is uniform on [-1, 1] (Archimedes)
    g_c = (math.pi - critical) * math.cos(critical) + math.sin(critical)
    assert abs(cnn.chance(3, g_c) - (1 - math.cos(critical)) / 2) < 1e-12


def test_the_draw_is_as_stated():
    for cell in seeds(replace(CELL, k=7, p=5, s=3.0), 100):
        random, resnet = cnn.draw(cell), cnn.draw(replace(cell, start="resnet"))
        adversarial = cnn.draw(replace(cell, a_start="adversarial"))
        assert abs(random.a_star.norm() - 1) < 1e-14 and abs(random.a_star.sum() ** 2 - 3) < 1e-13
        pooling = torch.full((5,), 5**-0.5, dtype=torch.float64)
        assert torch.equal(resnet.v, pooling) and abs(random.v.norm() - 1) < 1e-14
        assert abs(random.v_star.norm() - 1) < 1e-14 and cnn.angle(random.v_star, pooling) < math.pi / 3
        radius = float(random.a_star.sum()) / math.sqrt(7)
        assert random.a.norm() < radius
        torch.testing.assert_close(adversarial.a, -radius * random.a_star, rtol=1e-12, atol=1e-15)
        assert all(torch.equal(getattr(random, name), getattr(resnet, name)) for name in ("a", *TRUE))


def test_filters_are_uniform_on_the_cap_and_output_layers_in_the_ball():
    """p = 3: the height over a cap is uniform; in the ball (r / radius)^k is. Kolmogorov at level 1e-4."""
    states = [cnn.draw(cell) for cell in seeds(replace(CELL, p=3), 1000)]
    height = [float(s.v_star.sum()) / math.sqrt(3) for s in states]
    assert stats.kstest(height, stats.uniform(0.5, 0.5).cdf).pvalue > 1e-4
    volume = [float(s.a.norm() / math.sqrt(2 / 5)) ** 5 for s in states]
    assert stats.kstest(volume, stats.uniform.cdf).pvalue > 1e-4
    first = [float(s.v[0]) for s in states]
    assert stats.kstest(first, stats.uniform(-1, 2).cdf).pvalue > 1e-4


def test_what_cannot_be_drawn_says_so():
    for wrong in ({"s": 6.0}, {"s": -0.1}, {"k": 1, "s": 1.0}, {"p": 1}):
        with pytest.raises(ValueError, match="needs k"):
            cnn.draw(replace(CELL, **wrong))


def test_steps_and_budget_are_in_the_units_stated():
    cell = replace(CELL, step_size=0.5, ratio=0.2, budget=7.0, warm_up=3.0, warm_ratio=0.01)
    state = cnn.draw(cell)
    A = (1 + (math.pi - 1) * torch.eye(cell.k, dtype=torch.float64)) / (2 * math.pi)
    low, high = torch.linalg.eigvalsh(A)[[0, -1]].tolist()
    eta_a = 0.5 / high
    assert abs(float(state.eta_a) - eta_a) < 1e-15 and abs(float(state.eta_w) - 0.2 * eta_a) < 1e-15
    warm = math.ceil(3 / (eta_a * low))
    assert int(state.warm_steps) == warm
    assert int(state.budget) == warm + math.ceil(7 / (0.2 * eta_a / 2))
    fast = cnn.draw(replace(cell, ratio=100.0))
    assert abs(float(fast.eta_w) / 2 - 0.5) < 1e-12, "the filter's curvature is 1/2 at the minimum"
    assert int(cnn.draw(replace(cell, max_steps=11)).budget) == 11


def test_the_curvature_of_the_filter_at_the_truth_is_one_half():
    """What the step size and the budget are measured in."""
    s = cnn.draw(CELL)
    side = cnn.unit(tangent(s.v_star, s.v))
    for delta in (1e-3, 1e-4):
        v = math.cos(delta) * s.v_star + math.sin(delta) * side
        curvature = 2 * float(cnn.loss(s.a_star, v, *(getattr(s, name) for name in TRUE))) / delta**2
        assert abs(curvature - 1 / 2) < delta  # g = pi - pi phi^2/2 + O(phi^3)


def test_the_warm_up_is_a_stage_of_small_filter_steps():
    cell = replace(CELL, ratio=10.0, warm_up=0.6, warm_ratio=0.1)
    s = cnn.draw(cell)
    assert int(s.warm_steps) > 2
    for i in range(int(s.warm_steps) + 2):
        _, grad_v = cnn.gradients(s.a, s.v, s.a_star, s.v_star)
        eta = (0.1 if i < int(s.warm_steps) else 10.0) * s.eta_a
        after = cnn.step(s)
        torch.testing.assert_close(after.v, cnn.unit(s.v - eta * grad_v), rtol=1e-14, atol=1e-16)
        s = after


def test_each_training_ends_as_eq_8_says_where_the_output_layer_is_faster():
    """At eta_w / eta_a = 0.03 the exceptions are starts within about 1% of the critical angle: at most 2 in 150."""
    cell = cnn.Cell(k=6, p=4, s=1.0, start="random", ratio=0.03, tolerance=1e-4, budget=40.0)
    rows = trained("shortcut_cnn", seeds(cell, 150)).values()
    wrong = [row for row in rows if row["success"] != row["predicted_success"]]
    successes = sum(row["success"] for row in rows)
    assert len(wrong) <= 2
    assert 0.3 < successes / 150 < 0.9
    for row in rows:
        if not row["success"] and row not in wrong:
            assert row["alignment"] < 0 and row["spurious_distance"] < row["global_distance"]
            assert row["curve_angle"][-1] > row["angle0"]
    chance = next(iter(rows))["success_probability"]
    assert stats.binomtest(successes, 150, chance).pvalue > 1e-3


def test_the_resnet_start_always_succeeds():
    cells = [cell for s in (0.0, 1.0, 4.0) for cell in seeds(cnn.Cell(k=6, p=4, s=s, start="resnet", ratio=0.3), 60)]
    rows = trained("shortcut_cnn", cells).values()
    assert all(row["success"] == row["success_probability"] == row["predicted_success"] == 1 for row in rows)


def test_a_warm_up_saves_the_adversarial_output_layer():
    cell = cnn.Cell(k=6, p=4, s=1.0, a_start="adversarial", ratio=100.0, step_size=1.0, budget=10.0)
    kinds = [replace(cell, warm_up=w) for w in (0.0, 10.0)]
    rows = list(trained("shortcut_cnn", [one for kind in kinds for one in seeds(kind, 20)]).values())
    cold, warm = rows[:20], rows[20:]
    assert sum(row["success"] for row in cold) <= 1
    assert all(row["success"] for row in warm)
    slow = trained("shortcut_cnn", seeds(replace(cell, ratio=1.0), 20)).values()
    assert all(row["success"] for row in slow), "at a small ratio nothing need be saved"


def test_what_is_measured_is_what_is_defined():
    s = cnn.draw(CELL)
    A = 1 + (math.pi - 1) * torch.eye(CELL.k, dtype=torch.float64)
    a = torch.linalg.solve(A, s.a_star.sum() - s.a_star)  # with v = -v*: relu(v.Z) and relu(v*.Z) never meet, g = 0
    misfit = (a @ a + 1) * (1 / 2 - 1 / (2 * math.pi)) + (a.sum() - s.a_star.sum()) ** 2 / (2 * math.pi)
    expected = {
        "angle": (s.v @ s.v_star).arccos(),
        "alignment": s.a @ s.a_star,
        "global_distance": torch.cat([s.a - s.a_star, s.v - s.v_star]).norm(),
        "spurious_distance": torch.cat([s.a - a, s.v + s.v_star]).norm(),
        "spurious_loss": (misfit + a @ s.a_star / math.pi) / 2,
        "angle0": (s.v @ s.v_star).arccos(),
        "eta_w": CELL.ratio * s.eta_a,
    }
    found = cnn.observe(s) | cnn.measure(s) | cnn.theory(s)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-14, msg=name)
