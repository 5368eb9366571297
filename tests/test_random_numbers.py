"""The numbers that steps draw: the published generator, the right laws, no dependence on the pack or on the order."""

import torch
from scipy import stats
from torch.func import vmap

import trainables


def key(*content):
    return trainables.key(trainables.generator(*content))


def test_splitmix64_has_the_published_sequence():
    """The reference outputs for seed 1234567 (Vigna's splitmix64.c), of which ``uniform`` keeps the first 53 bits."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    found = trainables.uniform(torch.tensor(1234567), torch.tensor(0), 4)
    assert found.tolist() == [(value >> 11) * 2.0**-53 for value in published]


def test_uniform_and_normal_follow_their_laws():
    """Kolmogorov and Smirnov at a fixed seed: p-values of a true generator are uniform, these lie above 1 in 1,000."""
    u = trainables.uniform(key("u"), torch.tensor(3), 100_000)
    z = trainables.normal(key("z"), torch.tensor(3), 100_000)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


def test_steps_and_keys_are_independent():
    """Correlations of 20,000 pairs lie within 4 standard errors, 4/sqrt(20000)."""
    one, other = key("a"), key("b")
    base = trainables.normal(one, torch.tensor(0), 20_000)
    for next_ in (trainables.normal(one, torch.tensor(1), 20_000), trainables.normal(other, torch.tensor(0), 20_000)):
        assert abs(torch.corrcoef(torch.stack([base, next_]))[0, 1]) < 4 / 20_000**0.5
    assert abs(torch.corrcoef(torch.stack([base[:-1], base[1:]]))[0, 1]) < 4 / 20_000**0.5


def test_a_stack_draws_what_each_draws_alone():
    keys, steps = torch.stack([key(i) for i in range(33)]), torch.arange(33)
    for shape in ((5,), (3, 7), (1,)):
        stacked = vmap(lambda key, step, shape=shape: trainables.normal(key, step, *shape))(keys, steps)
        assert stacked.shape == (33, *shape)
        for i in (0, 13, 32):
            assert torch.equal(stacked[i], trainables.normal(keys[i], steps[i], *shape))
