"""The smallest pieces of benchmarks whose whole takes minutes: that they run, and measure what they say."""

import sys
from pathlib import Path

import pytest
import torch

from trainables import two_layer_relu

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import kernels
import speed

steps = kernels.stepped


def test_a_packs_steps_are_those_of_its_trainings(monkeypatch):
    """What is timed: STEPS steps of every training, packed or alone."""
    cells = [two_layer_relu.Cell(m=16, n=8, d=4, seed=seed) for seed in range(3)]
    states = []
    monkeypatch.setattr(kernels, "stepped", lambda *given: (states.append(steps(*given)), states[-1])[1])
    kernels.stepping("two_layer_relu", cells)()
    for cell, after in zip(cells, zip(*states[0], strict=True), strict=True):
        state = two_layer_relu.draw(cell)
        for _ in range(kernels.STEPS):
            state = two_layer_relu.step(state)
        torch.testing.assert_close(two_layer_relu.State(*after).r, state.r, rtol=1e-9, atol=1e-12)  # float64, 8 steps
    assert kernels.rate(kernels.stepping("two_layer_relu", cells[:1])) > 0


@pytest.mark.parametrize("round_", range(3))
def test_a_peers_sample_is_spread_over_the_costs_and_another_each_round(round_):
    found = [speed.offsets(1000, 10, one) for one in range(3)]
    assert all(i // 100 == place for place, i in enumerate(found[round_])), "one of each tenth"
    assert len(set(found[0]) | set(found[1]) | set(found[2])) == 30
