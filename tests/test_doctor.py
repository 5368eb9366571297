"""What a doctor finds: on this machine, on a cluster of two nodes of which one is ill, and of clocks that differ."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from infra.commands import cli
from infra.store.storage import ResultsError

ROOT = Path(__file__).parents[1]
WIDTHLAW = [sys.executable, "-m", "infra.commands.cli", "doctor"]


@pytest.fixture(scope="module", autouse=True)
def surroundings():
    """What is set for Ray before it is imported is not there for the tests of other files."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(scope="module")
def doctor():
    from infra import environment

    environment.prepare("nowhere")  # Ray reads its environment when it is imported
    from infra.commands import doctor

    return doctor


def texts(findings, well):
    return [one.text for one in findings if one.well is well]


def test_clocks_are_told_apart_only_beyond_the_delay_of_the_question(doctor):
    sound = doctor.Node("a (10.0.0.1)", skew=0.3, doubt=0.1)
    slow = doctor.Node("b (10.0.0.2)", skew=4.0, doubt=2.5)  # 4 s off, or 1.5: the answer took 5 s
    behind = doctor.Node("c (10.0.0.3)", skew=-3.0, doubt=0.2)
    assert texts(doctor.clocks([sound, slow]), True) == ["clocks agree to 6.50 s"]
    assert texts(doctor.clocks([sound, slow, behind]), False) == [
        "c (10.0.0.3): its clock is 3.0 s behind: start a time service (chrony)"
    ]


def test_of_nodes_that_did_not_answer_nothing_is_vouched_for(doctor):
    silent = [doctor.Node("a", lacks="no answer"), doctor.Node("b", lacks="no answer")]
    assert list(doctor.doors(silent, ["10.0.0.1", "10.0.0.2"])) == [] == list(doctor.cards(silent))


def test_an_address_with_a_secret_is_refused_before_any_node_hears_of_it(doctor):
    with pytest.raises(ResultsError, match="carries a password or a key") as caught:
        list(doctor.examine(None, "s3://KEY:TOPSECRET@bucket/du", ""))
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("me:TOPSECRET@127.0.0.1:6379", "it carries a user or a password"),
        ("127.0.0.1:²", "is not auto, host:port"),
        ("127.0.0.1:99999", "is not auto, host:port"),
        ("http://127.0.0.1:6379", "is not auto, host:port"),
        (":6379", "is not auto, host:port"),
        ("x", "is not auto, host:port"),
    ],
)
def test_an_address_that_is_none_is_told_in_a_line(capsys, address, told):
    assert cli.main(["doctor", "--address", address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line and "TOPSECRET" not in line


def test_a_port_that_answers_and_is_not_ray_is_told(capsys):
    answers = {"http": b"HTTP/1.1 400 Bad Request\r\n\r\n", "closed": b""}
    for answer in answers.values():
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = Thread(target=answer_once, args=(server, answer))
            thread.start()
            assert cli.main(["doctor", "--address", f"127.0.0.1:{server.getsockname()[1]}"]) == 2
            thread.join()
        assert "what answers there is not Ray" in capsys.readouterr().err


def answer_once(server, answer):
    there, _ = server.accept()
    with there:
        there.recv(64)
        there.sendall(answer)


def test_gpus_that_ray_and_torch_count_differently(doctor):
    node = doctor.Node("a (10.0.0.1)", lent=2.0, cards=2)
    assert texts(doctor.cards([node]), True) == ["2 GPUs"]
    assert "Ray lends 2 GPUs, torch can use 0" in texts(doctor.cards([replace(node, cards=0)]), False)[0]
    assert "--num-gpus 2" in texts(doctor.cards([replace(node, lent=0.0)]), False)[0]


def test_cpus_that_round_differently(doctor):
    wide, narrow = doctor.Node("a", vectors="AVX512"), doctor.Node("b", vectors="AVX2")
    assert "differ (AVX2, AVX512)" in texts(doctor.bits([wide, narrow]), False)[0]
    assert not list(doctor.bits([wide, wide, replace(narrow, lacks="does not answer")]))


def test_a_node_with_other_code_or_packages_or_none(doctor):
    here = {"python": "3.11.7", "torch": "2.13.0"}
    sound = doctor.Node("a", versions=tuple(here.items()), code="c")
    other = replace(sound, name="b", code="d", versions=(("python", "3.11.7"), ("torch", "")))
    found = list(doctor.compared([sound, sound, other, doctor.Node("e", "does not answer")], here, "c"))
    assert texts(found, True) == ["2 nodes with widthlaw c, python 3.11.7, torch 2.13.0"]
    assert texts(found, False) == [
        "b has no torch, this machine 2.13.0: install the same on every node",
        "b runs other code of widthlaw (d) than this machine (c): install the same on every node",
        "e does not answer",
    ]


@pytest.mark.cluster
def test_a_sound_machine_gets_no_line_to_mend(tmp_path):
    done = subprocess.run([*WIDTHLAW, "--out", str(tmp_path / "du")], cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line.startswith("ok ") for line in lines), lines
    for told in ("MLflow at sqlite", "loopback", "1 node with widthlaw", "clocks agree", "can write to"):
        assert any(told in line for line in lines), told
    assert [path.name for path in (tmp_path / "du").iterdir()] == ["mlflow.db"], "nothing is left"


@pytest.mark.cluster
def test_an_ill_cluster_is_told_node_by_node(tmp_path):
    """Two nodes that cannot write to the results folder; MLflow is down; the cluster is open to all."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}
    command = [*WIDTHLAW, "--out", "/proc/1/du", "--tracking-uri", "http://127.0.0.1:1", "--address"]
    done = subprocess.run(
        [sys.executable, str(script), *command], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    mended = [line for line in done.stdout.splitlines() if line.startswith("MEND")]
    assert "exit code 1" in done.stdout, done.stdout + done.stderr
    for told, times in (("MLflow at http://127.0.0.1:1", 1), ("cannot write to /proc/1/du", 2), ("anyone who", 1)):
        assert sum(told in line for line in mended) == times, mended
    assert "2 nodes with widthlaw" in done.stdout


CLUSTER = """
import subprocess, sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
done = subprocess.run([*sys.argv[1:], cluster.address], timeout=200)
print("exit code", done.returncode, flush=True)
cluster.shutdown()
"""
