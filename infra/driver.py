"""The driver: from a sweep's command line to rows, a law, a figure and an MLflow catalogue."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import environment, estimate, options, training
from infra.catalogue import tracking
from infra.catalogue.tracking import TrackingError
from infra.environment import EngineError, Trained
from infra.options import Request
from infra.plan_file import found_before, manifest
from infra.planning import plan
from infra.planning.axes import PlanError
from infra.progress import say
from infra.store import records, storage
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
    recipe = manifest(request)
    recipe |= found_before(records.read_plans(out), recipe["plan_id"])
    known, foreign = records.recorded(out, (family, plan.row_schema(family)), to_the_end=training.to_the_end(request))
    missing = plan.unrecorded(family, cells, known)
    for file in foreign:
        say(f"not rows: {file.path}: {file.why}" + ("" if request.options.dry_run else "; set aside, the rest is used"))
    if request.options.dry_run:
        if adaptive:
            storage.tell(training.choosing(request, recipe).forecast())
            return 0
        if trials := training.tuning_trials(request, cells):
            training.tell(request, f"pricing {len(trials):,} trainings that tune, value by value")
        left = missing + plan.unrecorded(family, trials, known)
        how = {"gpus": bool(request.options.gpus), "to_the_end": training.to_the_end(request)}
        storage.tell(estimate.dry_run(family, [*cells, *trials], left, **how))
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
        tracking.look(uri)
        if uri != tracking.default_uri(out):  # which is opened, and made, while Ray starts
            tracking.check(uri)
        records.write_plan(out, recipe)
        records.set_aside(out, foreign, (family, plan.row_schema(family)))
        if adaptive:
            return end(request, recipe, training.search(request, recipe, uri, address), uri)
        if tuned:
            trained = training.tune(request, recipe, cells, uri, address)
            return end(request, recipe, trained, uri) if "points" in recipe else untuned(request, trained)
        training.tell(request, training.asked_for(cells, missing, out))
        return end(request, recipe, training.train(request, missing, recipe, uri, address), uri)


def untuned(request: Request, trained: Trained) -> int:
    """The end of a run that has not come to its law: the exit code, after one line."""
    why = f"{trained.lost} packs were not recorded: {trained.error}" if trained.lost else "interrupted while tuning"
    say(f"{request.sweep.name}: {why}; what is recorded stays, go on with: {request.command}")
    return 130 if trained.interrupted else 2


def conclude(request: Request, recipe: dict[str, Any], trained: Trained, uri: str) -> int:
    """Law, figure, table and catalogue from what is recorded, whatever happened before."""
    from analysis import report

    out = request.options.out
    try:
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


def program() -> str:
    """How to call ``widthlaw`` from here."""
    path = Path(sys.executable).parent / "widthlaw"
    if shutil.which("widthlaw") == str(path) or not path.exists():
        return "widthlaw"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
