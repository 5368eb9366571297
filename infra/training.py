"""Training what is not recorded: on Ray, while MLflow follows, and the rows are on disk afterwards."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from infra.catalogue import tracking
from infra.choosing import tuning
from infra.choosing.adaptive import Chooser, Limits
from infra.environment import Trained
from infra.options import Request
from infra.packing.pack import LETTERS
from infra.planning import costs, plan
from infra.progress import Count, Progress, axes_of, say
from infra.store import records, schema


def train(request: Request, cells: Sequence[Any], recipe: dict[str, Any], uri: str, address: str | None) -> Trained:
    """Train ``cells``, if there are any, on Ray while MLflow follows; the rows are on disk afterwards."""
    out = request.options.out
    if not cells:
        return Trained()
    with on_ray(address, partial(costs.price, request.family, cells), partial(tracking.check, uri)):
        from infra import engine

        setup = setup_of(request, address)
        packs = plan.packs(request.family, cells, setup.device, setup.side_by_side, setup.budget)
        progress = Progress(packs, recorded_counts(out, recipe), recipe, quiet=request.options.quiet)
        with tracking.following(out, uri, say, plan_ids=[recipe["plan_id"]]):
            return engine.train(packs, setup, progress)


def search(request: Request, recipe: dict[str, Any], uri: str, address: str | None) -> Trained:
    """Train what the chooser asks for on Ray while MLflow follows; the rows are on disk afterwards."""
    out, chooser = request.options.out, choosing(request, recipe)
    known = sum(setting.tally().trainings for setting in chooser.settings)
    until = f"more until the exponent's standard error is {chooser.limits.target_se:g}"
    tell(request, f"{known} trainings recorded in {out}; {until}")
    if chooser.finished():
        recipe["search"] = chooser.summary()
        records.write_plan(out, recipe)
        return Trained()
    with on_ray(address, partial(tracking.check, uri)):
        from infra import engine

        progress = Progress(
            chooser.packs, recorded_counts(out, recipe), recipe, chooser.outlook, quiet=request.options.quiet
        )
        with tracking.following(out, uri, say, plan_ids=[recipe["plan_id"]]):
            trained = engine.search(chooser, setup_of(request, address), progress)
    recipe["search"] = chooser.summary()
    records.write_plan(out, recipe)
    return trained


def tune(request: Request, recipe: dict[str, Any], cells: Sequence[Any], uri: str, address: str | None) -> Trained:
    """Find the best value of the tuned axis at each grid point of ``cells``, then train each point with its own. The
    plan names the points once they are known."""
    family, out = request.family, request.options.out
    search = tuning.Tuning(family, recipe["tuned"], cells, records.read_rows(out, family)[0])
    with on_ray(address, partial(tracking.check, uri)):
        from infra import engine

        progress = Progress(
            search.packs, Counter(), recipe | {"critical": None}, search.outlook, quiet=request.options.quiet
        )
        trained = engine.search(search, setup_of(request, address), progress)
        tell(request, search.outlook())
        if trained.interrupted or trained.lost:
            return trained
        asked = search.at_best(cells)
        points = dict.fromkeys(replace(cell, seed=0) for cell in asked)
        recipe["points"] = [schema.point_id(family, recipe["numerics"], asdict(cell)) for cell in points]
        recipe["tuned"] |= search.spent(records.read_rows(out, family)[0])
        records.write_plan(out, recipe)
        missing = plan.unrecorded(family, asked, records.recorded(out, to_the_end=to_the_end(request))[0])
        tell(request, asked_for(asked, missing, out))
        return train(request, missing, recipe, uri, address) if missing else trained


@contextlib.contextmanager
def on_ray(address: str | None, *meanwhile: Callable[[], object]) -> Iterator[None]:
    """A connection to Ray, which takes seconds to start on other cores: another thread does ``meanwhile`` then, and
    what that raises is raised here, before the block."""
    from infra import engine  # imports Ray, which reads its environment then

    tracking.prepare()
    beside = ThreadPoolExecutor(1)
    try:
        done = [beside.submit(one) for one in meanwhile]
        with engine.connected(address):
            for one in done:
                one.result()
            yield
    finally:
        beside.shutdown(wait=False, cancel_futures=True)


def setup_of(request: Request, address: str | None) -> Any:
    """What all packs share, on the cluster that is connected."""
    from infra import engine

    resources, side_by_side = engine.resources(request.options.gpus)
    name, options = datetime.now(UTC).strftime("%Y%m%dT%H%M%S"), request.options
    budget = engine.budget(resources, side_by_side, address)
    return engine.Setup(options.out, name, resources, side_by_side, address is not None, to_the_end(request), budget)


def to_the_end(request: Request) -> bool:
    """Whether hopeless trainings go on: where no threshold is sought, the last state of each counts."""
    return request.options.to_the_end or not request.sweep.critical


def choosing(request: Request, recipe: dict[str, Any]) -> Chooser:
    """What chooses the trainings of an adaptive sweep, from what is recorded."""
    options = request.options
    limits = Limits(
        options.target_se,
        math.inf if options.trainings is None else options.trainings,
        math.inf if options.minutes is None else options.minutes,
        math.inf if options.flops is None else options.flops,
    )
    return Chooser(request.family, recipe, records.plan_rows(options.out, recipe), limits)


def tuning_trials(request: Request, cells: Sequence[Any]) -> list[Any]:
    """Trainings as the tuning will take them, for what they cost; none where nothing is tuned."""
    name = request.options.tune
    return tuning.trials(tuning.protocol(name, *request.axes[name]), cells) if name else []


def asked_for(cells: Sequence[Any], missing: Sequence[Any], out: str) -> str:
    return f"{len(cells)} trainings asked for, {len(cells) - len(missing)} recorded in {out}, {len(missing)} to train"


def recorded_counts(out: str, recipe: dict[str, Any]) -> Counter[Count]:
    """Outcomes that earlier runs of this plan recorded, for the live display."""
    table = records.plan_rows(out, recipe, ["outcome"])
    if not len(table):
        return Counter()
    columns = (table[name].to_pylist() for name in (*axes_of(recipe), "outcome"))
    return Counter((n, m, LETTERS[outcome]) for n, m, outcome in zip(*columns, strict=True))


def tell(request: Request, line: str) -> None:
    """A line on how it goes, unless none are wanted."""
    if not request.options.quiet:
        say(line)
