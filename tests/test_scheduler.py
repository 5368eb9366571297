"""Which of Tune's trials a free worker takes."""

from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial

from infra import scheduler

P, R, T = Trial.PENDING, Trial.RUNNING, Trial.TERMINATED


def chosen(order, states):
    """The index of the trial that is chosen; None for none. order: the scheduler, which keeps what it passes over."""
    trials = [Trial("a pack", stub=True, trial_id=f"pack-{i}") for i in range(len(states))]
    for trial, state in zip(trials, states, strict=True):
        trial.status = state
    found = order.choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials))
    return trials.index(found) if found else None


@pytest.mark.parametrize(
    ("side_by_side", "states", "index"),
    [
        (2, [T, P, P, P], 2),  # the second worker still starts, for the first that waits
        (2, [T, R, P, P], 2),  # both are up
        (2, [T, T, R, R], None),
        (2, [T, T, T, P], 3),  # nothing else waits
        (1, [T, P, P], 1),
        (4, [R, T, P, P, P, P], 4),  # two start
        (4, [R, R, R, R, P], 4),
    ],
)
def test_the_first_for_which_no_worker_starts(side_by_side, states, index):
    assert chosen(scheduler.InOrder(side_by_side), states) == index


def test_a_worker_that_does_not_come_is_waited_for_no_longer(monkeypatch):
    """As where a node is lost: three places are left of four."""
    order, states = scheduler.InOrder(4), [R, R, P, P]
    assert chosen(order, states) == 3
    monkeypatch.setattr(scheduler, "START", -1.0)
    assert chosen(order, states) == 2
