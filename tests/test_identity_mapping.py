"""Li and Yuan 2017: closed forms, gradients, where the teacher is recovered and where the gradient points away."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from training import assert_same_bits, seeds, trained

from trainables import identity_mapping as li
from trainables import normal

CELL = li.Cell(d=6, teacher_norm=0.8, start="random", init_scale=0.6)
SAMPLES = 400_000


def gaussian(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(found, expected, rtol=1e-12, atol=1e-13):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=atol)


def output(U, X):
    """Eq. (1) on the rows of X."""
    return (X @ U).relu().sum(-1)


def loss_by_pairs(U, teacher):
    """Eqs. (3) and (4) pair by pair; K(u, u) = |u|^2 / 2 is put in, because arccos has no derivative at 1."""

    def K(u, v):
        cosine = u @ v / (u.norm() * v.norm())
        t = torch.arccos(cosine)
        return u.norm() * v.norm() * (torch.sin(t) + (math.pi - t) * cosine) / (2 * math.pi)

    d, total = U.shape[0], 0.0
    for i in range(d):
        for j in range(d):
            own = K(U[:, i], U[:, j]) if i != j else U[:, i] @ U[:, i] / 2
            theirs = K(teacher[:, i], teacher[:, j]) if i != j else teacher[:, i] @ teacher[:, i] / 2
            total = total + own - 2 * K(teacher[:, i], U[:, j]) + theirs
    return total


def stepped(state, steps):
    for _ in range(steps):
        state = li.step(state)
    return state


def test_kernel_has_its_known_values_at_angles_0_60_90_and_180_degrees():
    t = torch.tensor([0.0, math.pi / 3, math.pi / 2, math.pi], dtype=torch.float64)
    V = 3 * torch.stack([t.cos(), t.sin()])
    u = torch.tensor([[2.0], [0.0]], dtype=torch.float64).expand(2, 4)
    # |u|^2 / 2 at 0, and nothing in common at 180 degrees: relu(u.x) relu(-u.x) = 0
    expected = [3.0, 6 * (math.sqrt(3) / 2 + math.pi / 3) / (2 * math.pi), 6 / (2 * math.pi), 0.0]
    close(li.kernel(u, V, *li.angles(u, V))[0], expected, atol=1e-15)


def test_population_loss_is_the_mean_over_gaussian_inputs():
    for start in ("zero", "random", "vanilla"):
        state = li.draw(replace(CELL, start=start))
        X = gaussian(SAMPLES, CELL.d)
        squares = (output(state.U, X) - output(state.teacher, X)).square()
        error = squares.std() / math.sqrt(SAMPLES)
        assert error < 0.02 * squares.mean()
        assert abs(squares.mean() - li.observe(state)["loss"]) < 4 * error


def test_loss_and_gradient_are_eq_4_and_its_derivative():
    for start in ("random", "vanilla"):
        state = li.draw(replace(CELL, start=start))
        U = state.U.clone().requires_grad_()
        value = loss_by_pairs(U, state.teacher)
        (expected,) = torch.autograd.grad(value, U)
        close(li.loss(state.U, state.teacher), value.detach())
        close(li.gradient(state.U, state.teacher), expected)


def test_sampled_gradient_is_the_derivative_of_the_batch_loss():
    state = li.draw(replace(CELL, gradient="sampled", batch=16))
    X, U = gaussian(16, CELL.d), state.U.clone().requires_grad_()
    (expected,) = torch.autograd.grad((output(U, X) - output(state.teacher, X)).square().mean(), U)
    close(li.sampled_gradient(state.U, state.teacher, X, state.weights), expected)


def test_sampled_gradient_has_the_exact_gradient_as_its_mean():
    state = li.draw(replace(CELL, d=3, gradient="sampled", batch=50))
    exact = li.gradient(state.U, state.teacher)
    samples = torch.stack(
        [li.sampled_gradient(state.U, state.teacher, X, state.weights) for X in gaussian(4000, 50, 3)]
    )
    error = samples.std(0) / math.sqrt(len(samples))
    assert (error < 0.05 * exact.norm()).all()
    assert ((samples.mean(0) - exact).abs() < 4.5 * error).all()


def test_nothing_is_left_to_do_at_the_teacher_and_at_its_permutations():
    state = li.draw(CELL)
    order = torch.tensor([1, 2, 0, 5, 3, 4])
    for U in (state.teacher, state.teacher[:, order]):
        # an angle near 0 is known to sqrt(2 d eps) ~ 5e-8, and enters the gradient times |u*| <= 1.8
        assert li.gradient(U, state.teacher).abs().max() < 1e-6
        assert li.loss(U, state.teacher) < 1e-12
        assert li.permuted_distance(state._replace(U=U)) == 0
    assert li.observe(state._replace(U=state.teacher))["one_point"].isfinite()
    assert li.distance(state._replace(U=state.teacher[:, order])) > 1
    moved = state.U[:, order]
    close(li.loss(moved, state.teacher), li.loss(state.U, state.teacher))
    close(li.gradient(moved, state.teacher), li.gradient(state.U, state.teacher)[:, order])


def test_a_column_of_zeros_does_no_harm():
    state = li.draw(replace(CELL, start="vanilla", init_scale=0.0))
    numbers = li.observe(state) | li.measure(state) | {"potential_wrong": state.potential_wrong}  # NaN before a step
    assert all(value.isfinite() for value in numbers.values())
    close(li.loss(state.U, state.teacher), loss_by_pairs(1e-9 * torch.eye(6, dtype=torch.float64), state.teacher), 1e-7)


def test_teacher_and_starts_are_as_stated():
    eye = torch.eye(6, dtype=torch.float64)
    zero, random, vanilla = (li.draw(replace(CELL, start=start)) for start in ("zero", "random", "vanilla"))
    assert torch.equal(zero.U, eye) and torch.equal(random.U, eye + vanilla.U)
    close(torch.linalg.matrix_norm(zero.teacher - eye, 2), 0.8)
    same = (replace(CELL, gradient="sampled", batch=8, step_size=0.1), replace(CELL, start="zero", init_scale=3.0))
    for state in (random, vanilla, *map(li.draw, same)):
        assert torch.equal(state.teacher, zero.teacher)
    for cell in (CELL, replace(CELL, contraction=0.5)):
        draws = [li.draw(replace(each, d=20)) for each in seeds(cell, 50)]
        entries = torch.stack([state.U - torch.eye(20) for state in draws])
        variance = entries.square().mean() * 20
        assert abs(variance - 0.6**2) < 4 * 0.6**2 * math.sqrt(2 / entries.numel())
        teachers = torch.stack([state.teacher - torch.eye(20) for state in draws])
        # before scaling, the diagonal has mean -contraction and entries of standard deviation 1 / (2 sqrt(d))
        off = teachers[:, ~torch.eye(20, dtype=torch.bool)].square().mean().sqrt() * 2 * math.sqrt(20)
        shift = -teachers.diagonal(dim1=1, dim2=2).mean() / off
        assert abs(shift - cell.contraction) < 4 / (2 * math.sqrt(20) * math.sqrt(50 * 20)) + 0.05 * cell.contraction


def test_a_step_goes_down_the_gradient():
    state = li.draw(replace(CELL, step_size=0.3))
    close(li.step(state).U, state.U - 0.3 / 6 * li.gradient(state.U, state.teacher))
    state = li.step(li.draw(replace(CELL, step_size=0.3, gradient="sampled", batch=10)))
    X = normal(state.key, torch.tensor(1), 10, 6)
    expected = li.sampled_gradient(state.U, state.teacher, X, torch.full((10,), 0.1, dtype=torch.float64))
    close(li.step(state).U, state.U - 0.3 / 6 * expected)


def test_what_is_measured_is_what_is_defined():
    """Phase I is made by starting half-way to a permuted teacher; the numbers are followed by hand."""
    first = li.draw(replace(CELL, step_size=1.0, teacher_norm=1.5))
    first = first._replace(U=0.1 * first.teacher + 0.9 * first.teacher[:, [1, 0, 2, 3, 4, 5]])
    first = first._replace(one_point_min=li.observe(first)["one_point"])
    state, sides, potentials = first, [], []
    for _ in range(8):
        away = state.U - state.teacher
        sides.append(float((li.gradient(state.U, state.teacher) * away).sum() / away.square().sum()))
        state = li.step(state)
        potentials.append(abs(float((state.teacher.norm(dim=0) - state.U.norm(dim=0)).sum())))
    numbers = li.observe(state) | li.measure(state)
    assert min(sides) < 0, "never wrong: the test would say little"
    first_right = next((i for i, side in enumerate(sides) if side >= 0), len(sides))
    wrong = potentials[:first_right]
    close(numbers["one_point_min"], min(*sides, float(numbers["one_point"])))
    close(numbers["wrong_steps"], len(wrong))
    close(numbers["potential_wrong"], max(wrong))
    close(numbers["potential"].abs(), potentials[-1])
    away, W = state.U - state.teacher, state.teacher - torch.eye(6)
    close(numbers["distance"], away.norm() / W.norm())
    assert numbers["distance_permuted"] < 0.5 * numbers["distance"]
    close(numbers["distance_permuted"], (state.U[:, [1, 0, 2, 3, 4, 5]] - state.teacher).norm() / W.norm())
    assert li.measure(first)["potential_wrong"].isnan(), "no step, no phase I"
    told = li.theory(first)
    close(told["one_point_start"], sides[0])
    close(told["potential_start"], (first.teacher.norm(dim=0) - first.U.norm(dim=0)).sum().abs())


def test_recovery_is_claimed_within_its_hypotheses_only():
    claimed = {
        (start, norm, scale): float(li.draw(replace(CELL, start=start, teacher_norm=norm, init_scale=scale)).recovery)
        for start in ("zero", "random", "vanilla")
        for norm in (1.6, 1.7)
        for scale in (0.5, 0.6)
    }
    inside = {("zero", 1.6, 0.5), ("zero", 1.6, 0.6), ("random", 1.6, 0.5)}
    assert claimed == {point: 0.5 * (point in inside) for point in claimed}


@pytest.mark.parametrize("gradient", ["population", "sampled"])
def test_the_teacher_is_recovered_with_the_identity_and_not_without(gradient):
    cell = replace(CELL, d=8, teacher_norm=0.7, init_scale=0.3, gradient=gradient, budget=800)
    kinds = [replace(cell, start=start) for start in ("zero", "random", "vanilla")]
    rows = list(trained("identity_mapping", [one for kind in kinds for one in seeds(kind, 8)]).values())
    skip, vanilla = rows[:16], rows[16:]
    assert {row["outcome"] for row in skip} == {"fit"}
    assert all(row["distance"] <= cell.tolerance and row["one_point_min"] > 0 for row in skip)
    assert {row["start"] for row in vanilla} == {"vanilla"} and {row["outcome"] for row in vanilla} == {"unfit"}
    assert any(row["recovered_permuted"] for row in vanilla)


def test_sgd_follows_the_exact_gradient_as_the_batch_grows():
    """Over the same 40 steps, the mean distance of the paths falls as batch^(-1/2): 4 for 16 times the samples."""
    gaps = []
    for batch in (64, 1024):
        cells = [replace(CELL, step_size=0.5, gradient="sampled", batch=batch, seed=seed) for seed in range(10)]
        paths = [
            (stepped(li.draw(cell), 40), stepped(li.draw(replace(cell, gradient="population")), 40)) for cell in cells
        ]
        gaps.append(sum(float((sgd.U - exact.U).norm()) for sgd, exact in paths) / 10)
    assert 2.5 < gaps[0] / gaps[1] < 6.5  # 4, and ten paths tell their mean gap to some 15%


def test_at_zero_the_gradient_points_away_from_a_teacher_of_negative_trace_in_high_dimension_only():
    """W* = 0.5 Q, Q orthogonal of trace -d / 8, so that tr W* = -|W*|_F^2 / 4, the worst case."""
    sides = {}
    for d in (50, 500):
        eye = torch.eye(d, dtype=torch.float64)
        W = li.draw(li.Cell(d=d, teacher="orthogonal", teacher_norm=0.5)).teacher - eye
        close(torch.linalg.matrix_norm(W, 2), 0.5)
        close(W.trace(), -W.square().sum() / 4)
        sides[d] = float(li.one_point(eye, eye + W, li.gradient(eye, eye + W)))
        # growth of all columns along e_i, seen from W*: g tr W* / (pi |W*|_F^2), negative
        grown = float(li.potential(eye, eye + W) * W.trace() / (math.pi * W.square().sum()))
        assert grown < 0
        assert 0.5 < sides[d] - grown < 1.2
    assert sides[50] > 0.3 and sides[500] < -0.3


def test_two_phases():
    """|g| falls in every step of phase I, and the gradient stays on the right side afterwards."""
    cell = li.Cell(d=100, teacher_norm=1.5, contraction=0.1, budget=40)
    for row in trained("identity_mapping", seeds(cell, 2)).values():
        steps, side, potential = (row[f"curve_{name}"] for name in ("step", "one_point", "potential"))
        assert steps[:9] == list(range(9))
        length = int(row["wrong_steps"])
        assert 3 <= length <= 8 and all(value < 0 for value in side[:length]) and all(v > 0 for v in side[length:])
        assert all(0 < b < a for a, b in pairwise(potential[: length + 1]))
        assert row["one_point_start"] == side[0] and row["potential_wrong"] == potential[1] < row["potential_start"]
        assert row["curve_loss"][-1] < 0.2 * row["curve_loss"][0]


def test_sampled_rows_are_the_same_in_every_pack():
    cells = seeds(replace(CELL, d=5, gradient="sampled", batch=7, budget=30), 60)
    reference = trained("identity_mapping", cells)
    for part in (cells[:1], cells[9:26], cells[::-2]):
        assert_same_bits(trained("identity_mapping", part), reference)
