"""A sync in a process of its own, while this one draws the report: MLflow's client computes more than it waits."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator

from infra.catalogue import tracking
from infra.store import records
from infra.store.storage import ResultsError

MANY = 50  # grid points, from which on a process is worth its start: each takes some 30 ms
NOWHERE = subprocess.DEVNULL


@contextlib.contextmanager
def syncing(out: str, tracking_uri: str, plan_id: str) -> Iterator[None]:
    """While the block works, another process brings MLflow up to date with the rows of a plan, where they are many.

    Leaving the block waits for it; an error ends it. Laws and files are the caller's ``sync``, which also tells what
    goes wrong here and writes anew what was left half written.
    """
    [plan] = [plan for plan in records.read_plans(out) if plan["plan_id"] == plan_id]
    rows = records.plan_rows(out, plan, ["point_id"])
    beside = multiprocessing.current_process().daemon  # where the next sweep trains meanwhile: no core is free
    if beside or not len(rows) or len(rows["point_id"].unique()) < MANY:
        yield
        return
    command = [sys.executable, "-P", "-m", "infra.catalogue.apart"]  # what is asked goes by a pipe: it may hold secrets
    where = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=NOWHERE, stderr=NOWHERE, env=where, text=True, start_new_session=True
    ) as other:  # Ctrl-C is for the process that waits
        try:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps([out, tracking_uri, plan_id]), file=other.stdin, flush=True)
            yield
            other.wait()
        finally:
            other.terminate()


def main() -> None:
    """``tracking.sync`` of what comes by the pipe, without a word."""
    out, tracking_uri, plan_id = json.loads(sys.stdin.readline())
    with contextlib.suppress(tracking.TrackingError, ResultsError):
        tracking.sync(out, tracking_uri, plan_ids=[plan_id])


if __name__ == "__main__":
    main()
