"""The best value of a knob, such as the step size, at each grid point: what to train next, by Ray Tune's OptunaSearch.

Every grid point has a search of its own: rounds of ROUND values, the first evenly spaced in the logarithm over the
range. A value is judged by SEEDS trainings, whose seeds no law uses: the best of several values looks better than it is
on the trainings that chose it. Same rows, same proposals: a driver that starts again goes on from there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import trainables
from infra.packing.pack import ENDED, Result, result
from infra.planning import plan
from infra.planning.memory import Budget
from infra.planning.packs import Pack
from infra.store.records import TUNING_SEED
from infra.store.schema import cell_id, point_id

VALUES, ROUND, SEEDS = 16, 4, 4  # values tried at a grid point, of them at a time, trainings of each
DIGITS = 4  # of a value: it stands in tables and commands


@dataclass
class Point:
    """The search at one grid point."""

    cell: Any  # with some value of the knob
    search: Any  # OptunaSearch
    open: dict[str, float] = field(default_factory=dict)  # value by name, of the round under way
    scores: dict[float, float | None] = field(default_factory=dict)  # of each value tried
    asked: int = 0


class Tuning:
    """Rows and outcomes in, packs out, as ``adaptive.Chooser``; at the end the best value of each grid point."""

    def __init__(self, family: str, knob: Mapping[str, Any], cells: Sequence[Any], rows: pa.Table):
        """knob: ``protocol``. cells: the trainings of the law. rows: all recorded ones of the family."""
        self.family, self.axis, self.knob = family, knob["axis"], knob
        self.packs: list[Pack] = []
        self.cells: list[list[Any]] = []  # of each pack
        self.known = recorded(family, rows)
        self.points = [Point(cell, optuna_search(family, knob, cell)) for cell in grid_points(knob, cells)]

    def next_packs(self, device: str, side_by_side: int, budget: Budget | None = None) -> list[int]:
        """Numbers of the next packs, the longest first; none while every grid point waits for what is under way."""
        missing = [training for point in self.points for training in self.advance(point)]
        first = len(self.packs)
        for pack in plan.packs(self.family, missing, device, side_by_side, budget):
            self.packs.append(pack)
            self.cells.append(plan.from_columns(pack.family, pack.columns, pack.size))
        return list(range(first, len(self.packs)))

    def advance(self, point: Point) -> list[Any]:
        """Close the round of a grid point if it is known whole and open the next; the trainings to add."""
        while True:
            if point.open:
                if not all(training in self.known for training in self.round(point)):
                    return []
                self.close(point)
            if point.asked >= self.knob["values"]:
                return []
            for _ in range(ROUND):
                name = str(point.asked)
                value = point.search.suggest(name)[self.axis]
                point.open[name] = float(f"{value:.{DIGITS}g}")
                point.asked += 1
            if missing := [training for training in self.round(point) if training not in self.known]:
                return missing

    def round(self, point: Point) -> list[Any]:
        """All trainings of the round under way."""
        values = dict.fromkeys(point.open.values())
        return [training for value in values for training in self.trainings(point, value)]

    def trainings(self, point: Point, value: float) -> list[Any]:
        return [replace(point.cell, **{self.axis: value}, seed=TUNING_SEED + i) for i in range(self.knob["seeds"])]

    def close(self, point: Point) -> None:
        """Tell the search how the values of the round have done."""
        for name, value in point.open.items():
            point.scores[value] = score([self.known[training] for training in self.trainings(point, value)])
            known = point.scores[value] is not None
            point.search.on_trial_complete(name, {"score": point.scores[value]} if known else None, error=not known)
        point.open = {}

    def told(self, number: int, results: Sequence[Result]) -> None:
        """Pack ``number`` has ended with one result a cell."""
        self.known |= dict(zip(self.cells[number], results, strict=True))

    def best(self, point: Point) -> Any:
        """The cell of a grid point at its best value; where every training has failed, at the middle of the range."""
        scored = [(found, value) for value, found in point.scores.items() if found is not None]
        middle = math.sqrt(self.knob["low"] * self.knob["high"])
        return replace(point.cell, **{self.axis: min(scored)[1] if scored else float(f"{middle:.{DIGITS}g}")})

    def at_best(self, cells: Sequence[Any]) -> list[Any]:
        """``cells``, each with the best value of its grid point."""
        best = {point.cell: getattr(self.best(point), self.axis) for point in self.points}
        return [replace(cell, **{self.axis: best[grid_point(self.knob, cell)]}) for cell in cells]

    def spent(self, rows: pa.Table) -> dict[str, float]:
        """Number of the tuning's trainings among ``rows`` and their compute time in seconds."""
        of = rows.filter(pc.is_in(rows["cell_id"], pa.array(self.identities()))) if len(rows) else rows
        return {"trainings": len(of), "seconds": pc.sum(of["compute_seconds"]).as_py() or 0.0 if len(of) else 0.0}

    def identities(self) -> list[str]:
        """Content addresses of the tuning's trainings."""
        version = trainables.load(self.family).VERSION
        asked = [cell for point in self.points for value in point.scores for cell in self.trainings(point, value)]
        return [cell_id(self.family, version, asdict(cell)) for cell in asked]

    def outlook(self) -> str:
        """How far the search is, in a few words; at the end also where the best value is the last one tried."""
        tried = sum(point.asked - len(point.open) for point in self.points)
        all_ = len(self.points) * self.knob["values"]
        scored = [point for point in self.points if point.scores]
        best = [getattr(self.best(point), self.axis) for point in scored]
        so_far = f"; best from {min(best):g} to {max(best):g}" if best else ""
        ends = sum(value in (min(one.scores), max(one.scores)) for value, one in zip(best, scored, strict=True))
        wider = f"; at {ends} of them the last value tried: give a wider range" if ends and tried == all_ else ""
        return f"tuning {self.axis}: {tried} of {all_} values at {len(self.points)} grid points{so_far}{wider}"


def protocol(axis: str, low: float, high: float) -> dict[str, Any]:
    """How a knob is tuned, as a plan records it."""
    return {"axis": axis, "low": low, "high": high, "values": VALUES, "seeds": SEEDS}


def grid_point(knob: Mapping[str, Any], cell: Any) -> Any:
    """What stands for the grid point of a training: its values with seed 0, the knob at the low end."""
    return replace(cell, **{knob["axis"]: knob["low"]}, seed=0)


def grid_points(knob: Mapping[str, Any], cells: Sequence[Any]) -> list[Any]:
    """The grid points of ``cells``, each once."""
    return list(dict.fromkeys(grid_point(knob, cell) for cell in cells))


def trials(knob: Mapping[str, Any], cells: Sequence[Any]) -> list[Any]:
    """As many trainings as the tuning of ``cells`` takes, over the whole range: what they cost, not which they are."""
    values = np.geomspace(knob["low"], knob["high"], knob["values"])
    return [replace(point, **{knob["axis"]: float(value)}, seed=TUNING_SEED + i)
            for point in grid_points(knob, cells) for value in values for i in range(knob["seeds"])]  # fmt: skip


def score(results: Sequence[Result]) -> float | None:
    """How bad a value is: first the share that does not fit, then the mean steps of those that do, by half octaves:
    what is faster by less is not worth standing nearer to the edge of stability. Where none fits, above 1 by their
    losses. None if every training failed."""
    ended = [(letter, steps, loss) for letter, steps, loss in results if letter in ENDED]
    if not ended:
        return None
    steps = [steps for letter, steps, _ in ended if letter == "f"]
    if not steps:  # a loss between 0 and 1; the worst for a divergence
        return 1 + float(np.mean([loss / (1 + loss) if letter in "us" else 1.0 for letter, _, loss in ended]))
    later = round(2 * math.log2(1 + float(np.mean(steps)))) / 128  # below 1, and so no match for one more that fits
    return 1 - len(steps) / len(ended) + later / (len(ended) + 1)


def recorded(family: str, rows: pa.Table) -> dict[Any, Result]:
    """What ``rows`` hold of a family's tuning, by cell."""
    module = trainables.load(family)
    names = [axis.name for axis in fields(module.Cell)]
    found = {}
    for row in rows.select([*names, "numerics", "outcome", "steps", "loss"]).to_pylist() if len(rows) else []:
        if row["numerics"] == module.VERSION and row["seed"] >= TUNING_SEED:
            found[module.Cell(**{name: row[name] for name in names})] = result(row)
    return found


def optuna_search(family: str, knob: Mapping[str, Any], cell: Any) -> Any:
    """The search at one grid point, seeded by it."""
    import optuna
    from ray.tune.search.optuna import OptunaSearch  # imports Ray, which reads its environment then

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    here = {name: value for name, value in asdict(cell).items() if name != knob["axis"]}
    seed = int(point_id(family, "", here)[:8], 16)
    return OptunaSearch(
        {knob["axis"]: optuna.distributions.FloatDistribution(knob["low"], knob["high"], log=True)},
        metric="score",
        mode="min",
        points_to_evaluate=[{knob["axis"]: float(value)} for value in spread(knob["low"], knob["high"])],
        sampler=optuna.samplers.TPESampler(n_startup_trials=ROUND, constant_liar=True, seed=seed),
    )


def spread(low: float, high: float) -> Any:
    """ROUND values inside the range, evenly spaced in the logarithm."""
    return low * (high / low) ** ((np.arange(ROUND) + 0.5) / ROUND)
