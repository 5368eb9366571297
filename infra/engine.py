"""Ray: connect to a cluster or embed one, and train packs as Tune trials."""

import contextlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import ray
import torch
from ray import tune
from ray.air.execution import PlacementGroupResourceManager
from ray.exceptions import AuthenticationError
from ray.tune.execution import class_cache

from infra import interrupt, nodes, provenance
from infra.choosing.searcher import Chooser, PackSearcher
from infra.environment import EngineError, Trained
from infra.planning import memory
from infra.planning.memory import Budget
from infra.planning.packs import Pack
from infra.progress import Progress
from infra.relay import Gone, Relay, Stopped
from infra.scheduler import InOrder
from infra.store import storage
from infra.trial import PackTrial

RETRIES = 5  # a pack whose worker dies is taken up again from its last checkpoint this often
DEAD = "actor is dead"  # how Ray says that a worker's process is gone
TOKEN = "RAY_AUTH_MODE=token, and the cluster's ~/.ray/auth_token here"

# Ray's own handler of SIGTERM raises SystemExit wherever the process is, in a finaliser too, where it is forgotten.
ray._private.utils.set_sigterm_handler = lambda _: None

# A Ray of this process's own (that of a cluster is not started here) needs neither pages, nor an autoscaler, nor what
# reads its workers' output: three processes that take two seconds of a core to start.
for name in ("start_api_server", "start_monitor", "start_log_monitor"):
    setattr(ray._private.node.Node, name, lambda *_, **__: None)

# What Tune has left of a fit that a signal broke off is collected at some time later, and would then ask Ray to give
# back its placement groups, which ends with the driver anyway: where Ray is gone too, that takes a minute.
PlacementGroupResourceManager.__del__ = lambda _: None

# Tune would hand the keys of a store on to its workers, and Ray write them into its logs: each node has its own.
class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A Ray connection: the one that this process has, else to ``address``, or (None) to a cluster of its own on
    loopback. EngineError when the address does not answer.
    """
    if ray.is_initialized():
        yield
        return
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # errors come back in the results
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", _node_ip_address="127.0.0.1", include_dashboard=False, **quiet)
    except AuthenticationError:
        raise EngineError(f"--address {address}: the cluster asks for a token: {TOKEN}") from None
    except Exception as error:  # no narrower: Ray raises that itself where its processes do not start in time
        where = f"--address {address}" if address else "embedded Ray"
        hint = f"is the cluster up (ray status), and is the token its own ({TOKEN})?" if address else "is /tmp full?"
        raise EngineError(f"{where}: {storage.last_line(error)}; {hint}") from None
    try:
        yield
    finally:
        with interrupt.handled():  # Ray takes the handler of SIGTERM away when it ends, beneath Python's
            ray.shutdown()


def resources(gpus: float | None) -> tuple[dict[str, float], int]:
    """What one pack takes, and how many packs run side by side. EngineError if that is more GPUs than there are, or if
    torch cannot use the one that Ray lends."""
    total = ray.cluster_resources()
    cards = total.get("GPU", 0.0)
    if gpus and cards < gpus:
        raise EngineError(f"--gpus {gpus:g}: the cluster has {cards:g} GPUs")
    share = (0.5 if cards else 0.0) if gpus is None else gpus
    if share and (why := ray.get(ray.remote(unusable).options(num_cpus=0, num_gpus=share).remote())):
        raise EngineError(why)
    cpus = int(total.get("CPU", 1))
    request = {"cpu": 1.0} | ({"gpu": share} if share else {})
    return request, max(1, min(cpus, int(cards / share) if share else cpus))


def unusable() -> str:
    """Why torch cannot use the GPU of this process, in one line; "" if it can."""
    if torch.cuda.is_available():
        return ""
    return (
        f"host {provenance.host()}: Ray lends a GPU, but torch {torch.__version__} finds none: install a build of "
        "torch for its CUDA, or give --gpus 0"
    )


def budget(request: dict[str, float], side_by_side: int, address: str | None) -> Budget:
    """What packs may take on the smallest node; of a cluster's cards only the driver's own, if any, is known."""
    if "gpu" in request:
        return memory.here("cuda", 1 / min(1.0, request["gpu"]))
    if not address:
        return memory.here("cpu", side_by_side)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    free = ("memory", "object_store_memory")  # Ray divides what was free when the node started
    budgets = [Budget(sum(node.get(name, 0) for name in free), int(node["CPU"])) for node in nodes]
    return min(budgets, key=lambda one: one.of_pack)


@dataclass(frozen=True)
class Setup:
    """What all packs of a run share: the results folder, the run's name, what a pack takes and how many run side by
    side, whether nodes must share checkpoints (else they go to a temporary folder), whether hopeless trainings go on,
    the memory there is.
    """

    out: str
    name: str
    request: dict[str, float]
    side_by_side: int
    shared: bool
    to_the_end: bool
    budget: Budget

    @property
    def device(self) -> str:
        return "cuda" if "gpu" in self.request else "cpu"


def train(packs: Sequence[Pack], setup: Setup, progress: Progress) -> Trained:
    """Train ``packs`` as Tune trials, longest first; each writes its own rows. Never raises for a lost pack."""
    with session(setup, progress) as (common, relay, where):
        left, errors = [job(i, pack) | common for i, pack in enumerate(packs)], [DEAD]
        try:
            for attempt in range(RETRIES):  # Tune does not retry a worker that dies while it starts or changes packs
                if left and any(DEAD in error for error in errors):
                    what = {"param_space": {"job": tune.grid_search(list(left))}}
                    errors = fit(what, {}, f"{setup.name}-{attempt}", setup, relay, where)
                    left = [relay.limited(job) for job in left if not progress.finished(job["pack"])]
        except Stopped:
            return Trained(interrupted=True)
        except Gone as gone:
            return Trained(lost=sum(not progress.finished(i) for i in range(len(packs))), error=str(gone))
    reasons = [error for error in errors if DEAD not in error] or errors
    return Trained(lost=len(left), error=reasons[0]) if left and reasons else Trained()


def search(chooser: Chooser, setup: Setup, progress: Progress) -> Trained:
    """Train the packs that ``chooser`` asks for, side by side and one more waiting, until it asks for no more."""
    side = setup.side_by_side
    with session(setup, progress) as (common, relay, where):
        searcher = PackSearcher(
            chooser, setup.device, side, lambda i: relay.limited(job(i, chooser.packs[i]) | common), setup.budget
        )
        how = {"search_alg": searcher, "num_samples": -1, "max_concurrent_trials": side + 1}
        try:
            errors = fit({}, how, setup.name, setup, relay, where)
        except Stopped:
            return Trained(interrupted=True)
        except Gone as gone:
            return Trained(lost=max(1, len(searcher.flying)), error=str(gone))
    return Trained(lost=searcher.lost, error=errors[0]) if searcher.lost else Trained()


def origin(setup: Setup, states: str) -> dict[str, Any]:
    """What a trial is told beside its pack: where rows and checkpoints (``states``) go, the code that makes them."""
    return {
        "mark": f"{states}/{nodes.MARK}" if setup.shared and "://" not in states else "",
        "out": setup.out if "://" in setup.out else storage.locate(setup.out)[1],
        "states": states,
        "device": setup.device,
        "to_the_end": setup.to_the_end,
        "code": provenance.code(),
        "commit": provenance.commit(),
        "data_dir": os.environ.get("WIDTHLAW_DATA", ""),
    }


def job(number: int, pack: Pack) -> dict[str, Any]:
    """A pack as a trial is told of it."""
    columns = json.dumps(pack.columns)
    return {"pack": number, "family": pack.family, "columns": columns, "size": pack.size, "largest": 0}


@contextlib.contextmanager
def session(setup: Setup, progress: Progress) -> Iterator[tuple[dict[str, Any], Relay, str]]:
    """While packs are trained: what all are told, what follows them, where Tune keeps its files."""
    with contextlib.ExitStack() as stack:
        where = stack.enter_context(TemporaryDirectory(prefix="widthlaw-"))
        states = f"{where}/states"
        if setup.shared:
            name = f"tune/{uuid.uuid4().hex[:12]}"  # its own: several drivers may be at work in an object store
            filesystem, mine = storage.within(setup.out, name)
            states = mine if (local := storage.is_local(filesystem)) else storage.beside(setup.out, name)
            stack.callback(forget, filesystem, mine)
            if local:
                nodes.check(setup.out, f"{name}/{nodes.MARK}")
        stop = stack.enter_context(interrupt.noted())
        stack.enter_context(interrupt.soon(where))
        stack.enter_context(progress)
        try:
            yield origin(setup, states), Relay(progress, stop, alone=not setup.shared), where
        except nodes.UnsharedError as error:
            raise EngineError(f"--out {setup.out}: {error}") from None


def forget(filesystem: Any, folder: str) -> None:
    """Delete the checkpoints: what is recorded needs none, and what is not starts anew. A folder belongs to one driver
    at a time, and what one that was killed has left goes too; in an object store it stays."""
    with contextlib.suppress(OSError):
        filesystem.delete_dir(folder.rpartition("/")[0] if storage.is_local(filesystem) else folder)


def fit(what: dict[str, Any], how: dict[str, Any], name: str, setup: Setup, relay: Relay, where: str) -> list[str]:
    """One Tune run, ``what`` being arguments of the tuner and ``how`` of its config: the last lines of its errors."""
    relay.errors = []
    tuner = tune.Tuner(
        tune.with_resources(PackTrial, setup.request),
        **what,
        tune_config=tune.TuneConfig(
            reuse_actors=True,
            scheduler=InOrder(setup.side_by_side),
            trial_name_creator=lambda trial: f"pack-{trial.config['job']['pack']}",
            trial_dirname_creator=lambda trial: f"pack-{trial.config['job']['pack']}",
            **how,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=where,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # none: a pack keeps its own
            callbacks=[relay],
            verbose=0,
        ),
    )
    tuner.fit()
    return relay.errors
