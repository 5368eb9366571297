"""The cluster file for machines with SSH, used as its first lines tell, over three hosts with a sweep on them."""

from contextlib import suppress

import psutil
import pytest
import yaml
from hosts import ROOT, Host, Hosts, run, start, wait, wire
from training import seeds, trained

from infra.store import records
from trainables import random_features, two_layer_relu

pytestmark = pytest.mark.cluster

FILE = "~/on_premise.yaml"
SWEEP = "python ~/.widthlaw/source/sweeps/width_vs_n.py"  # on a host of the cluster
SMALL = ["--family", "random_features", "--n", "8", "--m", "4,8,16", "--d", "4", "--seeds", "10"]
LONG = ["--n", "64", "--d", "8", "--m", "16,17,18,19", "--seeds", "10", "--tolerance", "1e-12"]
LONG += ["--budget", "1e9", "--max_steps", "25000", "--to-the-end"]
SOON = "RAY_health_check_initial_delay_ms=0 RAY_health_check_period_ms=500 RAY_health_check_timeout_ms=1000"
SOON += " AUTOSCALER_UPDATE_INTERVAL_S=1"
TUNNEL = "ssh -o StrictHostKeyChecking=no -o ExitOnForwardFailure=yes -fN -L 8265:127.0.0.1:8265 head"


@pytest.fixture(scope="module")
def cluster(hosts: Hosts):
    """Head and two workers, of one CPU each, started by ``ray up`` from the laptop."""
    laptop, head = hosts["laptop"], hosts["head"]
    text = (ROOT / "infra/clusters/on_premise.yaml").read_text()
    text = text.replace(
        "ray start --head", "ray start --num-cpus=0 --head"
    )  # else it has all packs before others begin
    text = text.replace("ray start --address", "ray start --num-cpus=1 --address")
    edited = yaml.safe_load(text)
    workers = [hosts[name].address for name in ("w1", "w2")]
    edited["provider"] |= {"head_ip": head.address, "worker_ips": workers}
    edited["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id_ed25519"}
    (laptop.home / "on_premise.yaml").write_text(yaml.safe_dump(edited))
    (laptop.home / ".bashrc").write_text(f"export PATH=~/.widthlaw/venv/bin:$PATH RAY_AUTH_MODE=token; cd {ROOT}\n")
    (head.home / ".bashrc").write_text(f"export {SOON}\n")  # nodes are started, and missed when they are gone, sooner
    run(laptop, "ray get-auth-token --generate >/dev/null; chmod 600 ~/.ray/auth_token")
    run(laptop, f"ray up -y --no-config-cache {FILE}")
    wait(lambda: " 3 local.cluster.node" in run(head, "ray status", code=None), "three nodes")
    return hosts


def submit(hosts: Hosts, *arguments: str) -> str:
    return run(hosts["laptop"], f"ray submit --no-config-cache {FILE} sweeps/width_vs_n.py -- {' '.join(arguments)}")


def check_rows(out, family, packs):
    """Each cell once, with the row that it has when it is trained here."""
    table, foreign = records.read_rows(str(out))
    assert not foreign and not records.duplicates(table)
    rows = {row["cell_id"]: row for row in table.to_pylist()}
    reference = {key: row for pack in packs for key, row in trained(family, pack).items()}
    assert set(rows) == set(reference)
    for key, row in reference.items():
        assert {name: repr(rows[key][name]) for name in row} == {name: repr(value) for name, value in row.items()}
    return table


def long():
    ends = {"tolerance": 1e-12, "budget": 1e9, "max_steps": 25_000}
    return [seeds(two_layer_relu.Cell(n=64, d=8, m=m, **ends), 10) for m in range(16, 20)]


def test_ray_submit_trains_on_the_cluster_with_the_package_that_the_file_brings(cluster):
    said = submit(cluster, *SMALL, "--out", str(cluster.shared / "submitted"))
    assert "30 to train" in said
    packs = [seeds(random_features.Cell(n=8, m=m, d=4), 10) for m in (4, 8, 16)]
    check_rows(cluster.shared / "submitted", "random_features", packs)
    token = cluster["w2"].home / ".ray/auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    secret = token.read_text()
    assert not any(secret in " ".join(p.cmdline()) for host in cluster.by_name.values() for p in processes(host))


def test_the_doctor_asks_all_nodes_from_the_head(cluster):
    doctor = f"widthlaw doctor --address auto --out {cluster.shared}/looked"
    said = run(cluster["laptop"], f"ray exec --no-config-cache {FILE} '{doctor}'", code=None)
    for told in ("ok    3 nodes with widthlaw", "ok    3 nodes can write to", "asks for a token"):
        assert told in said, said
    assert "MEND" not in said


def test_a_folder_that_the_nodes_do_not_share_is_refused(cluster):
    said = run(cluster["head"], f"{SWEEP} {' '.join(SMALL)}", code=2)
    (line,) = [line for line in said.splitlines() if line.startswith("width_vs_n:")]
    assert "does not see it" in line and "s3://bucket" in line
    assert not list(cluster["head"].home.glob("results/*/rows/*"))


WRONG = ["RAY_AUTH_TOKEN=wrong", "RAY_AUTH_MODE=disabled"]


def test_a_sweep_with_another_token_is_refused_in_one_line(cluster):
    said = run(cluster["w1"], f"{WRONG[0]} RAY_NUM_REDIS_GET_RETRIES=2 {SWEEP} {' '.join(SMALL)}", code=2)
    assert "~/.ray/auth_token" in said.splitlines()[-1] and "Traceback" not in said, said


def test_ray_job_submit_ships_the_folder_asks_for_the_token_and_goes_on_without_a_node_that_is_cut_off(cluster):
    laptop, out = cluster["laptop"], cluster.shared / "job"
    run(laptop, TUNNEL)
    command = "ray job submit --address http://127.0.0.1:8265 --working-dir . -- python sweeps/width_vs_n.py"
    for wrong in WRONG:
        said = run(laptop, f"{wrong} {command} {' '.join(LONG)} --out {out}", code=1)
        assert "AuthenticationError" in said, said
    assert not out.exists()
    log = cluster.shared / "job.log"  # not a pipe, which would be full before it is read
    process = start(laptop, f"{command} {' '.join(LONG)} --out {out} > {log} 2>&1")
    try:
        lost = wait(
            lambda: next(filter(lambda name: training(cluster[name]), ("w1", "w2")), None), "a pack on a worker"
        )
    except AssertionError as error:
        process.kill()
        raise AssertionError(log.read_text()) from error
    wire(cluster, lost, "down")
    process.communicate(timeout=400)
    said = log.read_text()
    assert process.returncode == 0, said
    table = check_rows(out, "two_layer_relu", long())
    assert "its worker was lost" in said and set(table["host"].to_pylist()) - {lost}, said


def processes(host: Host) -> list[psutil.Process]:
    return psutil.Process(host.pid).children(recursive=True)


def training(host: Host) -> int:
    """How many processes train there."""
    count = 0
    for process in processes(host):
        with suppress(psutil.NoSuchProcess):
            count += "ResourceTrainable.train" in process.name()
    return count
