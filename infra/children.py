"""The runs of grid points in MLflow: each written once, many of them by several processes.

A run costs about 25 ms of processor time in MLflow's own code, whatever the store, so that a thread gains nothing.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from infra import catalogue
from infra.mlflow_calls import CALL_SECONDS, TrackingError, calls, client, metric, parameters

PLAN, POINT, PARENT = "widthlaw.plan", "widthlaw.point", "mlflow.parentRunId"
MANY = 300  # runs to write from which other processes are worth their start, 4 s of processor time each
PART = 20  # runs handed over at a time
PROCESSES = 3  # more wait for each other: a store in SQLite has one writer at a time


@dataclass(frozen=True)
class Child:
    """What the run of a grid point is to say: plain numbers, that pass to another process at little cost."""

    point_id: str
    name: str
    axes: Mapping[str, Any]
    numbers: Mapping[str, float]
    curve: Sequence[tuple[int, float]]  # (step, loss)
    span: tuple[int, int]  # ms since 1970
    stale: tuple[str, ...]  # the runs that it replaces
    noted: Mapping[str, str]  # and what a reader noted on them


def outdated(mlflow: Any, parent: Any, points: Sequence[catalogue.Point], found: Mapping[str, Any]) -> list[Child]:
    """The points whose run is missing or does not say what their rows say; of those that do, one run is kept.

    ``found``: the runs by point_id. A run counts as written once it is FINISHED.
    """
    children = []
    for point in points:
        runs = found.get(point.point_id, [])
        good = [run for run in runs if run.info.status == "FINISHED" and says(run, parent, point)]
        if not good:
            children.append(child(point, runs))
        for run in runs:
            if good and run is not good[0]:
                mlflow.delete_run(run.info.run_id)
    return children


def child(point: catalogue.Point, stale: Sequence[Any]) -> Child:
    """What a grid point's rows say, in the place of ``stale`` runs."""
    curve, span = catalogue.loss_curve(point.rows), catalogue.time_span(point.rows)
    numbers = {name: value for name, value in catalogue.numbers(point).items() if not (curve and name == "loss")}
    noted = {name: text for name, text in stale[0].data.tags.items() if name != "mlflow.runName"} if stale else {}
    old = tuple(run.info.run_id for run in stale)
    return Child(point.point_id, point.name, point.axes, numbers, curve, span, old, noted)


def says(run: Any, parent: Any, point: catalogue.Point) -> bool:
    """Whether a run hangs under ``parent`` and has the point's numbers of trainings and outcomes."""
    counts = {name: run.data.metrics.get(name) for name in point.counts}
    return run.data.tags.get(PARENT) == parent.info.run_id and counts == point.counts


def write(
    tracking_uri: str, parent: Any, children: Sequence[Child], over: threading.Event | None = None
) -> Counter[str]:
    """Make the runs of ``children`` under ``parent``; how many were "created" and "updated".

    With ``over`` in this process alone, until it is set: the cores belong to the training. TrackingError as in
    ``calls``, or where a process that writes dies; what is written then stays.
    """
    helpers = min(PROCESSES, os.cpu_count() or 1) - 1
    under = (tracking_uri, parent.info.run_id, parent.info.experiment_id, parent.data.tags[PLAN])
    parts = [children[i : i + PART] for i in range(0, len(children), PART)]
    counts: Counter[str] = Counter()
    if over or not helpers or len(children) < MANY:
        for part in parts:
            counts += write_part(under, part, over)
        return counts
    spawn = multiprocessing.get_context("spawn")  # a fork would copy Ray's and the database's threads
    with ProcessPoolExecutor(helpers, spawn, initializer=follow_parent) as pool:
        try:
            left, futures = deque(parts), list[Future[Counter[str]]]()
            while (
                left
            ):  # the helpers from one end, each with a part under way and one ready, this process from the other
                while left and sum(not future.done() for future in futures) < 2 * helpers:
                    futures.append(pool.submit(write_part, under, left.popleft()))
                if left:
                    counts += write_part(under, left.pop())
            return sum((future.result() for future in futures), counts)
        except BrokenProcessPool:
            raise TrackingError("a process that writes to MLflow died") from None
        finally:
            pool.shutdown(cancel_futures=True)


def follow_parent() -> None:
    """A helper leaves interruptions to its parent and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def write_part(
    under: tuple[str, str, str, str], children: Sequence[Child], over: threading.Event | None = None
) -> Counter[str]:
    """Make runs one after the other. ``under``: the store, and the parent's run, experiment and plan."""
    tracking_uri, parent, experiment, plan = under
    counts: Counter[str] = Counter()
    with calls(tracking_uri, CALL_SECONDS):
        mlflow = client(tracking_uri)
        for one in children:
            if over and over.is_set():
                break
            write_child(mlflow, experiment, {**one.noted, PARENT: parent, PLAN: plan, POINT: one.point_id}, one)
            counts["updated" if one.stale else "created"] += 1
    return counts


def write_child(mlflow: Any, experiment: str, labels: Mapping[str, str], one: Child) -> None:
    """Make the run of one grid point, then delete those that it replaces."""
    start, end = one.span
    metrics = [metric(name, value) for name, value in one.numbers.items()]
    metrics += [metric("loss", value, step) for step, value in one.curve]
    run = mlflow.create_run(experiment, start, labels, one.name)
    mlflow.log_batch(run.info.run_id, metrics, parameters(one.axes))
    mlflow.set_terminated(run.info.run_id, "FINISHED", end)
    for old in one.stale:
        mlflow.delete_run(old)
