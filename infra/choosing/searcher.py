"""Ray Tune's door to an adaptive sweep: a pack at a time, several under way, until there is nothing more to ask."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher

from infra.packing.pack import Result
from infra.planning.memory import Budget
from infra.planning.packs import Pack

RETRIES = 3  # of a pack whose trial has ended without all outcomes, beside the first try


class Chooser(Protocol):
    """What an adaptive search is to Tune. ``packs`` are all that were asked for, by number."""

    packs: list[Pack]

    def next_packs(self, device: str, side_by_side: int, budget: Budget | None = None) -> list[int]:
        """Numbers of the next packs; none at the end, or while it waits for what is under way."""

    def told(self, number: int, results: Sequence[Result]) -> None:
        """A pack has ended, with one result a cell."""


class PackSearcher(Searcher):  # type: ignore[misc]
    """Suggests the chooser's packs. ``job`` makes a trial's config of a pack's number.

    There is nothing to save: the state of the search is in the rows and the plan, from which the chooser is made.
    """

    def __init__(
        self,
        chooser: Chooser,
        device: str,
        side_by_side: int,
        job: Callable[[int], dict[str, Any]],
        budget: Budget | None = None,
    ):
        super().__init__()
        self.chooser, self.machine, self.job = chooser, (device, side_by_side, budget), job
        self.waiting: deque[int] = deque()
        self.flying: dict[str, int] = {}
        self.tries: dict[int, int] = {}
        self.lost = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack; None to wait for what is under way, FINISHED at the end."""
        if not self.waiting:
            self.waiting.extend(self.chooser.next_packs(*self.machine))
        if not self.waiting:
            return None if self.flying else str(Searcher.FINISHED)
        self.flying[trial_id] = number = self.waiting.popleft()
        return {"job": self.job(number)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hand the outcomes on; a pack that was lost is tried again, then given up as failed."""
        number = self.flying.pop(trial_id)
        result = {} if error or not result else result
        if result.get("done"):
            self.chooser.told(number, result["results"])
            return
        self.tries[number] = self.tries.get(number, 0) + 1
        if self.tries[number] <= RETRIES:
            self.waiting.append(number)
            return
        self.lost += 1
        self.chooser.told(number, [("x", math.nan, math.nan)] * self.chooser.packs[number].size)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see the class."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see the class."""
