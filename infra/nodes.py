"""The nodes of a cluster: whether each sees the results folder."""

import contextlib
import uuid
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra.store import storage

SECONDS = 120  # for a node to start a process that imports this package


class UnsharedError(BaseException):
    """A node writes its rows where the driver does not read them; the message is one line. Not an Exception: Tune would
    wait for its trials to end."""


class Watch(tune.Callback):  # type: ignore[misc]
    """Raises UnsharedError as soon as a node is at work that does not see the results folder ``out``. Without this the
    rows of a worker on another node would lie on that node's own disk and never be seen.

    An object store is the same from everywhere.
    """

    def __init__(self, out: str):
        self.out = out
        self.hosts: set[str] = set()  # that have sent results
        self.known: set[str] = set()  # ids of nodes that were asked

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def setup(self, **_: Any) -> None:
        self.look()

    def on_trial_result(self, *, result: dict[str, Any], **_: Any) -> None:
        if result["hostname"] not in self.hosts:  # perhaps of a node that has joined since
            self.hosts.add(result["hostname"])
            self.look()

    def look(self) -> None:
        """Ask the nodes that were not asked before."""
        if "://" in self.out:
            return
        hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
        new = sorted(set(hosts) - self.known - {ray.get_runtime_context().get_node_id()})
        self.known |= set(hosts)
        if not new:
            return
        marker = f".seen-{uuid.uuid4().hex}"
        path = f"{storage.locate(self.out)[1]}/{marker}"
        storage.write_bytes(self.out, marker, b"")
        try:
            for node, answer in [(node, ask(node, path)) for node in new]:
                if (why := told(answer)) is not None:
                    raise UnsharedError(f"--out {self.out}: host {hosts[node]} {why}")
        finally:
            with contextlib.suppress(OSError):
                Path(path).unlink(missing_ok=True)


def told(answer: Any) -> str | None:
    """What is wrong with the node that gives ``answer``, or None. One that is gone by now is Ray's to replace."""
    try:
        if ray.get(answer, timeout=SECONDS):
            return None
        return "does not see it and would lose its rows: give a folder that all nodes share, or s3://bucket/folder"
    except RayError as error:
        return "has no widthlaw: install it on every node" if "No module named 'infra" in str(error) else None


def ask(node: str, path: str) -> Any:
    """The answer to come of one node: whether ``path`` is there."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(sees).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(path)


def sees(path: str) -> bool:
    return Path(path).exists()
