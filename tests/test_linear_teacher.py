"""Sarussi et al. 2021: gradient, cluster theorem, agreement, limit direction, bounded hinge updates."""

import math
from dataclasses import replace

import pytest
import torch
from training import seeds, trained

from trainables import linear_teacher as lt

CELL = lt.Cell(k=4, n=10, d=5, alpha=0.3, n_test=20, budget=300)
FULL = replace(CELL, batch=CELL.n)


def stepped(state, steps):
    for _ in range(steps):
        state = lt.step(state)
    return state


def test_the_data_is_what_is_said():
    states = [lt.draw(replace(cell, margin=0.25)) for cell in seeds(CELL, 100)]
    for s in states[:20]:
        torch.testing.assert_close(s.X.norm(dim=1), torch.ones(30, dtype=torch.float64), rtol=1e-14, atol=0)
    means = torch.stack([(s.y[:, None] * s.X)[: CELL.n].mean(0).norm() for s in states])
    assert means.min() > 0.25, "the mean of y x has at least the margin along the teacher"
    # |W(0)|^2 + |U(0)|^2 is init_scale^2 chi^2 / 40: mean 1, standard deviation sqrt(2 / 40), over 100 draws
    for k in (4, 1):
        sizes = torch.stack([lt.draw(replace(cell, k=k)).V.square().sum() for cell in seeds(CELL, 100)])
        assert abs(sizes.mean() - 1) < 4 * math.sqrt(2 / (2 * k * 5) / 100)


def test_draws_with_equal_shape_and_seed_share_data_and_weights():
    first, other = lt.draw(CELL), lt.draw(replace(CELL, init_scale=3.0, alpha=0.5, step_size=0.1))
    assert torch.equal(first.X, other.X)
    torch.testing.assert_close(other.V, 3 * first.V, rtol=1e-15, atol=0)


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_the_step_is_the_gradient_of_the_loss(loss):
    s = lt.draw(replace(FULL, loss_function=loss))
    V = s.V.clone().requires_grad_()
    x, y = s.X[: CELL.n], s.y[: CELL.n]
    w, u = V[:4], V[4:]
    f = (
        torch.nn.functional.leaky_relu(x @ w.T, 0.3).sum(1) - torch.nn.functional.leaky_relu(x @ u.T, 0.3).sum(1)
    ) / math.sqrt(8)
    value = torch.log1p(torch.exp(-y * f)).mean() if loss == "logistic" else (1 - y * f).relu().mean()
    (gradient,) = torch.autograd.grad(value, V)
    torch.testing.assert_close(lt.observe(s)["loss"], value.detach(), rtol=1e-14, atol=0)
    torch.testing.assert_close(lt.step(s).V, s.V - s.eta * gradient, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(lt.step(s).f, lt.output(lt.step(s).X @ lt.step(s).V.T, s.alpha), rtol=1e-14, atol=0)


def test_a_batch_is_drawn_without_replacement_and_evenly():
    """With all weights 0 a step on b samples moves every w by eta v s'(0) mean_b y x / 2: the batch can be read off."""
    s = lt.draw(replace(CELL, n=4, batch=2))
    s = s._replace(V=0 * s.V, Z=0 * s.Z, f=0 * s.f)
    counts, moved = torch.zeros(4), s.eta / math.sqrt(8) / 2 / 2
    for k in range(400):
        change = lt.step(s._replace(steps=torch.tensor(k))).V[0] / moved
        solution = torch.linalg.lstsq((s.y[:4, None] * s.X[:4]).T, change[:, None]).solution[:, 0]
        assert solution.round().sum() == 2 and (solution - solution.round()).abs().max() < 1e-8
        counts += solution.round().float()
    # a sample is in a batch with probability 1/2: standard error sqrt(400) / 2
    assert (counts - 200).abs().max() < 4 * math.sqrt(400) / 2


def test_hinge_updates_are_counted_only_where_they_move_something():
    s, count = lt.draw(replace(CELL, loss_function="hinge")), 0
    for _ in range(100):
        after = lt.step(s)
        count += int(not torch.equal(after.V, s.V))
        s = after
    assert int(s.updates) == count < 100


def test_the_limit_direction_solves_its_quadratic_programme():
    """The conditions of Karush, Kuhn and Tucker, to rounding; the point with the multipliers is then the minimum."""
    for cell in seeds(replace(CELL, n=25, margin=0.1), 10):
        s = lt.draw(cell)
        x, y = s.X[:25], s.y[:25]
        w, u = s.limit
        rows = [torch.cat([a, -0.3 * a]) if b > 0 else torch.cat([-0.3 * a, a]) for a, b in zip(x, y, strict=True)]
        A, t = torch.stack(rows), torch.cat([w, u])
        slack = A @ t - 1
        assert slack.min() > -1e-10
        active = slack < 1e-8
        multipliers = torch.linalg.lstsq(A[active].T, t[:, None]).solution[:, 0]
        torch.testing.assert_close(A[active].T @ multipliers, t, rtol=1e-9, atol=1e-10)
        assert multipliers.min() > -1e-10


def test_the_limit_direction_of_one_sample_is_the_sample():
    """min |w|^2 + |u|^2 with (w - alpha u) . x = 1, |x| = 1: w = x / (1 + alpha^2), u = -alpha w."""
    x = lt.draw(CELL).X[:1]
    w, u = lt.limit_direction(x, torch.ones(1, dtype=torch.float64), 0.3)
    torch.testing.assert_close(w, x[0] / 1.09, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(u, -0.3 * x[0] / 1.09, rtol=1e-13, atol=1e-14)


def agreed():
    """A full-batch training whose neurons agree, from step 60 on, and whose limit direction agrees too."""
    s = stepped(lt.draw(replace(FULL, init_scale=0.5)), 60)
    assert lt.agreeing(s).all() and lt.theory(s)["limit_agrees"] == 1
    return s


def test_while_all_neurons_agree_the_clusters_keep_their_shape():
    first = agreed()
    last = stepped(first, 100)
    assert lt.agreeing(last).all() and last.since <= 60
    for a, b in zip(first.V.reshape(2, 4, 5), last.V.reshape(2, 4, 5), strict=True):
        assert (b.mean(0) - a.mean(0)).norm() > 0.1
        torch.testing.assert_close(b - b.mean(0), a - a.mean(0), rtol=0, atol=1e-13)  # 100 roundings of O(1)


def test_agreeing_neurons_tend_to_the_limit_direction():
    """With steps of eta / loss the distance falls as 1 / steps instead of 1 / log steps."""
    s = agreed()
    angles = []
    for steps in (150, 450, 1350):
        for _ in range(steps - int(s.steps)):
            s = lt.step(s._replace(eta=1 / lt.observe(s)["loss"]))
        angles.append(float(lt.observe(s)["angle"]))
    assert lt.agreeing(s).all()
    assert angles[0] > 2 * angles[1] > 4 * angles[2]
    assert angles[2] < 0.04
    assert float(lt.observe(s)["boundary_angle"]) < 0.04


def test_the_cluster_theorem_holds_for_random_clusters_and_its_margins_are_right():
    rng = torch.Generator().manual_seed(3)
    s, tight = lt.draw(CELL), 0.0
    for scale in (0.1, 0.5, 1.0, 2.0, 8.0) * 40:
        V = torch.randn(2, 1, 5, generator=rng).double() + scale * torch.randn(2, 4, 5, generator=rng).double()
        V = V.reshape(8, 5)
        Z = s.X @ V.T
        margins, wrong = lt.against_linear(s._replace(V=V, Z=Z, f=lt.output(Z, s.alpha)))
        w, u = V[:4].mean(0), V[4:].mean(0)
        r = max((V[:4] - w).norm(dim=1).max(), (V[4:] - u).norm(dim=1).max())
        torch.testing.assert_close(margins, (s.X @ (w - u)).abs() / (2 * r), rtol=1e-9, atol=0)
        network = torch.nn.functional.leaky_relu(Z, 0.3)
        assert torch.equal(wrong, (network[:, :4].sum(1) - network[:, 4:].sum(1)).sign() != (s.X @ (w - u)).sign())
        assert not (wrong & (margins > 1)).any()
        tight = max(tight, float(torch.where(wrong, margins, 0.0).max()))
    assert tight > 0.1, "points that disagree come near the theorem's edge: it is not empty"


def test_running_checks_are_those_of_every_step():
    s = lt.draw(replace(CELL, init_scale=3.0))
    largest, since = 0.0, 0
    for step in range(120):
        margins, wrong = lt.against_linear(s)
        largest = max(largest, float(torch.where(wrong, margins, 0.0).max()))
        since = since if lt.agreeing(s).all() else step + 1
        assert float(s.disagreement) == largest and int(s.since) == since and int(s.violations) == 0
        s = lt.step(s)
    assert largest > 0 and since > 0


def test_one_neuron_of_each_sign_is_its_own_cluster():
    rows = trained("linear_teacher", seeds(replace(CELL, k=1), 5)).values()
    for row in rows:
        assert row["radius"] < 1e-14 and row["agreement"] == 1 and row["decided"] == 1 and row["violations"] == 0


def test_a_contradiction_of_the_cluster_theorem_would_be_counted():
    s = lt.draw(replace(CELL, k=1))
    upside_down = lt.checked(s._replace(f=-s.f))
    assert int(upside_down.violations) == 30 and upside_down.disagreement > 1


def test_the_bound_on_updates_is_the_largest_that_the_inequality_admits():
    for F0, G0, eta, alpha, margin in (
        (0.3, 1.0, 1.0, 0.2, 0.3),
        (-0.5, 4.0, 0.1, 0.5, 0.1),
        (0.0, 1e-4, 2.0, 0.9, 0.8),
    ):

        def slack(t, F0=F0, G0=G0, eta=eta, a=eta * alpha * margin):
            return math.sqrt(G0 + (2 * eta + eta * eta) * t) - F0 - a * t

        t = lt.most_updates(F0, G0, eta, alpha, margin)
        assert slack(t * (1 - 1e-6)) > 0 > slack(t * (1 + 1e-6))
    assert lt.most_updates(0.0, 1.0, 1.0, 0.5, 0.0) == math.inf


def test_both_inequalities_behind_the_bound_hold_at_every_update():
    """F gains eta alpha g at least, G at most 2 eta + eta^2: eq. (6), with the teacher found as the axis of draw."""
    cell = replace(CELL, loss_function="hinge", n=20, margin=0.2, init_scale=2.0)
    s = lt.draw(cell)
    rng = lt.generator("linear_teacher", 4, 20, 5, 20, 0)
    teacher = torch.randn(41, 5, generator=rng, dtype=torch.float64)[0]
    teacher = teacher / teacher.norm()
    assert (s.y[:20] * (s.X[:20] @ teacher)).min() >= 0.2 - 1e-14
    signs = torch.tensor([1.0] * 4 + [-1.0] * 4).double()
    for _ in range(150):
        after = lt.step(s)
        if int(after.updates) > int(s.updates):
            gain = ((after.V - s.V) * signs[:, None] @ teacher).sum() / math.sqrt(8)
            assert gain >= 0.3 * 0.2 - 1e-13
            assert after.V.square().sum() - s.V.square().sum() <= 2 + 1 + 1e-13
        s = after
    assert 5 < int(s.updates) < float(s.updates_bound)


def test_hinge_trainings_end_separated_within_the_bound_at_any_width_and_sample_count():
    for k, n in ((1, 12), (12, 12), (2, 96)):
        cell = replace(CELL, k=k, n=n, loss_function="hinge", budget=4000)
        for row in trained("linear_teacher", seeds(cell, 5)).values():
            assert row["outcome"] == "fit" and row["loss"] == 0 and row["error"] == 0
            assert 0 < row["updates"] <= row["updates_bound"]


def test_small_initial_weights_agree_soon_in_tight_clusters():
    kinds = [replace(CELL, init_scale=scale) for scale in (0.01, 10.0)]
    rows = list(trained("linear_teacher", [one for kind in kinds for one in seeds(kind, 10)]).values())
    small, large = rows[:10], rows[10:]
    assert max(row["radius"] for row in small) < min(row["radius"] for row in large)
    assert all(row["agreement_steps"] == CELL.budget + 1 for row in large), "not one has agreed by then"
    assert sum(row["agreement_steps"] < 200 for row in small) >= 8, "agreement cannot last on every data set"
    assert {row["outcome"] for row in small} == {"fit"}
    assert sum(row["agreement"] for row in small) > sum(row["agreement"] for row in large)


def test_impossible_cells_are_refused():
    for change in ({"d": 1}, {"alpha": 1.0}, {"margin": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            lt.draw(replace(CELL, **change))
