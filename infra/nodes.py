"""The nodes of a cluster: whether each sees the results folder."""

from pathlib import Path
from typing import Any

import ray
from ray import exceptions as gone
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra.environment import EngineError
from infra.store import storage
from infra.trial import UNSEEN

SECONDS = 120  # for a node to start a process that imports this package
MARK = "mark"  # the file's name
LOST = (  # what Ray says where the node, or the process that was to answer, is there no more
    gone.NodeDiedError,
    gone.LocalRayletDiedError,
    gone.WorkerCrashedError,
    gone.OutOfMemoryError,
    gone.TaskUnschedulableError,
)


class UnsharedError(BaseException):
    """A node is at work that does not see the results folder; which, in one line. Not an Exception: Tune would wait for
    its trials to end."""


def check(out: str, mark: str) -> None:
    """Write a file ``mark`` into the results folder ``out``. EngineError where a node does not see it: the node's rows
    would lie on its own disk and never be read. One that joins later finds that out before it trains (see PackTrial).
    ResultsError where it cannot be written."""
    storage.write_bytes(out, mark, b"")
    path = f"{storage.locate(out)[1]}/{mark}"
    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    others = sorted(set(hosts) - {ray.get_runtime_context().get_node_id()})
    for node, answer in [(node, ask(node, path)) for node in others]:
        if (why := told(answer)) is not None:
            raise EngineError(f"--out {out}: host {hosts[node]} {why}")


def told(answer: Any) -> str | None:
    """What is wrong with the node that gives ``answer``, or None. One that is gone by now is Ray's to replace."""
    try:
        return None if ray.get(answer, timeout=SECONDS) else UNSEEN
    except LOST:
        return None
    except gone.GetTimeoutError:
        return f"does not answer within {SECONDS} s: see its logs in /tmp/ray/session_latest/logs"
    except gone.RayError as error:
        if "No module named 'infra" in str(error):
            return "has no widthlaw: install it on every node"
        return f"cannot tell whether it sees it: {storage.last_line(error)}"


def ask(node: str, path: str) -> Any:
    """The answer to come of one node: whether ``path`` is there."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(sees).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(path)


def sees(path: str) -> bool:
    return Path(path).is_file()
