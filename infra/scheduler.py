"""Which pack a free worker takes."""

import time
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

START = 30.0  # seconds after which no worker is taken to be starting any more: there may be fewer nodes than there were


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """In the order of the packs, but none for which a worker is starting already, while there are others.

    Tune's own order gives a free worker to the first pack that waits, and gives up the one that starts for it: where
    packs are shorter than a worker's start, some start for nothing. Of ``side_by_side`` places those that are neither
    taken by a pack that trains nor by the free worker are taken to be of workers that start, for the first that wait.
    """

    def __init__(self, side_by_side: int) -> None:
        super().__init__()
        self.side_by_side = side_by_side
        self.passed_over: dict[str, float] = {}  # since when, by the trial's name

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        trials = tune_controller.get_trials()
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        starting = max(0, self.side_by_side - 1 - sum(trial.status == Trial.RUNNING for trial in trials))
        now = time.monotonic()
        for trial in waiting[:starting]:
            if now - self.passed_over.setdefault(trial.trial_id, now) > START:
                return trial
        return waiting[min(starting, len(waiting) - 1)] if waiting else None
