"""A sync in a process of its own, while this one draws the report: MLflow's client computes more than it waits."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from infra.catalogue import tracking
from infra.catalogue.mlflow_calls import CALL_SECONDS
from infra.store import records
from infra.store.storage import ResultsError

MANY = 50  # grid points, from which on a process is worth its start: each takes some 30 ms
PATIENCE = 2 * CALL_SECONDS + 5  # seconds that it is waited for in the end


@contextlib.contextmanager
def syncing(out: str, tracking_uri: str, plan_id: str) -> Iterator[None]:
    """While the block works, another process brings MLflow up to date with the rows of a plan, where they are many.

    It is waited for at the end of the block, for PATIENCE at most, and lives no longer than this one. Laws and files
    are the caller's ``sync``, which also does what is left to do, and tells what goes wrong.
    """
    other = started(out, tracking_uri, plan_id)
    if other is None:
        yield
        return
    with other:
        try:
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):
                other.wait(PATIENCE)
        finally:
            other.kill()


def started(out: str, tracking_uri: str, plan_id: str) -> "subprocess.Popen[Any] | None":
    """The process, which has been told what to do by a pipe, for an address may hold a secret; None where none is worth
    its start, or none can be had."""
    [plan] = [plan for plan in records.read_plans(out) if plan["plan_id"] == plan_id]
    rows = records.plan_rows(out, plan, ["point_id"])
    beside = multiprocessing.current_process().daemon  # where the next sweep trains meanwhile: no core is free
    if beside or not len(rows) or len(rows["point_id"].unique()) < MANY:
        return None
    command = [sys.executable, "-P", "-m", "infra.catalogue.apart"]
    where = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        other = subprocess.Popen(
            command,
            env=where,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the process that waits
            bufsize=0,
        )
    except OSError:
        return None
    with contextlib.suppress(BrokenPipeError):
        other.stdin.write(json.dumps([out, tracking_uri, plan_id]).encode() + b"\n")  # type: ignore[union-attr]
    return other


def main() -> None:
    """``tracking.sync`` of what comes by the pipe, without a word, for as long as the pipe is open."""
    out, tracking_uri, plan_id = json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    with contextlib.suppress(tracking.TrackingError, ResultsError):
        tracking.sync(out, tracking_uri, plan_ids=[plan_id])
    os._exit(0)  # not waiting for the thread, which holds standard input


if __name__ == "__main__":
    main()
