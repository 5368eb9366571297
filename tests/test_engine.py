"""What a pack takes of a cluster, on a real Ray that is told of GPUs which are not there."""

import logging
import math

import pytest

from infra import environment
from infra.environment import EngineError
from infra.memory import Budget

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
