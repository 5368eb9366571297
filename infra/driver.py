"""The driver: from a sweep's command line to rows, a law, a figure and an MLflow catalogue."""

import contextlib
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainables
from infra import environment, estimate, options
from infra.catalogue import apart, tracking
from infra.catalogue.tracking import TrackingError
from infra.choosing import tuning
from infra.choosing.adaptive import Chooser, Limits
from infra.environment import EngineError, Trained
from infra.options import Request
from infra.packing.pack import LETTERS
from infra.plan_file import found_before, manifest
from infra.planning import costs, plan
from infra.planning.axes import PlanError
from infra.progress import Count, Progress, axes_of
from infra.store import records, schema, storage
from infra.store.lock import InUseError, exclusive
from infra.store.storage import ResultsError
from infra.sweep import Sweep

if TYPE_CHECKING:
    from analysis.report import Summary

COPIED = "/runtime_resources/working_dir_files/"  # where Ray keeps the folder that a job was submitted with
Ending = Callable[[Request, dict[str, Any], Trained, str], int]


def answer(sweep: Sweep, argv: Sequence[str] | None = None, end: Ending | None = None) -> int:
    """Run a sweep from its command line. Exit code: 0; 2 after one clear line; 130 after a signal in the training.
    ``end`` concludes in the place of ``conclude``."""
    try:
        request = options.parse(sweep, argv)
        return run(request, end or conclude) if request else 0
    except (PlanError, ResultsError, EngineError, TrackingError, InUseError) as error:
        say(f"{sweep.name}: {error}")
        return 2


def run(request: Request, end: Ending) -> int:
    """Plan, train what is not recorded, conclude from the rows. Returns the exit code."""
    family, out, adaptive, tuned = request.family, request.options.out, request.options.adaptive, request.options.tune
    axes = request.axes | ({tuned: request.axes[tuned][:1]} if tuned else {})
    cells = plan.grid(family, axes, 1 if adaptive else request.options.seeds)
    if request.options.data_dir:
        if not Path(request.options.data_dir).is_dir():
            raise PlanError(f"--data-dir {request.options.data_dir}: no such folder")
        os.environ["WIDTHLAW_DATA"] = str(Path(request.options.data_dir).resolve())
    plan.check(family, cells)
    if request.options.stop_hopeless and (to_the_end(request) or not hasattr(trainables.load(family), "goal")):
        why = (
            f"{family} knows no loss at which a training is solved"
            if request.sweep.critical
            else "no threshold is sought"
        )
        say(f"--stop-hopeless: {why}, so none is stopped")
    recipe = manifest(request)
    recipe |= found_before(records.read_plans(out), recipe["plan_id"])
    known, foreign = records.recorded(out, (family, plan.row_schema(family)), to_the_end=to_the_end(request))
    missing = plan.unrecorded(family, cells, known)
    for file in foreign:
        say(f"not rows: {file.path}: {file.why}" + ("" if request.options.dry_run else "; set aside, the rest is used"))
    if request.options.dry_run:
        if adaptive:
            print(choosing(request, recipe).forecast())
            return 0
        if trials := tuning_trials(request, cells):
            tell(request, f"pricing {len(trials):,} trainings that tune, value by value")
        print(estimate.dry_run(family, [*cells, *trials], missing + plan.unrecorded(family, trials, known)))
        return 0
    if COPIED in storage.locate(out)[1]:
        raise PlanError(
            f"--out {out}: lies in the copy of the folder that Ray made for this job and deletes later; give an "
            "absolute path on storage that stays"
        )
    address = environment.prepare(request.options.address)
    environment.reachable(address)
    uri = options.tracking_uri(request.options.tracking_uri, tracking.default_uri(out))
    with exclusive(out):
        if uri != tracking.default_uri(out):  # what the user has said is looked at before Ray starts
            tracking.check(uri)
        records.set_aside(out, foreign, (family, plan.row_schema(family)))
        if adaptive:
            return end(request, recipe, search(request, recipe, uri, address), uri)
        if tuned:
            trained = tune(request, recipe, cells, uri, address)
            return end(request, recipe, trained, uri) if "points" in recipe else untuned(request, trained)
        tell(request, asked_for(cells, missing, out))
        return end(request, recipe, train(request, missing, recipe, uri, address), uri)


def begun(out: str, recipe: dict[str, Any], uri: str) -> None:
    """MLflow answers, and the plan is noted, before anything is trained."""
    tracking.check(uri)  # makes a new store: half made, as on a full disk, it would stay useless
    records.write_plan(out, recipe)


@contextlib.contextmanager
def on_ray(address: str | None, *meanwhile: Callable[[], object]) -> Iterator[None]:
    """A connection to Ray, which takes seconds to start on other cores: another thread does ``meanwhile`` then, and
    what that raises is raised here, before the block."""
    from infra import engine  # imports Ray, which reads its environment then

    with ThreadPoolExecutor(1) as beside:
        done = [beside.submit(one) for one in meanwhile]
        with engine.connected(address):
            for one in done:
                one.result()
            yield


def train(request: Request, cells: Sequence[Any], recipe: dict[str, Any], uri: str, address: str | None) -> Trained:
    """Train ``cells``, if there are any, on Ray while MLflow follows; the rows are on disk afterwards."""
    out = request.options.out
    begin = partial(begun, out, recipe, uri)
    if not cells:
        begin()
        return Trained()
    with on_ray(address, partial(costs.price, request.family, cells), begin):
        from infra import engine

        setup = setup_of(request, address)
        packs = plan.packs(request.family, cells, setup.device, setup.side_by_side, setup.budget)
        progress = Progress(packs, recorded_counts(out, recipe), recipe, quiet=request.options.quiet)
        with tracking.following(out, uri, say, plan_ids=[recipe["plan_id"]]):
            return engine.train(packs, setup, progress)


def setup_of(request: Request, address: str | None) -> Any:
    """What all packs share, on the cluster that is connected. A sweep that seeks no threshold reads the last state of
    every training, and so stops none."""
    from infra import engine

    resources, side_by_side = engine.resources(request.options.gpus)
    name, options = datetime.now(UTC).strftime("%Y%m%dT%H%M%S"), request.options
    budget = engine.budget(resources, side_by_side, address)
    return engine.Setup(options.out, name, resources, side_by_side, address is not None, to_the_end(request), budget)


def to_the_end(request: Request) -> bool:
    """Whether hopeless trainings go on."""
    return not (request.options.stop_hopeless and request.sweep.critical)


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


def search(request: Request, recipe: dict[str, Any], uri: str, address: str | None) -> Trained:
    """Train what the chooser asks for on Ray while MLflow follows; the rows are on disk afterwards."""
    out, chooser = request.options.out, choosing(request, recipe)
    known = sum(setting.tally().trainings for setting in chooser.settings)
    until = f"more until the exponent's standard error is {chooser.limits.target_se:g}"
    tell(request, f"{known} trainings recorded in {out}; {until}")
    if chooser.finished():
        recipe["search"] = chooser.summary()
        begun(out, recipe, uri)
        return Trained()
    with on_ray(address, partial(begun, out, recipe, uri)):
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
    with on_ray(address, partial(begun, out, recipe, uri)):
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


def untuned(request: Request, trained: Trained) -> int:
    """The end of a run that has not come to its law: the exit code, after one line."""
    why = f"{trained.lost} packs were not recorded: {trained.error}" if trained.lost else "interrupted while tuning"
    say(f"{request.sweep.name}: {why}; what is recorded stays, go on with: {request.command}")
    return 130 if trained.interrupted else 2


def tuning_trials(request: Request, cells: Sequence[Any]) -> list[Any]:
    """Trainings as the tuning will take them, for what they cost; none where nothing is tuned."""
    name = request.options.tune
    return tuning.trials(tuning.protocol(name, *request.axes[name]), cells) if name else []


def conclude(request: Request, recipe: dict[str, Any], trained: Trained, uri: str) -> int:
    """Law, figure, table and catalogue from what is recorded, whatever happened before."""
    from analysis import report

    out = request.options.out
    try:
        with apart.syncing(out, uri, recipe["plan_id"]):
            summary = report.conclude(out, recipe["plan_id"])
            where = f"report     {storage.beside(out, report.PAGE)}"
            storage.tell(json.dumps(summary.law, indent=1) if request.options.json else f"{summary.text}\n{where}")
        where, well = catalogued(request, recipe, summary, uri)
        if not request.options.json:
            storage.tell(where)
        elif not (well and request.options.quiet):
            say(where)
        why = "every training failed, see the report" if summary.rows and summary.rows == summary.failed else ""
    except ResultsError as error:  # a full disk, most likely: what is recorded stays, and the way on is told below
        why = str(error)
    if trained.interrupted:
        say(f"interrupted; what is recorded stays, go on with: {request.command}")
        return 130
    if why := trained.error or why:
        lost = f"{trained.lost} packs were not recorded: " if trained.lost else ""
        say(f"{request.sweep.name}: {lost}{why}; mend it, go on with: {request.command}")
        return 2
    return 0


def catalogued(request: Request, recipe: dict[str, Any], summary: "Summary", uri: str) -> tuple[str, bool]:
    """Bring MLflow up to date; the line that says how to open it, or what to do later, and whether it is up to date."""
    from analysis.report import PAGE

    out, given = request.options.out, request.options.tracking_uri
    try:
        tracking.sync(out, uri, artifacts=[*summary.files, PAGE], law=summary.law, plan_ids=[recipe["plan_id"]])
    except TrackingError as error:
        return f"MLflow     not up to date ({error}); later: {program()} sync {out} --tracking-uri URI", False
    return f"MLflow     {program()} ui {out}" + (f" --tracking-uri {tracking.redacted(given)}" if given else ""), True


def recorded_counts(out: str, recipe: dict[str, Any]) -> Counter[Count]:
    """Outcomes that earlier runs of this plan recorded, for the live display."""
    table = records.plan_rows(out, recipe, ["outcome"])
    if not len(table):
        return Counter()
    columns = (table[name].to_pylist() for name in (*axes_of(recipe), "outcome"))
    return Counter((n, m, LETTERS[outcome]) for n, m, outcome in zip(*columns, strict=True))


def program() -> str:
    """How to call ``widthlaw`` from here."""
    path = Path(sys.executable).parent / "widthlaw"
    if shutil.which("widthlaw") == str(path) or not path.exists():
        return "widthlaw"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def asked_for(cells: Sequence[Any], missing: Sequence[Any], out: str) -> str:
    return f"{len(cells)} trainings asked for, {len(cells) - len(missing)} recorded in {out}, {len(missing)} to train"


def tell(request: Request, line: str) -> None:
    """A line on how it goes, unless none are wanted."""
    if not request.options.quiet:
        say(line)


def say(line: str) -> None:
    """One line to the user, beside the results on standard output."""
    print(line, file=sys.stderr, flush=True)
