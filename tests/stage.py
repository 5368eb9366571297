"""What a chaos campaign plays on: three hosts with one Ray, a small disk that they share, and on the first of them
PostgreSQL with an MLflow server over it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from hosts import ROOT, Host, Hosts, boot, lacking, run, start, wait

from infra.environment import SETTINGS

DISK = 96  # MiB
POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
URI = "http://127.0.0.1:5000"
MLFLOW = f"{ROOT}/infra/clusters/mlflow_server.sh /tmp/artifacts"
RAY = f"{sys.executable} -m ray.scripts.scripts start --object-store-memory=100000000 --disable-usage-stats"
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled",
    "PGHOST": "127.0.0.1", "PGUSER": "postgres", "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
}  # fmt: skip
# A node that does not answer is given up after 5 questions, here some 8 s (Ray's own settings: 65).
ENVIRONMENT |= {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "1000"}
ENVIRONMENT |= {name: SETTINGS[name] for name in ("RAY_enable_worker_prestart", "RAY_prestart_worker_first_driver")}
EXPORTS = "export " + " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())


def missing() -> str:
    """Why there can be no stage here; "" if there can."""
    return lacking() or ("" if POSTGRESQL else "not installed: postgresql (make hosts)")


@dataclass(frozen=True)
class Stage:
    """``nodes``: the hosts with Ray, the head first. ``folder``: for logs. ``out``: the results, on the small disk."""

    hosts: Hosts
    nodes: tuple[Host, ...]
    folder: Path
    out: Path

    @property
    def head(self) -> Host:
        return self.nodes[0]

    @property
    def address(self) -> str:
        return f"{self.head.address}:6379"


def processes(host: Host, *words: str) -> list[psutil.Process]:
    """The processes of a host with all of the words in their command lines."""
    space, found = Path(f"/proc/{host.pid}/ns/pid").readlink(), []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if Path(f"/proc/{process.pid}/ns/pid").readlink() == space:
                line = " ".join(process.cmdline())
                if all(word in line for word in words):
                    found.append(process)
    return found


def kill(host: Host, *words: str) -> None:
    """Kill such processes of a host, not asking."""
    for process in processes(host, *words):
        with contextlib.suppress(psutil.Error):
            process.kill()


def join(stage: Stage, host: Host) -> None:
    """Start Ray on a host; once more where it does not come up within the 30 s that it gives itself."""
    head = "--head --port=6379 --num-cpus=0 --include-dashboard=false"
    where = head if host is stage.head else f"--address={stage.address} --num-cpus=1"
    line = f"{EXPORTS}; {RAY} {where} --node-ip-address={host.address}"
    try:
        run(host, line)
    except AssertionError:
        kill(host, "ray")
        run(host, line)


def alive(stage: Stage) -> set[str]:
    """Addresses of the nodes that Ray counts on."""
    return set(
        run(stage.head, f"{EXPORTS}; {sys.executable} {__file__} alive {stage.address}").splitlines()[-1].split()
    )


def counted_on(address: str) -> str:
    """Runs on the head: the same, of the cluster at ``address``, with blanks between."""
    from ray._raylet import GcsClientOptions, GlobalStateAccessor

    options = GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
    accessor = GlobalStateAccessor(options)
    accessor.connect()
    return " ".join(node["NodeManagerAddress"] for node in accessor.get_node_table() if node["Alive"])


def launch(host: Host, command: str, log: Path) -> "subprocess.Popen[str]":
    """A command on a host that goes on beside us."""
    with log.open("a") as file:
        return start(host, f"{EXPORTS}; exec {command}", stdout=file, stderr=file)


def store(stage: Stage) -> None:
    """Start PostgreSQL, which mends itself where it was killed."""
    options = "-k /tmp -c listen_addresses=127.0.0.1 -c shared_buffers=16MB -c fsync=off"  # the machine lives on
    run(stage.head, f"su postgres -c \"{POSTGRESQL[-1]}/pg_ctl -D /tmp/pg -w -l /tmp/pg.log -o '{options}' start\"")


def serve(stage: Stage) -> None:
    """Start the MLflow server, again and again until there is a PostgreSQL, as a service manager does; it answers some
    seconds later."""
    run(stage.head, f"{EXPORTS}; setsid bash -c 'until {MLFLOW}; do sleep 1; done' >> /tmp/mlflow.log 2>&1 &")


def answers(stage: Stage) -> bool:
    """Whether the MLflow server does."""
    return "OK" in run(stage.head, f"curl -s {URI}/health", code=None)


def disagreements(stage: Stage) -> int:
    """Grid points of which MLflow says something else than the rows, once it has been brought up to date."""
    wait(lambda: answers(stage), "MLflow")
    return int(run(stage.head, f"{EXPORTS}; {sys.executable} {__file__} compare {stage.out}").splitlines()[-1])


def compare(out: str) -> int:
    """Runs on the head: grid points whose run is missing, there twice, or counts other outcomes than the rows."""
    from mlflow import MlflowClient

    from infra.catalogue import grid_points as catalogue
    from infra.catalogue import tracking
    from infra.catalogue.runs import PLAN, POINT
    from infra.store import records

    tracking.sync(out, URI)
    client, wrong = MlflowClient(URI), 0
    for plan in records.read_plans(out):
        experiment = client.get_experiment_by_name(plan["sweep"])
        query = f"tags.`{PLAN}` = '{plan['plan_id']}'"
        runs = client.search_runs([experiment.experiment_id], query, max_results=1000)
        for point in catalogue.points(plan, records.plan_rows(out, plan)):
            found = [run.data.metrics for run in runs if run.data.tags.get(POINT) == point.point_id]
            same = [all(metrics.get(name) == count for name, count in point.counts.items()) for metrics in found]
            wrong += same != [True]
    return wrong


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[Stage]:
    """The hosts, the small disk and PostgreSQL; nothing of them is left afterwards."""
    shared = folder / "shared"
    (shared / "disk").mkdir(parents=True)
    with ExitStack() as stack:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(shared / "disk")], check=True)
        stack.callback(subprocess.run, ["umount", "-l", str(shared / "disk")], check=True)
        hosts = boot(stack, folder, shared)
        nodes = tuple(hosts[name] for name in ("head", "w1", "w2"))
        stage = Stage(hosts, nodes, folder, shared / "disk" / "du")
        initdb = f"{POSTGRESQL[-1]}/initdb --no-sync -D /tmp/pg"
        run(stage.head, f"install -d -o postgres /tmp/pg && su postgres -c '{initdb}'")
        store(stage)
        yield stage


def gather(stage: Stage) -> None:
    """Start Ray on the head, then on the others at once."""
    join(stage, stage.head)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda host: join(stage, host), stage.nodes[1:]))


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Everything up and running."""
    with hosted(folder) as stage:
        serve(stage)
        gather(stage)
        try:
            wait(lambda: answers(stage), "MLflow")
        except AssertionError:
            raise AssertionError(run(stage.head, "cat /tmp/mlflow.log")) from None
        yield stage


if __name__ == "__main__":
    print({"compare": compare, "alive": counted_on}[sys.argv[1]](sys.argv[2]))
