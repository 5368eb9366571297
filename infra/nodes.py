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
LOST = (  # what Ray says where the node, or the process that was to answer, is there no more
    gone.NodeDiedError,
    gone.LocalRayletDiedError,
    gone.WorkerCrashedError,
    gone.OutOfMemoryError,
    gone.TaskUnschedulableError,
)


def check(out: str, mark: str) -> None:
    """EngineError where a node does not see the results folder ``out``, which has the folder ``mark``: its rows would
    lie on its own disk and never be read. A node that joins later finds that out before it trains (see PackTrial)."""
    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    others = sorted(set(hosts) - {ray.get_runtime_context().get_node_id()})
    for node, answer in [(node, ask(node, mark)) for node in others]:
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


def ask(node: str, mark: str) -> Any:
    """The answer to come of one node: whether ``mark`` is there."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(sees).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(mark)


def sees(mark: str) -> bool:
    return Path(mark).is_dir()
