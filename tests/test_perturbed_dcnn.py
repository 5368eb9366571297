"""Liao and Poggio 2017: the network, the stages of the protocol, and what is measured."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.integrate import quad
from training import assert_same_bits, seeds, trained

from trainables import _images, _sketch
from trainables import perturbed_dcnn as dcnn

CELL = replace(dcnn.SMALL, dtype="float64", max_steps=200, tolerance=0.02)


def stepped(state, stage):
    """The state when it first is in ``stage``."""
    for _ in range(int(dcnn.budget(state)) + 1):
        if state.stage >= stage:
            break
        state = dcnn.step(state)
    assert state.stage == stage
    return state


def reference(cell, w, images, chosen):
    """Eqs. (1) to (3) by torch's own convolutions and batch normalisation, on the images in ``chosen`` alone."""
    h, sizes = images[chosen].permute(0, 3, 1, 2), dcnn.architecture(images.shape[1], images.shape[3], cell.m)
    for i, (W, (_, out)) in enumerate(zip(w.split([a * b for a, b in sizes]), sizes, strict=True)):
        weight, bias = W.reshape(-1, out)[:-1], W.reshape(-1, out)[-1]
        if i < len(sizes) - 2:
            kernel = weight.reshape(3, 3, -1, out).permute(3, 2, 0, 1)
            z = torch.nn.functional.conv2d(h, kernel, bias, stride=2, padding=1)
        else:
            z = (h.permute(0, 2, 3, 1).flatten(1) if h.ndim == 4 else h) @ weight + bias
        if i == len(sizes) - 1:
            return z
        h = torch.nn.functional.batch_norm(z, None, None, training=True, eps=1e-5)
        h = h.relu() if cell.activation == "relu" else polynomial(h)
    return None


def polynomial(z):
    return 1 / math.sqrt(2 * math.pi) + z / 2 + (z**2 - 1) / (2 * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("activation", ["relu", "polynomial"])
@pytest.mark.parametrize("size", [6, 10])
def test_outputs_are_those_of_torchs_convolutions_on_the_mini_batch(activation, size):
    cell = replace(CELL, activation=activation)
    state, (images, _) = dcnn.draw(cell), _images.chosen("digits", cell.n, 1)
    chosen = torch.arange(cell.n) < size
    w = torch.randn(len(state.w), dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # biases too
    expected = reference(cell, w, images, chosen)
    torch.testing.assert_close(dcnn.outputs(state, w, chosen.double())[chosen], expected, rtol=1e-10, atol=1e-10)


def test_outputs_are_those_of_torchs_convolutions_at_cifars_size():
    cell, images = replace(CELL, m=2), torch.randn(4, 32, 32, 3, dtype=torch.float64)
    sizes = dcnn.architecture(32, 3, cell.m)
    w = torch.randn(sum(a * b for a, b in sizes), dtype=torch.float64)
    state = dcnn.draw(cell)._replace(patches=_images.neighbourhoods(images))
    expected = reference(cell, w, images, torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(
        dcnn.outputs(state, w, torch.ones(4, dtype=torch.float64)), expected, rtol=1e-10, atol=1e-10
    )


def test_the_papers_number_of_parameters():
    assert sum(a * b for a, b in dcnn.architecture(32, 3, 32)) == 188_810


def test_the_polynomial_is_the_nearest_of_its_degree_under_the_normal_law():
    """The error of the projection is orthogonal to 1, z, z^2."""
    for power in range(3):
        moment, _ = quad(
            lambda z, p=power: (max(z, 0) - polynomial(z)) * z**p * math.exp(-z * z / 2), -12, 12, points=[0]
        )
        assert abs(moment) < 1e-8  # quad's default tolerance


@pytest.mark.parametrize("stage", [dcnn.TRAIN, dcnn.RETRAIN])
def test_a_step_is_the_gradient_of_the_batchs_loss(stage):
    state = stepped(dcnn.draw(replace(CELL, batch=6)), stage)
    u = dcnn.uniform(state.key, state.steps, CELL.n)
    chosen = u <= u.sort().values[(6 if stage == dcnn.TRAIN else CELL.n) - 1]
    images, labels = _images.chosen("digits", CELL.n, 1)
    w = state.w.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(reference(CELL, w, images, chosen), labels[chosen])
    (gradient,) = torch.autograd.grad(loss, w)
    assert gradient.norm() > 1e-3, "nothing to compare"
    torch.testing.assert_close(dcnn.step(state).w, state.w - 0.5 * gradient, rtol=1e-9, atol=1e-11)


def test_mini_batches_have_their_size_and_take_every_image_in_turn():
    state, count, steps = dcnn.draw(CELL), torch.zeros(CELL.n), 2000
    for k in range(steps):
        u = dcnn.uniform(state.key, torch.tensor(k), CELL.n)
        count += u <= u.sort().values[3]
    assert count.sum() == 4 * steps
    share = 4 / CELL.n
    assert (count / steps - share).abs().max() < 4.5 * math.sqrt(share * (1 - share) / steps)


def test_the_stages_follow_each_other():
    first = dcnn.draw(CELL)
    solution = stepped(first, dcnn.PERTURB)
    assert solution.error == 0 and solution.loss <= CELL.tolerance
    assert torch.equal(solution.w, solution.w_solution)
    kicked = dcnn.step(solution)
    assert kicked.stage == dcnn.RETRAIN and kicked.retrained == 0
    assert kicked.loss_after == kicked.loss and kicked.error_after == kicked.error
    done = stepped(kicked, dcnn.DONE)
    assert done.retrained == CELL.retrain_steps and torch.equal(done.w_solution, solution.w)
    again = dcnn.step(done)
    assert all(torch.equal(a, b) for a, b in zip(done, again, strict=True)), "what is done changes no more"
    assert dcnn.solved(done) == (done.error == 0) and not dcnn.solved(solution)


def test_a_training_that_finds_no_solution_is_not_perturbed():
    state = dcnn.draw(replace(CELL, tolerance=1e-9, max_steps=5))
    last = stepped(state, dcnn.DONE)
    assert (
        last.steps == 5 and last.retrained == 0 and not dcnn.solved(last._replace(error=torch.zeros_like(last.error)))
    )
    assert dcnn.measure(last)["error_end"] == 1


def test_the_perturbation_is_normal_and_in_units_of_each_layers_mean_weight():
    cell = replace(CELL, m=16, noise=0.7)
    state = dcnn.draw(cell)
    change = dcnn.matrices(state, dcnn.perturbed(state) - state.w)
    for W, delta in zip(dcnn.matrices(state, state.w), change, strict=True):
        z = (delta / (0.7 * W.abs().mean())).flatten()
        error = 1 / math.sqrt(len(z))
        assert abs(z.mean()) < 4 * error and abs(z.square().mean() - 1) < 4 * math.sqrt(2) * error


def test_branches_share_the_trunk_and_noise_shares_the_direction():
    one, two, hard, fresh = (
        dcnn.draw(replace(CELL, tolerance=0.3, **change))
        for change in ({}, {"branch": 2}, {"noise": 3.0}, {"branch_from": "fresh"})
    )
    solutions = [stepped(state, dcnn.PERTURB) for state in (one, two, hard, fresh)]
    assert all(torch.equal(solutions[0].w, other.w) for other in solutions)
    assert not torch.equal(one.kick, two.kick)
    change = [dcnn.perturbed(state) - state.w for state in solutions]
    torch.testing.assert_close(change[2], change[0] * 3.0 / CELL.noise, rtol=1e-9, atol=1e-12)
    scale = [W[:-1].std() * math.sqrt((len(W) - 1) / 2) for W in dcnn.matrices(fresh, dcnn.perturbed(fresh))]
    assert all(abs(each - 1) < 0.5 for each in scale), "new initial weights"


def test_what_is_measured_is_what_is_defined():
    cell = replace(CELL, noise=2.0, retrain_steps=40, jacobian_images=2)
    state, errors, losses = stepped(dcnn.draw(cell), dcnn.PERTURB), [], []
    while state.stage < dcnn.DONE:
        state = dcnn.step(state)
        errors.append(float(state.error))
        losses.append(float(state.loss))
    found = dcnn.measure(state) | dcnn.theory(state)
    images, labels = _images.chosen("digits", cell.n, 1)
    everything = torch.ones(cell.n, dtype=torch.bool)

    def evaluated(w):
        f = reference(cell, w, images, everything)
        return torch.nn.functional.cross_entropy(f, labels), (f.argmax(1) != labels).double().mean()

    path = [evaluated(state.w_solution + a / 10 * (state.w - state.w_solution)) for a in range(11)]
    J = torch.autograd.functional.jacobian(lambda w: reference(cell, w, images, everything)[:2].flatten(), state.w)
    assert errors[0] > 0 and 0.0 in errors, "nothing to recover from: the test would say little"
    expected = {
        "loss_after": losses[0],
        "error_after": errors[0],
        "error_most": max(errors),
        "error_end": errors[-1],
        "recovery_steps": errors.index(0.0),
        "distance": (state.w - state.w_solution).norm() / state.w_solution.norm(),
        "cosine": torch.cosine_similarity(state.w, state.w_solution, 0),
        "barrier_loss": max(p[0] for p in path) - max(path[0][0], path[-1][0]),
        "barrier_error": max(p[1] for p in path) - max(path[0][1], path[-1][1]),
        "rank": torch.linalg.matrix_rank(J),
        "null_dimension": len(state.w) - torch.linalg.matrix_rank(J),
        "parameters": len(state.w),
        "equations": 20,
        "null_floor": len(state.w) - 20,
    }
    for name, value in expected.items():
        torch.testing.assert_close(
            float(found[name]), float(value), rtol=1e-8, atol=1e-9, msg=lambda t, n=name: f"{n} {t}"
        )


def test_solutions_have_many_flat_directions():
    """At least what counting promises; and with fewer unknowns than equations, what the norms take away."""
    state = stepped(dcnn.draw(replace(CELL, jacobian_images=CELL.n)), dcnn.PERTURB)
    found = dcnn.measure(state) | dcnn.theory(state)
    assert found["rank"] <= found["equations"] == 100
    assert found["null_dimension"] >= found["null_floor"]
    # a bias under a norm changes nothing: 1 + 2 + 4 units; their weights' scales do, through the 1e-5 in eq. (2)
    narrow = dcnn.draw(replace(CELL, m=1, n=20, jacobian_images=20))
    assert len(narrow.w) == 116 and dcnn.jacobian_rank(narrow) <= 116 - 7


def test_a_small_perturbation_is_flat_and_a_large_one_leaves_the_basin():
    """At the sweep's own size: error 0 throughout at c = 0.01, a barrier after c = 2 and between fresh copies."""
    base = dcnn.Cell(max_steps=200, retrain_steps=60, jacobian_images=0)
    changes = ({"noise": 0.01}, {"noise": 2.0}, {"branch_from": "fresh"})
    rows = list(trained("perturbed_dcnn", [c for x in changes for c in seeds(replace(base, **x), 2)]).values())
    small, large, fresh = rows[:2], rows[2:4], rows[4:]
    assert all(row["error_most"] == 0 and row["barrier_loss"] < 0.01 for row in small)
    assert all(row["error_after"] > 0.5 and row["barrier_loss"] > 0.05 and row["error_end"] == 0 for row in large)
    assert all(row["barrier_loss"] > 0.5 and abs(row["cosine"]) < 0.1 for row in fresh)
    assert all(row["distance"] > 0.01 for row in small), "the weights move"


def test_ranks_are_the_same_in_every_pack():
    cells = seeds(replace(dcnn.SMALL, jacobian_images=3), 9)
    reference = trained("perturbed_dcnn", cells)
    for part in (cells[:1], cells[2:5]):
        assert_same_bits(trained("perturbed_dcnn", part), reference)


def test_sketches_keep_inner_products_without_bias():
    """Over layers (independent signs) the error of a.b has mean 0 and variance at most (|a|^2 |b|^2 + (a.b)^2)/size."""
    rng, size, layers, each = torch.Generator().manual_seed(3), 16, 400, 50
    a = torch.randn(each, generator=rng, dtype=torch.float64)
    b = a + torch.randn(each, generator=rng, dtype=torch.float64)
    one, two = (_sketch.sketch([x] * layers, size).reshape(layers, size) for x in (a, b))
    errors = (one * two).sum(1) - (a * b).sum()
    bound = (a.square().sum() * b.square().sum() + (a * b).sum().square()) / size
    assert abs(errors.mean()) < 4 * math.sqrt(bound / layers)
    assert 0.5 * bound < errors.square().mean() < 1.3 * bound  # dealing in turn lowers it a little


def test_the_sketch_is_linear_and_per_layer():
    state = dcnn.draw(replace(CELL, sketch_size=8))
    found = dcnn.observe(state)["sketch"]
    assert found.shape == (4 * 8,)
    layers = dcnn.matrices(state, state.w)
    alone = _sketch.sketch([W if i == 2 else torch.zeros_like(W) for i, W in enumerate(layers)], 8)
    assert torch.equal(alone[16:24], found[16:24]) and not alone[:16].any() and not alone[24:].any()


def test_images_are_balanced_standardised_and_nested():
    X, y = _images.chosen("digits", 64, 1)
    assert torch.bincount(y).tolist() == [7, 7, 7, 7, 6, 6, 6, 6, 6, 6]
    assert abs(X.mean()) < 1e-12 and abs(X.square().mean() - 1) < 1e-12
    assert torch.equal(_images.chosen("digits", 32, 1)[1], y[:32])
    assert not torch.equal(_images.chosen("digits", 64, 2)[0], X)
    assert torch.equal(dcnn.draw(CELL).patches, dcnn.draw(replace(CELL, seed=5)).patches), "data belong to no seed"
    with pytest.raises(ValueError, match="1797 training images"):
        dcnn.check(replace(CELL, n=1798))
