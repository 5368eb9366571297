"""A sync in a process of its own, while this one draws the report: MLflow's client computes more than it waits."""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator

from infra.catalogue import tracking
from infra.store import records
from infra.store.storage import ResultsError

MANY = 50  # grid points, from which on a process is worth its start: each takes some 30 ms


@contextlib.contextmanager
def syncing(out: str, tracking_uri: str, plan_id: str) -> Iterator[None]:
    """While the block works, another process brings MLflow up to date with the rows of a plan, where they are many.

    Leaving the block waits for it. Laws and files are the caller's ``sync``, which also tells what goes wrong here and
    writes anew what was left half written.
    """
    [plan] = [plan for plan in records.read_plans(out) if plan["plan_id"] == plan_id]
    rows = records.plan_rows(out, plan, ["point_id"])
    many = len(rows) > 0 and len(rows["point_id"].unique()) >= MANY
    if not many or multiprocessing.current_process().daemon:  # which may not start another
        yield
        return
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=work, args=(out, tracking_uri, plan_id), daemon=True)
    other.start()
    try:
        yield
        other.join()
    finally:
        other.terminate()
        other.join()


def work(out: str, tracking_uri: str, plan_id: str) -> None:
    """``tracking.sync`` without a word. Ctrl-C is for the process that waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(tracking.TrackingError, ResultsError):
        tracking.sync(out, tracking_uri, plan_ids=[plan_id])
