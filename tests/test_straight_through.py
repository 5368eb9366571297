"""Yin et al. 2019: coarse gradients in closed form and sampled, descent, the spurious point and its repulsion."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from training import seeds, trained

from trainables import straight_through as ste

CELL = ste.Cell(m=5, d=4)
NAMES = ("identity", "relu", "clipped_relu")


def point(seed=3, size=0.8, m=5, d=4):
    """v, w, v*, w* without symmetry, |w| = size: below 1 the clip matters and is not all."""
    rng = torch.Generator().manual_seed(seed)
    v, v_star = torch.randn(2, m, generator=rng, dtype=torch.float64)
    w, w_star = torch.randn(2, d, generator=rng, dtype=torch.float64)
    return v, size * w / w.norm(), v_star, w_star / w_star.norm()


def place(name):
    return torch.tensor(NAMES.index(name))


def samples(count, seed, m=5, d=4):
    return torch.randn(count, m, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def coarse_by_definition(Z, v, w, v_star, w_star, name):
    """Eq. (5), sample by sample, and the residuals y - y*."""
    x = Z @ w
    residual = (x > 0).double() @ v - (Z @ w_star > 0).double() @ v_star
    slope = {"identity": torch.ones_like(x), "relu": (x > 0).double(), "clipped_relu": ((x > 0) & (x < 1)).double()}
    return torch.einsum("bmd,bm,b->bd", Z, slope[name] * v, residual), residual, (x > 0).double()


def test_loss_and_gradient_of_v_are_means_over_gaussian_samples():
    v, w, v_star, w_star = point()
    _, residual, active = coarse_by_definition(samples(400_000, 1), v, w, v_star, w_star, "relu")
    losses = residual.square() / 2
    error = losses.std() / math.sqrt(len(losses))
    assert error < 0.01 * losses.mean()
    assert abs(losses.mean() - ste.loss(v, w, v_star, w_star)) < 4 * error
    each = active * residual[:, None]
    gap = each.mean(0) - ste.gradients(v, w, v_star, w_star)[0]
    assert (gap.abs() < 4.5 * each.std(0) / math.sqrt(len(each))).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.4, 0.8, 2.5])
def test_the_closed_form_is_the_mean_of_sampled_coarse_gradients(name, size):
    """Four components at three sizes and three estimators: 4.5 standard errors each. One standard error is under 1%."""
    v, w, v_star, w_star = point(size=size)
    each = coarse_by_definition(samples(200_000, 2), v, w, v_star, w_star, name)[0]
    error = each.std(0) / math.sqrt(len(each))
    expected = ste.coarse_gradient(v, w, v_star, w_star, place(name))
    assert error.max() < 0.01 * max(1.0, float(expected.norm()))
    assert ((each.mean(0) - expected).abs() < 4.5 * error).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_sampled_step_takes_the_batch_means_of_the_definition(name):
    v, w, v_star, w_star = point()
    Z = samples(50, 4)
    grad_v, coarse = ste.sampled_gradients(Z, v, w, v_star, w_star, place(name))
    each, residual, active = coarse_by_definition(Z, v, w, v_star, w_star, name)
    torch.testing.assert_close(coarse, each.mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(grad_v, (active * residual[:, None]).mean(0), rtol=1e-12, atol=1e-14)


def test_the_loss_is_the_papers_and_its_gradients_are_those_of_autograd():
    for seed in range(10):
        v, w, v_star, w_star = point(seed)
        v.requires_grad_()
        w.requires_grad_()
        A, theta = 1 + torch.eye(5, dtype=torch.float64), torch.arccos(w @ w_star / w.norm())
        mixed = 1 + (1 - 2 * theta / math.pi) * torch.eye(5, dtype=torch.float64)
        known = (v @ A @ v - 2 * v @ mixed @ v_star + v_star @ A @ v_star) / 8
        grad_v, grad_w = torch.autograd.grad(known, (v, w))
        torch.testing.assert_close(ste.loss(v, w, v_star, w_star), known, rtol=1e-12, atol=1e-14)
        found = ste.gradients(v, w, v_star, w_star)
        torch.testing.assert_close(found[0], grad_v, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(found[1], grad_w, rtol=1e-11, atol=1e-13)


def test_the_coarse_gradients_are_the_papers():
    v, w, v_star, w_star = point()
    u, overlap, root = w / w.norm(), v @ v_star, math.sqrt(2 * math.pi)
    theta = torch.arccos(u @ w_star)
    h = v @ v + v.sum() ** 2 - v.sum() * v_star.sum() + overlap
    relu = h / (2 * root) * u - (theta / 2).cos() * overlap / root * (u + w_star) / (u + w_star).norm()
    identity = (v @ v * u - overlap * w_star) / root
    torch.testing.assert_close(ste.coarse_gradient(v, w, v_star, w_star, place("relu")), relu, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        ste.coarse_gradient(v, w, v_star, w_star, place("identity")), identity, rtol=1e-12, atol=0
    )


def test_the_clipped_form_tends_to_the_relu_form_for_small_filters():
    """The units' inputs are then nearly all below the clip: at |w| = 0.1 it is at ten standard deviations."""
    v, w, v_star, w_star = point(size=0.1)
    clipped, relu = (ste.coarse_gradient(v, w, v_star, w_star, place(name)) for name in ("clipped_relu", "relu"))
    torch.testing.assert_close(clipped, relu, rtol=1e-12, atol=1e-14)
    w = 30 * w
    clipped, relu = (ste.coarse_gradient(v, w, v_star, w_star, place(name)) for name in ("clipped_relu", "relu"))
    assert clipped.norm() < 0.2 * relu.norm()


@pytest.mark.parametrize("name", NAMES)
def test_the_coarse_gradient_correlates_with_the_gradient_as_eq_8_says(name):
    for seed in range(20):
        v, w, v_star, w_star = point(seed, size=0.3 + 0.1 * seed)
        theta, size = torch.arccos(w @ w_star / w.norm()), float(w.norm())
        factor = {"identity": 1.0, "relu": 0.5, "clipped_relu": stats.norm.cdf(1 / (size * float(theta.sin()))) - 0.5}
        inner = ste.coarse_gradient(v, w, v_star, w_star, place(name)) @ ste.gradients(v, w, v_star, w_star)[1]
        known = factor[name] * theta.sin() * (v @ v_star) ** 2 / ((2 * math.pi) ** 1.5 * size)
        torch.testing.assert_close(inner, known, rtol=1e-10, atol=1e-13)
        assert inner >= 0


@pytest.mark.parametrize("name", NAMES)
def test_only_the_identity_has_a_coarse_gradient_at_the_spurious_point(name):
    """And none has one at the global minimum."""
    for m in (2, 5, 16):
        _, w, v_star, w_star = point(m, m=m)
        v = ste.spurious(v_star)
        ones = torch.ones(m, m, dtype=torch.float64)
        known = torch.linalg.solve(torch.eye(m, dtype=torch.float64) + ones, (ones - torch.eye(m)) @ v_star)
        torch.testing.assert_close(v, known, rtol=1e-11, atol=1e-12)
        w = -0.7 * w_star
        assert ste.gradients(v, w, v_star, w_star)[0].abs().max() < 1e-13
        coarse = ste.coarse_gradient(v, w, v_star, w_star, place(name))
        total = float(v_star.sum())
        size = 2 * (m - 1) * total**2 / (math.sqrt(2 * math.pi) * (m + 1) ** 2) if name == "identity" else 0.0
        torch.testing.assert_close(coarse, -size * w_star, rtol=1e-11, atol=1e-13)
        assert ste.coarse_gradient(v_star, -w, v_star, w_star, place(name)).abs().max() < 1e-13
        assert ste.loss(v_star, -w, v_star, w_star) < 1e-15


def test_the_spurious_point_is_a_minimum_iff_eq_9_says_so():
    """f falls in no direction among 4,000 iff theta turning back from pi costs: the cone has slope v.v* / (2 pi)."""
    rng, kinds = torch.Generator().manual_seed(5), set()
    for seed in range(30):
        state = ste.draw(replace(CELL, m=3, start="spurious", seed=seed))
        c = float(state.v_star.sum() ** 2 / 3)
        exists = bool(ste.theory(state)["spurious_exists"])
        assert exists == (c < 2)
        if abs(c - 2) < 0.1:
            continue
        dv = 1e-3 * torch.randn(4000, 3, generator=rng, dtype=torch.float64)
        dv[:2000] *= 1e-3
        dw = 1e-3 * torch.randn(4000, 4, generator=rng, dtype=torch.float64)
        near = torch.func.vmap(ste.loss, (0, 0, None, None))(state.v + dv, state.w + dw, state.v_star, state.w_star)
        assert bool((near > ste.loss(state.v, state.w, state.v_star, state.w_star)).all()) == exists
        kinds.add(exists)
    assert kinds == {True, False}


@pytest.mark.parametrize("m", [2, 3, 8])
def test_the_chances_are_shares_of_gaussian_teachers_and_uniform_filters(m):
    rng, count = torch.Generator().manual_seed(m), 100_000
    v_star = torch.randn(count, m, generator=rng, dtype=torch.float64)
    c = v_star.sum(1) ** 2 / v_star.square().sum(1)
    for d in (2, 5):
        w = torch.randn(count, d, generator=rng, dtype=torch.float64)
        theta = torch.arccos(w[:, 0] / w.norm(dim=1))
        pairs = (
            ((c < (m + 1) / 2), ste.chance_spurious(m)),
            (1 - 2 * theta / math.pi > -c / (m + 1 - c), ste.chance(m, d)),
        )
        for event, chance in pairs:
            share = float(event.double().mean())
            assert abs(share - chance) < 4.5 * math.sqrt(chance * (1 - chance) / count)
    assert abs(ste.chance_spurious(2) - 2 / 3) < 1e-12  # the arcsine law at 3/4


def test_the_settled_output_layer_turns_the_filter_to_the_truth_as_eq_11_says():
    signs = set()
    for seed in range(30):
        state = ste.draw(replace(CELL, seed=seed))
        theta = ste.angle(state.w, state.w_star)
        A = 1 + torch.eye(5, dtype=torch.float64)
        settled = torch.linalg.solve(A, state.v_star.sum() + (1 - 2 * theta / math.pi) * state.v_star)
        towards = bool(settled @ state.v_star > 0)
        assert towards == bool(ste.theory(state)["predicted_success"])
        signs.add(towards)
    assert signs == {True, False}


@pytest.mark.parametrize("name", NAMES)
def test_the_step_goes_against_both_gradients_and_notes_what_it_sees(name):
    cell = replace(CELL, ste=name, ratio=0.5, step_size=0.3)
    state = ste.draw(cell)
    eta = 4 * 0.3 / 6
    grad_v, _ = ste.gradients(*state[:4])
    coarse = ste.coarse_gradient(*state[:4], place(name))
    after = ste.step(state)
    torch.testing.assert_close(after.v, state.v - eta * grad_v, rtol=1e-14, atol=0)
    torch.testing.assert_close(after.w, state.w - 0.5 * eta * coarse, rtol=1e-14, atol=0)
    losses, sizes = [float(state.loss)], [float(state.w.norm())]
    for _ in range(200):
        state = ste.step(state._replace(eta=state.eta * 1.03, eta_w=state.eta_w * 1.03))  # until the steps are too long
        losses.append(float(ste.loss(*state[:4]) / 5))
        sizes.append(float(state.w.norm()))
        if not losses[-1] < 100:
            break
    rises = [b - a for a, b in itertools.pairwise(losses)]
    found = ste.measure(state)
    assert max(rises) > 0 and abs(float(found["largest_rise"]) - max(rises)) < 1e-12 * max(1, max(losses))
    assert int(found["violations"]) == sum(rise > 1e-12 for rise in rises)
    assert abs(float(found["norm_min"]) - min(sizes)) < 1e-13
    assert int(state.steps) == len(rises)


def test_the_draw_is_as_stated():
    first = []
    for cell in seeds(replace(CELL, init_scale=0.5), 150):
        s = ste.draw(cell)
        assert abs(s.w.norm() - 1) < 1e-14 and abs(s.w_star.norm() - 1) < 1e-14
        assert abs(s.v_star.norm() - math.sqrt(5)) < 1e-14
        first += (s.v / 0.5).tolist()
        near, at = (ste.draw(replace(cell, start="spurious", noise=noise)) for noise in (0.1, 0.0))
        assert torch.equal(near.v_star, s.v_star) and torch.equal(at.w, -s.w_star)
        assert abs((near.v - at.v).norm() - 0.1 * math.sqrt(5)) < 1e-14 and abs((near.w - at.w).norm() - 0.1) < 1e-14
        assert ste.observe(at)["spurious_distance"] < 1e-14
    assert stats.kstest(first, stats.norm.cdf).pvalue > 1e-4
    with pytest.raises(ValueError, match="needs m"):
        ste.draw(replace(CELL, m=1))


def test_the_budget_is_in_time_constants_of_the_slower_layer():
    """The rates at the minimum with |w| = 1, from linearised updates: 1/4 in v, |v*|^2 / (2 sqrt(2 pi)) in theta."""
    eta = 4 * CELL.step_size / 6
    assert int(ste.draw(replace(CELL, budget=7.0)).budget) == math.ceil(7 / (eta / 4))
    slow = int(ste.draw(replace(CELL, budget=7.0, ratio=0.01)).budget)
    assert slow == math.ceil(7 / (eta * 0.01 * 5 / (2 * math.sqrt(2 * math.pi))))
    assert int(ste.draw(replace(CELL, max_steps=11)).budget) == 11
    _, w, v_star, w_star = point()
    w = w_star + 1e-4 * w
    turn = ste.coarse_gradient(v_star, w, v_star, w_star, place("relu"))
    side = w / w.norm() - w_star
    rate = float(turn @ side / side.square().sum())
    assert abs(rate / (float(v_star @ v_star) / (2 * math.sqrt(2 * math.pi))) - 1) < 1e-3


def by_estimator(cell, count, names):
    """Rows of ``count`` seeds by estimator, trained together."""
    found = trained("straight_through", [one for name in names for one in seeds(replace(cell, ste=name), count)])
    return {name: [row for row in found.values() if row["ste"] == name] for name in names}


def test_small_steps_descend_and_end_as_eq_11_says():
    """At ratio 0.03 v settles long before w has turned: only starts near the critical angle may end otherwise."""
    cell = ste.Cell(m=4, d=4, step_size=0.8, ratio=0.03, tolerance=1e-3, init_scale=0.3, budget=14.0)
    for rows in by_estimator(cell, 24, ("relu", "clipped_relu")).values():
        assert max(row["largest_rise"] for row in rows) < 1e-12 and max(row["anticorrelation"] for row in rows) < 1e-12
        assert sum(row["success"] != row["predicted_success"] for row in rows) <= 2
        chance = ste.chance(4, 4)
        assert stats.binomtest(sum(row["success"] for row in rows), 24, chance).pvalue > 1e-3
        for row in rows:
            assert row["success"] or row["v_overlap"] < 0.1 or row["theta"] < 0.3


def test_the_identity_is_repelled_by_the_spurious_minimum_and_relu_is_not():
    cell = ste.Cell(m=8, d=4, start="spurious", noise=0.01, ratio=0.2, step_size=0.3, budget=20.0)
    rows = by_estimator(cell, 30, NAMES)
    for name in ("relu", "clipped_relu"):
        stay = [row for row in rows[name] if row["spurious_exists"]]
        assert len(stay) > 20 and max(row["spurious_distance"] for row in stay) < 0.01
        assert max(row["largest_rise"] for row in stay) < 1e-12 and not any(row["success"] for row in stay)
    # |w| falls by eta |E g| a step and must reach 0 within the budget; twice that leaves room for the settling of v
    due = [
        row for row in rows["identity"]
        if row["spurious_exists"] and row["budget_steps"] * row["eta"] * 0.2 * row["spurious_coarse_gradient"] * 8 > 2
    ]  # fmt: skip
    assert len(due) > 10
    assert all(row["violations"] > 0 and row["largest_rise"] > 0.01 for row in due)
    assert sorted(row["spurious_distance"] for row in due)[len(due) // 2] > 0.01


def test_sampled_coarse_gradients_add_up_to_the_closed_form_along_a_training():
    """The ratio is 1 on average if eq. (6) holds, and about the number of steps if it does not."""
    cell = replace(CELL, m=3, gradient="sampled", batch=16, ratio=0.1, max_steps=150, tolerance=1e-9)
    for rows in by_estimator(cell, 20, NAMES).values():
        ratios = torch.tensor([row["sampling_ratio"] for row in rows])
        # between chi^2 with 1 and with 4 degrees over their number: standard deviation at most sqrt(2)
        assert abs(ratios.mean() - 1) < 4 * math.sqrt(2 / 20)
        assert all(row["sampling_ratio"] < ste.SAMPLING for row in rows)
