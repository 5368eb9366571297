"""What a pack takes of a cluster, on a real Ray that is told of GPUs which are not there."""

import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from infra import environment
from infra.environment import EngineError
from infra.planning.memory import Budget
from infra.planning.packs import Pack
from infra.progress import Progress
from infra.store import records
from infra.trial import UNSEEN

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def engine():
    environment.prepare(None)
    import ray

    from infra import engine

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", _node_ip_address="127.0.0.1", num_cpus=3, num_gpus=2, **quiet)
    yield engine
    ray.shutdown()


def test_a_ray_that_does_not_start_is_told_in_a_line(engine, monkeypatch):
    """Ray raises Exception itself where its processes do not start in time."""
    monkeypatch.setattr(engine.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(engine.ray, "init", lambda **_: exec("raise Exception('The node timed out.')"))
    with (
        pytest.raises(EngineError, match=r"^embedded Ray: The node timed out\.; is /tmp full\?$"),
        engine.connected(None),
    ):
        pass


@pytest.mark.usefixtures("engine")
def test_no_worker_is_started_before_a_pack_needs_one():
    """Ray starts one for each core otherwise, and Tune's packs take others."""
    lines = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    (raylet,) = [line for line in lines if line[0].endswith("/raylet")]
    workers = [line for line in lines if any("default_worker.py" in word for word in line) or line[0] == "ray::IDLE"]
    assert workers == [raylet], "its command says how to start one"


def test_packs_share_gpus_by_fractions_and_one_cpu_each(engine, monkeypatch):
    monkeypatch.setattr(engine, "unusable", lambda: "")
    assert engine.resources(None) == ({"cpu": 1.0, "gpu": 0.5}, 3)  # four would fit the GPUs, three the CPUs
    assert engine.resources(1.0) == ({"cpu": 1.0, "gpu": 1.0}, 2)
    assert engine.resources(0.0) == ({"cpu": 1.0}, 3)
    rest = (2, False, True, Budget(math.inf, 1))
    assert engine.Setup("out", "name", {"cpu": 1.0, "gpu": 0.5}, *rest).device == "cuda"
    assert engine.Setup("out", "name", {"cpu": 1.0}, *rest).device == "cpu"


def test_gpus_that_are_not_there_are_told_in_one_line_before_anything_is_trained(engine):
    with pytest.raises(EngineError, match=r"--gpus 4: the cluster has 2 GPUs$"):
        engine.resources(4.0)
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match=r"finds none: install a build of torch for its CUDA, or give --gpus 0$"):
            engine.resources(None)


def test_an_error_in_the_code_is_tried_once_more_and_no_oftener(engine, monkeypatch, tmp_path):
    tries = []
    recover = engine.Relay.on_trial_recover
    monkeypatch.setattr(
        engine.Relay, "on_trial_recover", lambda self, **k: (tries.append(k["trial"]), recover(self, **k))
    )
    columns = {"n": [8, 9], "m": 8, "d": 4, "max_steps": 5, "seed": 0}  # shapes that differ: what no plan makes
    wrong, right = Pack("two_layer_relu", columns, 2, 0.0, 0), Pack("two_layer_relu", columns | {"n": 8}, 1, 0.0, 0)
    setup = engine.Setup(str(tmp_path), "wrong", {"cpu": 1.0}, 2, False, True, Budget(math.inf, 1))
    trained = engine.train([wrong, right], setup, Progress([wrong, right], Counter(), {"over": "n", "critical": "m"}))
    assert trained.lost == 1 and "stack expects each tensor to be equal size" in trained.error
    assert len(tries) == 1
    assert len(records.read_rows(str(tmp_path))[0]) == 1, "the other pack is recorded"


def test_of_a_node_that_was_asked_only_its_loss_is_passed_over(engine, monkeypatch):
    nodes = engine.nodes

    def asked(what):
        return nodes.told(engine.ray.remote(what).options(num_cpus=0, max_retries=0).remote())

    assert asked(lambda: True) is None
    assert asked(lambda: False) == UNSEEN
    assert asked(lambda: os._exit(1)) is None, "its worker is gone"
    assert asked(lambda: Path("/proc/1/task/x").read_text()).endswith(
        ": FileNotFoundError: [Errno 2] No such file or directory: '/proc/1/task/x'"
    )
    assert asked(lambda: __import__("infra.absent")) == "has no widthlaw: install it on every node"
    monkeypatch.setattr(nodes, "SECONDS", 1)
    assert asked(lambda: time.sleep(30)).startswith("does not answer within 1 s")


def test_when_the_only_node_is_gone_it_ends(engine, monkeypatch):
    """The last test here: it kills the node."""
    monkeypatch.setattr("infra.relay.SILENT", 0.2)
    relay, among_many = (engine.Relay(None, threading.Event(), alone=alone) for alone in (True, False))
    time.sleep(0.3)
    relay.on_step_begin()
    (node,) = [one for one in psutil.Process().children(recursive=True) if one.name() == "raylet"]
    node.kill()
    deadline = time.monotonic() + 30
    while any(one["Alive"] for one in engine.ray.nodes()) and time.monotonic() < deadline:
        time.sleep(0.3)
    with pytest.raises(engine.Gone, match=r"^Ray's own node has died"):
        relay.on_step_begin()
    among_many.on_step_begin()


SIGNALLED = """
import os, signal, threading, time
from infra import environment
environment.prepare(None)
from infra import engine

def ours(*_):
    os._exit(7)

def look():
    while True:
        if signal.getsignal(signal.SIGTERM) is not ours:
            os._exit(8)
        time.sleep(0.001)

signal.signal(signal.SIGTERM, ours)
threading.Thread(target=look, daemon=True).start()
with engine.connected(None):
    pass
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
"""


def test_while_ray_starts_and_when_it_has_ended_a_signal_is_heard_as_before():
    """The law is fitted and drawn then."""
    assert subprocess.run([sys.executable, "-c", SIGNALLED], timeout=120).returncode == 7
