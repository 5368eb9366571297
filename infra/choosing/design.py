"""Sequential design for the exponent of m*(n): the core for any scheduler, and a sampler for Optuna.

    cells = propose(data, pending, space, 64)     # the next batch of trainings: (over, critical, trainings)
    estimate(data, space)                         # the exponent so far, with its 95% interval
    standard_error(data, space)                   # of the exponent; infinite while unknown
    ended(data, space, target=0.02)               # why the search is over; "" while it goes on

    study = optuna.create_study(sampler=ThresholdSampler(critical="m", over="n"))      # see docs/optuna_example.py

Both are pure functions of what is recorded: a killed search goes on from its data as if nothing had happened, and
every worker may compute its own proposal. Failed trainings have no outcome and are left out of ``data`` (count them in
``dropped``); diverged ones are no success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from analysis.thresholds.fitting import fit_threshold
from analysis.thresholds.outcomes import Array, Tally, tally
from infra.choosing.proposals import belief, best_batch
from infra.choosing.space import Cell, Space, bisections, crossed, first_batch, flops, oriented, parted, probes

__all__ = [
    "Cell",
    "Space",
    "ThresholdSampler",
    "ended",
    "estimate",
    "finished",
    "flops",
    "propose",
    "reported",
    "standard_error",
]

LEAST, MOST = 400, 5000  # trainings before which a standard error is too optimistic, and at which to give up
SMALLEST = 16  # trainings a batch may always have
VALUES = 8  # of an over axis that is a range


def propose(data: Tally, pending: Sequence[Cell], space: Space, size: int) -> list[Cell]:
    """The next batch: at least one and at most ``size`` trainings, in about eight cells, each named once.

    ``data`` are the finished trainings, ``pending`` those under way. First a coarse pass over all n; then at most
    max(16, N/4) at a time, N being the finished trainings, so that no large batch rests on little knowledge.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    for rule in (first_batch, probes, bisections):
        if cells := rule(data, pending, space, size):
            return cells
    return best_batch(belief(data, space), pending, space, min(size, max(SMALLEST, data.trainings // 4)))


def estimate(data: Tally, space: Space) -> tuple[float, float, float]:
    """The exponent by the design's model and its 95% interval: a few milliseconds. Not a number and infinite while
    unknown: fewer than two n at which trainings have both succeeded and failed. Where a width parts failures from
    successes at every n the model has nothing to measure a slope by: then by the default law, from the brackets."""
    if crossed(data) < 2:
        return float("nan"), float("-inf"), float("inf")
    if parted(oriented(data, space)).all():
        return reported(data, space)
    low, high = belief(data, space).posterior.interval(np.array([0.0, 1.0]))
    return (low + high) / 2, low, high


def standard_error(data: Tally, space: Space) -> float:
    """Standard error of the exponent by ``estimate``; infinite while unknown."""
    _, low, high = estimate(data, space)
    return (high - low) / 3.92


def finished(data: Tally, space: Space, target: float = 0.02, *, least: int = LEAST, most: int = MOST) -> bool:
    """Is the search over, for whatever reason (see ``ended``)?"""
    return bool(ended(data, space, target, least=least, most=most))


def ended(data: Tally, space: Space, target: float = 0.02, *, least: int = LEAST, most: int = MOST) -> str:
    """Why the search is over, by what is recorded alone; "" while it goes on.

    The goal is a standard error of ``target``, by the interval of the default law over 3.92, with trainings that fit
    and such that do not at every n, as far as the limits allow. Never below ``least`` trainings; always from ``most``
    on, failed ones included; and from ``least`` on where there is no more to learn: one n and hence no exponent, or a
    step between neighbouring whole numbers at every n.
    """
    if data.trainings + data.dropped >= most:
        return f"{most:,} trainings, the most that a search takes"
    if data.trainings < least:
        return ""
    if len(np.union1d(data.over, space.over)) == 1:
        return "one value of the axis only: no exponent"
    if space.whole and parted(oriented(data, space), 1.0).all():
        return "success begins at one whole number at each value: nothing more to learn"
    if probes(data, [], space, 1):
        return ""
    error = standard_error(data, space)  # the cheap one first
    if error <= target and _law_error(data, space) <= target:
        return f"the exponent is known to {target:g}, as asked"
    return ""


def reported(data: Tally, space: Space) -> tuple[float, float, float]:
    """The exponent as a report states it and its 95% interval: the default law, a tenth of a second. Not a number and
    infinite while unknown."""
    if crossed(data) < 2:
        return float("nan"), float("-inf"), float("inf")
    law = fit_threshold(oriented(data, space), space.chance)
    return law.exponent, *law.interval


def _law_error(data: Tally, space: Space) -> float:
    _, low, high = reported(data, space)
    return (high - low) / 3.92


class ThresholdSampler(BaseSampler):  # type: ignore[misc]
    """Suggests the trial that tells most about the exponent of the critical width m*(n).

    The objective suggests ``critical`` (int or float, positive, its bounds being the limits) and ``over`` (a
    categorical of positive numbers, or a range, of which eight values are used), and returns whether it succeeded:
    at least 0.5 is a success. Trials that fail or are pruned have no outcome; running ones count as pending.
    ``falling``: success ends along ``critical``. ``level``: m* is where the chance of success is this.
    ``cost`` and ``thrift`` are those of ``Space``. Other parameters, and the first trials of a study, whose axes are
    not yet known, fall to ``independent_sampler`` (random, seeded by default).
    """

    def __init__(
        self,
        critical: str = "m",
        over: str = "n",
        *,
        level: float = 0.5,
        falling: bool = False,
        cost: Callable[[Array, Array], Array] = flops,
        thrift: float = 0.01,
        independent_sampler: BaseSampler | None = None,
    ) -> None:
        self.critical, self.over, self.level, self.falling = critical, over, level, falling
        self.cost, self.thrift = cost, thrift
        self.independent = independent_sampler or RandomSampler(seed=0)

    def reseed_rng(self) -> None:
        self.independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Both axes, as the latest trial that suggested them has them; empty before the first."""
        self._raise_error_if_multi_objective(study)
        return self._search_space(study, trial.number)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of both axes; deterministic given the study's other trials."""
        if not search_space:
            return {}
        (cell,) = propose(self.data(study), self._pending(study, trial.number), self._space(search_space), 1)
        asked = {self.over: cell.over, self.critical: cell.critical}
        return {name: _nearest(axis, asked[name]) for name, axis in search_space.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.independent.sample_independent(study, trial, param_name, param_distribution)

    def data(self, study: Study) -> Tally:
        """The completed trials of ``study`` as a tally for ``fit_threshold``: turned where success is falling."""
        rows = [
            (*axes, np.nan if trial.state != TrialState.COMPLETE else float((trial.value or 0.0) >= 0.5))
            for trial in study.get_trials(deepcopy=False)
            if trial.state.is_finished() and (axes := self._axes(trial))
        ]
        over, critical, success = np.array(rows, dtype=float).reshape(-1, 3).T
        data = tally(critical, over, success, critical_name=self.critical, over_name=self.over)
        return data.turned() if self.falling else data

    def finished(self, study: Study, target: float = 0.02, *, least: int = LEAST, most: int = MOST) -> bool:
        """As the function of this name; False before any trial has suggested both axes."""
        axes = self._search_space(study)
        return bool(axes) and finished(self.data(study), self._space(axes), target, least=least, most=most)

    def _search_space(self, study: Study, but: int = -1) -> dict[str, BaseDistribution]:
        for trial in reversed(study.get_trials(deepcopy=False)):
            if trial.number != but and {self.critical, self.over} <= trial.distributions.keys():
                return {name: trial.distributions[name] for name in (self.over, self.critical)}
        return {}

    def _space(self, axes: dict[str, BaseDistribution]) -> Space:
        over, critical = axes[self.over], axes[self.critical]
        values = {float(_nearest(over, value)) for value in _values(over)}
        m = _values(critical)
        ends, whole = (float(min(m)), float(max(m))), isinstance(critical, IntDistribution)
        return Space(tuple(sorted(values)), ends, ends, whole, self.falling, self.level, self.cost, self.thrift)

    def _pending(self, study: Study, but: int) -> list[Cell]:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        known = [axes for trial in running if trial.number != but and (axes := self._axes(trial))]
        return [Cell(*axes, 1) for axes in known]

    def _axes(self, trial: FrozenTrial) -> tuple[float, float] | None:
        if {self.critical, self.over} <= trial.params.keys():
            return float(trial.params[self.over]), float(trial.params[self.critical])
        return None


def _values(axis: BaseDistribution) -> Sequence[float]:
    """The choices of a categorical axis, or VALUES values from end to end of a range."""
    if isinstance(axis, CategoricalDistribution):
        return [float(choice) for choice in axis.choices]
    assert isinstance(axis, IntDistribution | FloatDistribution)
    between = np.geomspace if axis.log else np.linspace
    return [float(value) for value in between(axis.low, axis.high, VALUES)]


def _nearest(axis: BaseDistribution, value: float) -> Any:
    """The value of ``axis`` nearest to ``value``, in its own type."""
    if isinstance(axis, CategoricalDistribution):
        return min(axis.choices, key=lambda choice: abs(float(choice) - value))
    assert isinstance(axis, IntDistribution | FloatDistribution)
    if axis.step is not None:
        value = axis.low + axis.step * round((value - axis.low) / axis.step)
    value = min(max(value, axis.low), axis.high)
    return int(value) if isinstance(axis, IntDistribution) else float(value)
