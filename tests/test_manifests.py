"""The files in infra/clusters against the schemas of those who read them. No cluster is started here."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CLUSTERS = ROOT / "infra/clusters"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
NEEDED = {*ROOMS, "pyproject.toml", "README.md", "LICENSE"}  # to install widthlaw
RAY = "2.60"
KUBERNETES = "1.34"


def load(name):
    return yaml.safe_load((CLUSTERS / name).read_text())


@pytest.fixture(params=["on_premise.yaml", "aws.yaml", "gcp.yaml"])
def cluster(request):
    return load(request.param)


def test_rays_own_schema_takes_the_cluster_file(cluster):
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)


def test_a_cluster_file_brings_the_package_and_the_token_and_nothing_else(cluster):
    mounts = dict(cluster["file_mounts"])
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert mounts == {f"~/.widthlaw/source/{name}": name for name in NEEDED}
    assert all((ROOT / path).exists() for path in mounts.values())


def test_cluster_files_differ_in_where_their_machines_come_from_only(cluster):
    reference = load("on_premise.yaml")
    for part in ("file_mounts", "rsync_exclude", "setup_commands", "worker_start_ray_commands"):
        assert cluster[part] == reference[part], part


def test_a_cluster_asks_for_a_token_and_its_dashboard_stays_at_home(cluster):
    start = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    assert all(command.startswith(". ~/.widthlaw/source/infra/clusters/env.sh;") for command in start)
    assert "RAY_AUTH_MODE=token" in (CLUSTERS / "env.sh").read_text()
    assert sum("--dashboard-host=127.0.0.1" in command for command in start) == 1
    assert "AUTH_TOKEN" not in json.dumps(cluster), "a token in a command is seen by all who list processes"


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_all_nodes_of_a_cloud_are_asked_for_at_once(name):
    cluster = load(name)
    worker = cluster["available_node_types"]["worker"]
    assert worker["min_workers"] == worker["max_workers"] == cluster["max_workers"]


def test_kuberays_schema_takes_the_job():
    job = load("kuberay.yaml")
    jsonschema.validate(job, yaml.safe_load((ROOT / "tests/kuberay-1.5.1.yaml").read_text()))
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"].startswith(f"{RAY}.")
    assert (ROOT / job["spec"]["entrypoint"].split()[1]).exists()
    assert all(group["minReplicas"] == group["replicas"] for group in cluster["workerGroupSpecs"])


def pods():
    cluster = load("kuberay.yaml")["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]


@pytest.mark.parametrize("template", pods())
def test_kubernetes_schema_takes_its_pods(template):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_image_holds_the_package_on_the_ray_of_the_package():
    text = (CLUSTERS / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY --chown=\S+ (.*) \S+$", text, re.M) for name in line.split()}
    assert copied == NEEDED
    assert f"FROM rayproject/ray:{RAY}." in text
    assert any(need.startswith(f"ray[tune]>={RAY},") for need in PROJECT["project"]["dependencies"])


@pytest.mark.parametrize("script", sorted(path.name for path in CLUSTERS.glob("*.sh")))
def test_shell_scripts(script):
    path = str(CLUSTERS / script)
    for command in (["bash", "-n", path], [str(Path(sys.executable).parent / "shellcheck"), path]):
        finished = subprocess.run(command, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_page_names_every_file_and_only_files_that_are_there():
    text = (CLUSTERS / "README.md").read_text()
    named = set(re.findall(r"infra/clusters/(\w+(?:\.\w+)?)", text))
    here = {path.name for path in CLUSTERS.iterdir()}
    assert named <= here and here - named <= {"README.md", "env.sh"}
