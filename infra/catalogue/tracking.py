"""MLflow: the catalogue of what the rows say. The rows are the truth; everything here can be made again from them.

One experiment per sweep, one parent run per plan, one child run per grid point. A child is written once, finished. One
that is unfinished or out of date is written anew and the old one deleted: MLflow cannot take a point back out of a
metric's history. A sync that is killed is therefore completed by the next.
One writer at a time: two processes that sync the same store would write the same children twice.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from infra.catalogue import grid_points as catalogue
from infra.catalogue import runs, views
from infra.catalogue.mlflow_calls import (
    CALL_SECONDS,
    TrackingError,
    calls,
    check,
    client,
    default_uri,
    look,
    prepare,
    redacted,
    ui_command,
)
from infra.catalogue.new_runs import at_once
from infra.store import records, storage
from infra.store.storage import ResultsError, first_line

__all__ = [
    "Synced",
    "TrackingError",
    "check",
    "default_uri",
    "following",
    "look",
    "pages",
    "prepare",
    "redacted",
    "sync",
    "ui_command",
]

PAUSE = 10  # times as long as a sync takes is waited for the next: the cores are there to train


@dataclass(frozen=True)
class Synced:
    """How many grid points had their run created, written anew, or left alone."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0


def sync(
    out: str,
    tracking_uri: str,
    *,
    artifacts: Sequence[str] = (),
    law: Mapping[str, Any] | None = None,
    plan_ids: Collection[str] | None = None,
    over: threading.Event | None = None,
) -> Synced:
    """Bring MLflow up to date with the rows of ``out``; what is up to date stays untouched.

    ``artifacts`` are files for the plan's run, by name in the results folder or by absolute local path. ``law`` is what
    was fitted: {"exponent", "interval", ...}, or {title: {"law": {...}}}. Both go to every plan in ``plan_ids``
    (default: all). With ``over`` the sweep still runs: rows, laws and points with little news are left for later, and
    the sync ends early when ``over`` is set. TrackingError as in ``check``; ResultsError when ``out`` or an artifact
    cannot be read.
    """
    check(tracking_uri)
    files = {Path(name).name: read_file(out, name) for name in artifacts}
    counts: Counter[str] = Counter()
    for plan in records.read_plans(out):
        if plan_ids is None or plan["plan_id"] in plan_ids:
            rows = records.plan_rows(out, plan)
            with calls(tracking_uri, CALL_SECONDS):
                mlflow = client(tracking_uri)
                parent, children = runs.find_runs(mlflow, runs.experiment(mlflow, tracking_uri, plan), plan)
                runs.check_place(tracking_uri, parent)
                runs.note(mlflow, parent, plan)
                points, some = catalogue.points(plan, rows), at_once(mlflow)
                news = (
                    one for one in points if not over or runs.much_is_new(plan, one, children.get(one.point_id, []))
                )
                while part := list(islice(news, some)):
                    if over and over.is_set():
                        return Synced(**counts)
                    counts += runs.write_children(mlflow, parent, plan, part, children)
                runs.write_parent(mlflow, parent, plan, rows, law, files, final=over is None)
    return Synced(**counts)


def lacking(out: str, tracking_uri: str) -> list[str]:
    """The plans of ``out`` that have rows and no grid point in MLflow, as where its store was moved away.

    TrackingError as in ``check``; ResultsError when ``out`` cannot be read.
    """
    check(tracking_uri)
    found = []
    for plan in records.read_plans(out):
        if len(records.plan_rows(out, plan, ["point_id"])):
            with calls(tracking_uri, CALL_SECONDS):
                mlflow = client(tracking_uri)
                parent, children = runs.find_runs(mlflow, runs.experiment(mlflow, tracking_uri, plan), plan)
                runs.check_place(tracking_uri, parent)
            found += [] if children else [plan["plan_id"]]
    return found


def pages(tracking_uri: str, plan: Mapping[str, Any], port: int = 5000) -> dict[str, str]:
    """Addresses of a plan's run, of the table of its grid points and of their charts, once ``ui_command`` runs.

    TrackingError as in ``check``.
    """
    check(tracking_uri)
    with calls(tracking_uri, CALL_SECONDS):
        mlflow = client(tracking_uri)
        number = runs.experiment(mlflow, tracking_uri, plan)
        parent, _ = runs.find_runs(mlflow, number, plan)
        runs.check_place(tracking_uri, parent)
    base = redacted(tracking_uri).rstrip("/") if tracking_uri.startswith("http") else f"http://127.0.0.1:{port}"
    return {name: f"{base}/{link}" for name, link in views.links(plan, number, parent.info.run_id).items()}


def read_file(out: str, name: str) -> bytes:
    """A file of the results folder, or an absolute local path."""
    filesystem, root = storage.locate("/" if Path(name).is_absolute() else out)
    try:
        with filesystem.open_input_file(f"{root.rstrip('/')}/{name.lstrip('/')}") as file:
            return bytes(file.read())
    except OSError as error:
        raise ResultsError(f"cannot read {name}: {first_line(error)}") from None


@contextlib.contextmanager
def following(
    out: str,
    tracking_uri: str,
    say: Callable[[str], None],
    *,
    plan_ids: Collection[str] | None = None,
    every: float = 15.0,
) -> Iterator[None]:
    """While the block trains, one daemon thread syncs every ``every`` seconds, or less often when that is slow.

    No training waits for MLflow. A sync that fails is told once, until one succeeds again. Leaving the block waits for
    the call under way, bounded by what ``calls`` allows; the last sync, with law and files, is the caller's.
    """
    over = threading.Event()

    def follow() -> None:
        told, pause = False, every
        while not over.wait(pause):
            began, pause = time.monotonic(), every
            try:
                sync(out, tracking_uri, plan_ids=plan_ids, over=over)
                told, pause = False, max(every, PAUSE * (time.monotonic() - began))
            except (TrackingError, ResultsError) as error:
                if not told and not over.is_set():
                    say(f"MLflow is not up to date ({error}); training goes on")
                told = True

    thread = threading.Thread(target=follow, name="mlflow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2 * CALL_SECONDS + 5)
