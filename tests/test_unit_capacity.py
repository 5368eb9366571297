"""Neyshabur et al. 2018: initial weights, SGD with momentum, the measures, and which of them fall with the width."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training import seeds, trained

from trainables import _images
from trainables import unit_capacity as uc

CELL = replace(uc.SMALL, m=7, dtype="float64")
BATCHES = 3  # an epoch of CELL: 24 images in batches of 10, the last of 4


def stepped(state, count):
    for _ in range(count):
        state = uc.step(state)
    return state


def batches(state, count):
    """The rows of each mini-batch from ``state`` on, and their shares."""
    for k in range(count):
        X, Y, share = uc.mini_batch(state._replace(k=state.k + k))
        yield X[share > 0], Y[share > 0], share


def test_the_initial_weights_are_pytorchs():
    """E|U0|_F^2 = m/3 and E|V0|_F^2 = c/3: entry squares have variance 4/45 a^4 on (-a, a), so |U0|_F^2 has 4 m/(45 d)
    and |V0|_F^2 has 4 c/(45 m); 4.5 standard errors."""
    cell, count = replace(CELL, m=50), 100
    states = [uc.draw(each) for each in seeds(cell, count)]
    for weights, fan_in, rows in (("U0", 64, 50), ("V0", 50, 10)):
        stacked = torch.stack([getattr(state, weights) for state in states])
        assert stacked.shape[1:] == (rows, fan_in)
        mean = stacked.square().sum((1, 2)).mean().item()
        assert abs(mean - rows / 3) < 4.5 * math.sqrt(4 * rows / (45 * fan_in) / count)
        layer = torch.nn.Linear(fan_in, rows, bias=False)
        assert 0.999 < stacked.abs().max() * math.sqrt(fan_in) <= 1
        assert layer.weight.abs().max() <= 1 / math.sqrt(fan_in), "PyTorch's default"
    told = uc.theory(uc.draw(replace(cell, init_scale=2.0)))
    assert told["norm_U0_limit"].item() == pytest.approx(2 * math.sqrt(50 / 3))
    assert told["norm_V0_limit"].item() == pytest.approx(2 * math.sqrt(10 / 3))
    assert told["norm_U0"].item() == pytest.approx(2 * states[0].U0.norm().item())
    assert told["norm_V0"].item() == pytest.approx(2 * states[0].V0.norm().item())
    assert told["vc"].item() == 64 * 50


def test_training_is_torchs_sgd_with_momentum():
    """Autograd and torch.optim on the same mini-batches, over two epochs and more."""
    cell = replace(CELL, momentum=0.7, step_size=0.05)
    state = uc.draw(cell)
    U, V = torch.nn.Linear(64, 7, bias=False).double(), torch.nn.Linear(7, 10, bias=False).double()
    U.weight.data, V.weight.data = state.U0.clone(), state.V0.clone()
    optimiser = torch.optim.SGD([U.weight, V.weight], lr=0.05, momentum=0.7)
    for X, Y, _ in batches(state, 2 * BATCHES + 1):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(V(U(X).relu()), Y.argmax(-1)).backward()
        optimiser.step()
    state = stepped(state, 2 * BATCHES + 1)
    assert (state.U - state.U0).norm() > 0.1, "nothing to compare"
    torch.testing.assert_close(state.U, U.weight.data, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(state.V, V.weight.data, rtol=1e-10, atol=1e-12)
    loss = torch.nn.functional.cross_entropy(V(U(state.X).relu()), state.Y.argmax(-1))
    assert uc.observe(state)["loss"].item() == pytest.approx(loss.item(), rel=1e-10)


def test_one_step_of_momentum():
    first = uc.draw(CELL)
    one, two = uc.step(first), stepped(first, 2)
    torch.testing.assert_close(one.U, first.U - 0.02 * one.U_momentum, rtol=0, atol=0)
    gradient = two.U_momentum - 0.9 * one.U_momentum
    again = uc.step(one._replace(U_momentum=0 * one.U, V_momentum=0 * one.V))
    torch.testing.assert_close(again.U_momentum, gradient, rtol=1e-12, atol=1e-14)


def test_an_epoch_takes_every_image_once_in_a_new_order():
    state = uc.draw(CELL)
    assert int(uc.budget(state)) == CELL.budget * BATCHES
    orders = []
    for epoch in range(4):
        parts = list(batches(state._replace(k=torch.tensor(epoch * BATCHES)), BATCHES))
        assert [len(X) for X, _, _ in parts] == [10, 10, 4]
        for X, Y, share in parts:
            assert share.sum() == pytest.approx(1) and set(share.tolist()) <= {0.0, 1 / len(X)}
            at = [(x == state.X).all(-1).nonzero().item() for x in X]
            assert torch.equal(state.Y[at], Y)
            orders += at
    epochs = [orders[i : i + 24] for i in range(0, 96, 24)]
    assert all(sorted(order) == list(range(24)) for order in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_images_are_split_by_shape_and_seed():
    state = uc.draw(CELL)
    assert torch.equal(state.X, uc.draw(replace(CELL, step_size=0.1, init_scale=2.0, batch=5)).X)
    assert all(not torch.equal(state.X, uc.draw(other).X) for other in (replace(CELL, m=9), replace(CELL, seed=1)))
    both, labels = torch.cat([state.X, state.X_test]), torch.cat([state.Y, state.Y_test]).argmax(-1)
    assert len(both) == CELL.n + CELL.test == len(both.unique(dim=0)), "no image on both sides"
    assert both.mean().item() == pytest.approx(0, abs=1e-12) and both.square().mean().item() == pytest.approx(1)
    assert labels[: CELL.n].bincount().tolist() == [3, 3, 3, 3, 2, 2, 2, 2, 2, 2]
    images, names = _images.digits()
    grey, raw = both.unique(), np.unique(images)  # standardised by one line for all pixels
    ratio = (grey[1:] - grey[:-1]) / torch.from_numpy(np.diff(raw)).double()
    torch.testing.assert_close(ratio, ratio[:1].expand(len(ratio)), rtol=1e-9, atol=0)
    back = ((both - grey[0]) / ratio[0]).round().numpy().astype(int)
    flat = images.reshape(len(images), -1)
    assert all(names[(flat == x).all(-1)][0] == label for x, label in zip(back, labels.tolist(), strict=True))
    with pytest.raises(ValueError, match="n \\+ test = 1798, but digits has 1797 images"):
        uc.draw(replace(CELL, n=1000, test=798))


def test_colour_images_enter_as_vectors(monkeypatch):
    rng = np.random.default_rng(1)
    files = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 10
    monkeypatch.setattr(_images, "of", lambda _: files)
    monkeypatch.setattr(_images, "chosen", _images.chosen.__wrapped__)
    state = uc.draw(replace(CELL, data="cifar10"))
    assert state.X.shape == (24, 3072) and state.U.shape == (7, 3072)
    assert uc.measure(stepped(state, 3))["distance_U"] > 0


def by_hand():
    """A network of two units on two coordinates, with round numbers."""
    d = {"dtype": torch.float64}
    U0, U = torch.eye(2, **d), torch.tensor([[4, 4], [0, 1]], **d)
    V = torch.zeros(10, 2, **d)
    V[0, 0], V[1, 1] = 3, 4
    X = torch.tensor([[1, 0], [0, 2]], **d)  # f = (12, 0, 0, ...) and (24, 8, 0, ...)
    state = uc.draw(replace(CELL, m=2))._replace(X=X, X_test=X, U0=U0, U=U, V0=0 * V, V=V)
    return state._replace(Y=torch.eye(10, **d)[[0, 0]], Y_test=torch.eye(10, **d)[[0, 1]])


def test_the_measures_of_a_network_by_hand():
    told = {name: value.item() for name, value in uc.measure(by_hand()).items()}
    spectral = math.sqrt((33 + math.sqrt(33**2 - 4 * 16)) / 2)  # of U: |U|_F^2 = 33, det U = 4
    gamma, root = 12 + 0.05 * 4, math.sqrt(5)  # |X|_F = |U0 X| = sqrt 5
    factor = (2 * math.sqrt(20) + 2) / (gamma * 2)
    expected = {
        "margin": gamma,
        "test_error": 0.5,
        "unit_capacity": 2.5,
        "unit_impact": 3.5,
        "distance_U": 5,
        "distance_V": 5,
        "norm_U": math.sqrt(33),
        "norm_V": 5,
        "l1": 8 * 4,
        "frobenius": 5 * math.sqrt(33),
        "spectral_l1": spectral * (3 + 4) + 5 * 4,
        "spectral_frobenius": spectral * 5 + math.sqrt(2) * 5 * 4,
        "leading": 1 * 5 + 5 * 5,
        "theirs": 30 + math.sqrt(2),
        "leading_margin": 30 / gamma,
        "l1_margin": 32 / gamma,
        "theirs_margin": 30 / gamma + math.sqrt(2),
        "theorem_units": factor * (3 * (5 * root + 1) + 4 * (0 * root + 2)),
        "theorem_norms": factor * 5 * (5 * root + root),
    }
    R = 3 * math.sqrt(2) * (math.sqrt(20) + 1) * (5 + 1) * ((root + 5 * root) / math.sqrt(2) + 1) / gamma
    expected["capacity"] = (R + 3 * math.sqrt(10 + math.log(gamma * math.sqrt(2) / 0.01))) ** 2
    assert {name: told[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_without_a_margin_there_is_no_bound():
    state = by_hand()
    told = uc.measure(state._replace(Y=state.Y_test))  # the second image is off by 16
    assert told["margin"] == -16 + 0.05 * 28
    assert all(told[name].isnan() for name in ("capacity", "theorem_units", "theorem_norms", "l1_margin"))
    assert told["l1"] == 32


@pytest.mark.parametrize("n", [1, 2, 21, 50])
def test_the_margin_is_numpys_percentile(n):
    rng = np.random.default_rng(n)
    f, labels = rng.normal(-5, 1, (n, 10)), rng.integers(0, 10, n)
    margins = [scores[y] - max(np.delete(scores, y)) for scores, y in zip(f, labels, strict=True)]
    told = uc.margin(torch.from_numpy(f), torch.eye(10, dtype=torch.float64)[labels])
    assert told.item() == pytest.approx(np.percentile(margins, 5), rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 20), (20, 3), (1, 4)])
def test_the_spectral_norm(shape):
    A = np.random.default_rng(1).normal(size=shape)
    assert uc.spectral(torch.from_numpy(A)).item() == pytest.approx(np.linalg.norm(A, 2), rel=1e-13)


def test_theorem_1_first_form_below_second_all_along_a_training():
    state, ratios = uc.draw(replace(CELL, m=30, step_size=0.1)), []
    for _ in range(40):
        state = stepped(state, 2)
        told = uc.measure(state)
        if told["margin"] > 0:
            ratios.append((told["theorem_units"] / told["theorem_norms"]).item())
    assert len(ratios) > 10 and max(ratios) < 1


def test_the_two_forms_agree_for_one_unit():
    """Cauchy and Schwarz with one term."""
    state = by_hand()
    one = state._replace(**{name: getattr(state, name)[:1] for name in ("U0", "U")}, V0=state.V0[:, :1])
    told = uc.measure(one._replace(V=state.V[:, :1]))
    assert told["theorem_units"].item() == pytest.approx(told["theorem_norms"].item(), rel=1e-12)


def test_scaling_a_unit_moves_norms_but_not_the_network():
    """f, and so margin and error, keep their values when u_j -> 2 u_j, v_j -> v_j / 2."""
    state = by_hand()
    told, other = uc.measure(state), uc.measure(state._replace(U=2 * state.U, V=state.V / 2))
    assert other["margin"] == told["margin"] and other["test_error"] == told["test_error"]
    assert other["l1"] == told["l1"] and other["frobenius"] == told["frobenius"]
    assert other["leading"] != told["leading"], "measured from the initial weights"


def test_with_the_width_theirs_falls_and_others_rise():
    """The paper's Figures 1 to 5 at a small size; every ratio of means is about 3 standard errors or more off 1."""
    base = replace(CELL, n=256, test=100, batch=64, tolerance=0.01, budget=200, dtype="float32")
    falling = ("capacity", "leading_margin", "theorem_units", "distance_U", "norm_V", "epochs")
    rising = ("l1_margin", "frobenius_margin", "spectral_l1_margin", "spectral_frobenius_margin", "vc")
    units = ("unit_capacity", "unit_impact")
    mean = {}
    for m in (16, 256):
        rows = list(trained("unit_capacity", seeds(replace(base, m=m), 4)).values())
        assert {row["outcome"] for row in rows} == {"fit"} and all(row["train_error"] == 0 for row in rows)
        assert all(row["epochs"] == row["steps"] / 4 for row in rows)
        assert max(row["loss"] for row in rows) <= 0.01
        mean[m] = {name: np.mean([row[name] for row in rows]) for name in falling + rising + units}
    ratio = {name: mean[256][name] / mean[16][name] for name in mean[16]}
    assert max(ratio[name] for name in falling) < 1 < min(ratio[name] for name in rising), ratio
    assert max(ratio[name] for name in units) < 16**-0.5, ratio
